#!/usr/bin/env bash
# Wrong values of options: a value that is wrong by itself is a usage error (2) that names the option,
# what it takes and what came, whatever the command; one that only a file or a model refuses is bad
# input (3). Numbers and choices are tried for every option of the command line's own page.
# Arguments: the qualm binary, the source tree.
set -uo pipefail
qualm=$(realpath "$1")
model=$2/demo/model
text=$2/demo/text/stories.test.txt
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0 tried=0

# expect CODE MESSAGE ARGUMENTS...
expect() {
  local code=0 expected=$1 message=$2
  shift 2
  tried=$((tried + 1))
  "$qualm" "$@" > "$scratch/out" 2> "$scratch/err" < /dev/null || code=$?
  if ((code != expected)) || ! grep -qF -- "$message" "$scratch/err" || [[ -s $scratch/out ]]; then
    failures=$((failures + 1))
    echo "FAILED: qualm $*: code $code, expected $expected with '$message'; got: $(cat "$scratch/err")" >&2
  fi
}

# --- every option of every command that takes a number or one of some words
"$qualm" --help-all > "$scratch/page" || exit 1
command=
while IFS= read -r line; do
  [[ $line =~ ^'## '(.+)$ ]] && command=${BASH_REMATCH[1]}
  [[ $line =~ ^'| `'([^\`]+)'`'[^|]*'| '([^|]*)' |' ]] || continue
  option=${BASH_REMATCH[1]##*,} kind=${BASH_REMATCH[2]}
  # A positional argument is a word alone; options outside of a command are everybody's.
  given=("$option") place=$option
  [[ $option == --* ]] || given=()
  words=(${command:-list})
  case $kind in
    number)
      for value in x nan inf -1 1e99999 '' 0x; do
        expect 2 "[$place] expected a" "${words[@]}" "${given[@]}" "$value"
      done
      ;;
    '`'*)
      expect 2 "[$place] expected one of" "${words[@]}" "${given[@]}" no-such-word
      expect 2 "[$place] expected one of" "${words[@]}" "${given[@]}" ''
      ;;
    text) ;;
    *) continue ;;
  esac
  [[ $option == --* ]] || continue
  # --activations is the only one that may be given without a value.
  [[ $option == --activations ]] || expect 2 "[$place] expected a value; got none" "${words[@]}" "$option"
done < "$scratch/page"
((tried > 200)) || { echo "FAILED: only $tried values tried; is the page of another form?" >&2; failures=1; }

# --- texts of a form, and values that only a file or a model refuses
echo '[{"role": "user", "content": "x"}]' > "$scratch/talk.json"
while IFS='|' read -r code message arguments; do
  [[ -z $code ]] && continue
  eval "expect $code \"\$message\" $arguments"
done << 'TABLE'
2|[--date] expected a day as YYYY-MM-DD; got foo|generate M --chat --prompt x --date foo
2|[--date] expected a day as YYYY-MM-DD; got foo|chat M --date foo
2|[--date] expected a day as YYYY-MM-DD; got foo|chat-template chatml --messages x --date foo
2|[--date] expected a day as YYYY-MM-DD; got foo|eval M --task x --chat --date foo
2|[--date] expected a day as YYYY-MM-DD; got foo|prompts x --chat-template chatml --date foo
2|[--chat-option] expected KEY=VALUE; got x|generate M --chat --prompt x --chat-option x
2|[--chat-option] expected KEY=VALUE; got x|chat M --chat-option x
2|[--chat-option] expected KEY=VALUE; got x|chat-template chatml --messages x --chat-option x
2|[--chat-option] expected KEY=VALUE; got =x|eval M --task x --chat --chat-option =x
2|[--chat-option] expected a variable that templates can be given; got messages|chat M --chat-option messages=[]
2|[--chat-option] expected integers of at most 64 bits; got 99999999999999999999|chat M --chat-option a=[99999999999999999999]
2|[--chat-template] expected a name or a file; got ''|chat M --chat-template ''
2|[MODEL_OR_TEMPLATE] expected a model folder, a template's file|chat-template '' --messages x
2|[--shots] expected a whole number from 0 to 2^64-1; got many|eval M --task x --shots many
2|[--shots] expected a whole number from 0 to 2^64-1; got -1|prompts x --shots -1
2|[--fewshot-seed] expected a whole number from 0 to 2^64-1; got x|prompts x --fewshot-seed x
2|[--temperature] expected a number of 0 or more; got -0.5|generate M --prompt x --temperature -0.5
2|[--temperature] expected a finite number; got nan|chat M --temperature nan
2|[--top-p] expected a number above 0, at most 1; got 0|generate M --prompt x --top-p 0
2|[--min-p] expected a number from 0 to 1; got 2|chat M --min-p 2
2|[--repetition-penalty] expected a number above 0; got 0|chat M --repetition-penalty 0
2|[--stop] expected a text to stop at; got ''|generate M --prompt x --stop ''
2|[--protocol] unknown protocol 'gtpq'; did you mean 'gptq'?|eval M --corpus x --protocol gtpq
2|[--sampler] unknown sampler 'randm-crop'; did you mean|quantize M --recipe x -o x --sampler randm-crop
2|[--contexts] expected whole numbers of at least 1, separated by commas; got '8,many'|bench M --contexts 8,many
2|[--batches] expected whole numbers of at least 1, separated by commas; got '0'|bench M --batches 0
2|[--activations|layer --weight x --recipe x --activations int99
2|[--factor] expected a number above 0, usually 30 to 100; got 0|stress M -o x --factor 0
2|[--ended] expected an exit code; got 'x'|stage x x --ended x
2|[--limit] expected a whole number from 1 to 2^64-1; got -1|eval M --corpus x --limit -1
2|[--order] expected one of sequential, parallel; got paralel; did you mean 'parallel'?|quantize M --recipe x -o x --order paralel
2|[--split] expected|eval M --task x --split 'test[:x]'
2|[--fewshot-split] expected|prompts x --fewshot-split 'test[:0]'
2|[--measure] expected --hardware this; got t4|roofline M --hardware t4 --measure
2|[--bos] expected no --decode in addition; got both|tokenize M --decode --bos --text 1
2|[--text] expected no --file in addition; got both|tokenize M --text a --file b
2|[--skip-special] expected --decode in addition; got only --skip-special|tokenize M --text a --skip-special
2|[--json] expected no value, it is a flag; got x|list recipes --json=x
2|[--prompt] expected one value; got 2 values|generate M --prompt x --prompt y
2|[--messages] expected a value, which is required; got none|chat-template chatml
2|[--task] expected no --corpus in addition; got both|eval M --task x --corpus x
2|[eval] expected --corpus or --task; got neither|eval M
2|[--date] expected --chat or --chat-template in addition|prompts x --date 2025-01-31
2|[--chat-option] expected --chat or --chat-template in addition|eval M --task x --chat-option a=1
2|[--multiturn] expected --chat or --chat-template in addition|eval M --task x --multiturn
2|[report] expected one of --markdown, --csv and --latex; got several|report x --csv --latex
2|[export] expected one of --csv, --json and --parquet; got several|export x --csv --parquet
2|[--parquet] expected --out FILE in addition; got only --parquet|export x --parquet
2|[--chat] expected with --system|generate M --prompt x --system y
2|[--sampling] expected flags with --temperature|chat M --sampling model --top-k 3
3|[--seqlen] expected at most the model's context|eval "$model" --corpus "$text" --seqlen 999999
3|absent.txt|eval "$model" --corpus absent.txt
3|did you mean 'chatml'|chat-template chatnl --messages "$scratch/talk.json"
3|did you mean 'gptq-w4-g128'|quantize "$model" --recipe gtpq-w4-g128 -o "$scratch/q"
3|[--hardware]|roofline "$model" --hardware rtx409
3|[--channels]|stress "$model" -o "$scratch/s" --channels 99999
TABLE

((failures == 0)) && echo "flag_values_test: ok, $tried values"
exit $((failures > 0))
