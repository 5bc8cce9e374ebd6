#!/usr/bin/env bash
# The command line as scripts see it: exit codes, what goes to which stream, JSON, help, equal output
# for every number of threads. Runs on the demo model.
# Arguments: the qualm binary, the source tree.
set -uo pipefail
qualm=$1
model=$2/demo/model
text=$2/demo/text/stories.test.txt
other_text=$2/demo/text/code.test.txt
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

fail() {
  failures=$((failures + 1))
  echo "FAILED: $*" >&2
}

# run CODE ARGUMENTS...: runs qualm; its output is in $out and $err.
run() {
  local expected=$1 code=0
  shift
  "$qualm" "$@" > "$scratch/out" 2> "$scratch/err" < /dev/null || code=$?
  out=$(cat "$scratch/out") err=$(cat "$scratch/err")
  ((code == expected)) || fail "qualm $*: exit code $code, expected $expected; stderr: $err"
}
# Errors leave standard output empty and name the program on stderr.
run_error() {
  run "$@"
  [[ -z $out ]] || fail "qualm ${*:2}: standard output is not empty: $out"
  [[ $err == qualm:* ]] || fail "qualm ${*:2}: stderr does not begin with 'qualm:': $err"
}
out_has() { [[ $out == *"$1"* ]] || fail "no '$1' in: $out"; }
err_has() { [[ $err == *"$1"* ]] || fail "no '$1' on stderr: $err"; }

# One JSON object on one line, nothing else.
command -v python3 > /dev/null || { echo "python3 is needed to read JSON" >&2; exit 77; }
is_json_object() {
  [[ $(wc -l < "$scratch/out") == 1 ]] || fail "not one line: $out"
  python3 -c 'import json,sys; sys.exit(not isinstance(json.loads(sys.argv[1]), dict))' "$out" ||
    fail "not a JSON object: $out"
}
# json_is EXPRESSION: a Python expression over the object `j`.
json_is() {
  python3 -c 'import json,math,sys; j = json.loads(sys.argv[1]); sys.exit(not eval(sys.argv[2]))' \
    "$out" "$1" || fail "not true: $1 in: $out"
}

# --- help and version
run 0 --version
[[ $out =~ ^qualm\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "version: $out"
run 0 --help
for source in "$2"/apps/qualm/cmd_*.cc; do
  command=${source##*/cmd_}
  command=${command%.cc} command=${command//_/-}
  run 0 --help
  out_has "  $command "
  run 0 "$command" --help
  out_has "Examples:"
  out_has "qualm $command"
  [[ -z $err ]] || fail "qualm $command --help writes to stderr: $err"
done

# --- usage errors: 2
run_error 2
run_error 2 evl
err_has "did you mean 'eval'?"
run_error 2 eval
err_has "MODEL"
run_error 2 eval "$model"
err_has "--corpus"
run_error 2 eval "$model" --corpus "$text" --corpsu "$text"
err_has "did you mean '--corpus'?"
run_error 2 eval "$model" --corpus "$text" --noise-floor
err_has "--reference"
for value in 0 -1 1.5 x 99999999999999999999; do
  run_error 2 eval "$model" --corpus "$text" --limit "$value"
done
run_error 2 list recpes
run_error 2 list
run_error 2 --threads -1 list recipes
run_error 2 tokenize "$model" --text a --file b
run_error 2 tokenize "$model" --text a --bos --no-bos

# --- bad input: 3
run_error 3 inspect "$scratch/absent"
run_error 3 eval "$scratch/absent" --corpus "$text"
run_error 3 eval "$model" --corpus "$scratch/absent.txt"
err_has "absent.txt"
run_error 2 eval "$model" --corpus "$text" --protocol gtpq
err_has "did you mean 'gptq'?"
run_error 3 eval "$model" --corpus "$text" --seqlen 999999
err_has "context"
printf 'Too short.' > "$scratch/short.txt"
run_error 3 eval "$model" --corpus "$scratch/short.txt" --seqlen 64
err_has "short.txt"
: > "$scratch/empty.txt"
run_error 3 eval "$model" --corpus "$scratch/empty.txt"
run_error 3 tokenize "$scratch/absent" --text a
run_error 3 tokenize "$model" --decode --text "1 two"
run_error 2 tokenize "$model" --text a --skip-special
run_error 2 tokenize "$model" --text a --jsonl b
mkdir "$scratch/broken"
cp "$model"/* "$scratch/broken"
printf '{"model_type": "llama", "hidden_size": ' > "$scratch/broken/config.json"
run_error 3 inspect "$scratch/broken"
err_has "config.json"
cp "$model/config.json" "$scratch/broken"
head -c 1000 "$model/model.safetensors" > "$scratch/broken/model.safetensors"
run_error 3 eval "$scratch/broken" --corpus "$text"
err_has "model.safetensors"
rm "$scratch/broken"/tokenizer* "$scratch/broken/model.safetensors"
cp "$model/model.safetensors" "$scratch/broken"
run 0 inspect "$scratch/broken" --json
json_is 'j["tokenizer"] is None'
run_error 3 eval "$scratch/broken" --corpus "$text"
err_has "tokenizer"

# --- output that cannot be written: 1, and never a signal
if [[ -w /dev/full ]]; then
  "$qualm" list recipes > /dev/full 2> "$scratch/err" && fail "a full disk is no success"
  grep -q "standard output" "$scratch/err" || fail "a full disk: $(cat "$scratch/err")"
fi
for attempt in 1 2 3; do
  "$qualm" inspect "$model" | true
  code=${PIPESTATUS[0]}
  ((code <= 1)) || fail "a closed pipe ends qualm with code $code"
done

# --- list
for kind in recipes families rounders transforms protocols samplers tasks datasets metrics; do
  run 0 list "$kind"
  run 0 list "$kind" --json
  is_json_object
  json_is "isinstance(j['$kind'], list)"
done
run 0 list rounders --json
json_is "{o['key']: o for r in j['rounders'] if r['name'] == 'gptq' for o in r['options']}['damp'] == {
  'key': 'damp', 'type': 'number', 'default': 0.01, 'allowed': '0..100',
  'meaning': 'damp times the mean of diag(H) is added to the diagonal'}"
run 0 list transforms --json
json_is "all(t['options'] for t in j['transforms'])"
run 0 list recipes
out_has "gptq-w4-g128"
run 0 list protocols
for protocol in gptq mi-optimize llama.cpp; do out_has "$protocol"; done

# --- inspect
run 0 inspect "$model"
out_has "llama"
run 0 inspect "$model" --json
is_json_object
json_is 'j["quantized"] is False and j["bits_per_weight"] == 16'
json_is 'j["parameters"] == sum(math.prod(t["shape"]) for t in j["tensors"])'
json_is 'j["config"]["layers"] == 4 and j["tokenizer"]["bos"]["id"] == 1'

# --- data and tasks
run 0 list tasks
for task in mmlu ceval hellaswag winogrande arc_easy boss-sst5; do out_has "$task"; done
run 0 data show mmlu
out_has "57"
run 0 data show mmlu --json
is_json_object
json_is 'len(j["subsets"]) == 57 and j["splits"]["test"].startswith("mmlu/test/")'
mkdir -p "$scratch/data/glue-sst2"
printf 'good\t1\nbad\t0\n' > "$scratch/data/glue-sst2/dev.tsv"
run 1 data check sst2 --data "$scratch/data" --json # other files than the known ones
is_json_object
json_is '[s["state"] for s in j["splits"]] == ["absent", "changed", "absent"] and j["splits"][1]["rows"] == 2'
printf 'good\n' > "$scratch/data/glue-sst2/dev.tsv"
run 1 data check sst2 --data "$scratch/data"
out_has "expected 2 fields; got 1"
run 3 data check sst2 --data "$scratch/nowhere"
printf 'good\t1\nbad\t0\n' > "$scratch/data/glue-sst2/dev.tsv"
for command in eval\ "$model"\ --task prompts; do
  run 0 $command sst2 --data "$scratch/data" --system $'be\xff'
  err_has "[--system] expected UTF-8; got 0xff at byte 2"
done
run 0 eval "$model" --task sst2 --data "$scratch/data" --json
is_json_object
json_is 'j["rows"][0]["metric"] == "acc" and j["rows"][0]["n"] == 2 and not j["rows"][0]["partial"]'
run 2 eval "$model" --task sst2 --corpus x
run 2 eval "$model"
run 2 eval "$model" --task sst2 --shots many --data "$scratch/data"
run 3 eval "$model" --task sst2 --reference "$model" --data "$scratch/data"

# --- quantize with several recipes, bench
run 0 quantize "$model" --recipe rtn-w4-g64 --recipe fp8-w8a8 -o "$scratch/several" --json
is_json_object
json_is '[r["recipe"] for r in j["runs"]] == ["rtn-w4-g64", "fp8-w8a8"] and all(r["finished"] for r in j["runs"])'
run 0 bench "$scratch/several/rtn-w4-g64" --prompt 8 --gen 2 --repetitions 1 --json
is_json_object
json_is '[f["format"] for f in j["formats"]] == ["packed-int4-g64-asym"] and j["formats"][0]["layers"] == 28'
json_is 'not j["formats"][0]["is_dequantized"]'
json_is 'j["prompt_tokens"] == 8 and j["generated_tokens"] == 2 and j["n"] == 1'
json_is 'j["decode_tokens_per_s"]["median"] > 0 and j["peak_memory_bytes"] >= j["steady_memory_bytes"] > 0'
run 0 bench "$model" --contexts 4,8 --batches 1,2 --gen 2 --repetitions 1 --json
json_is '[(p["context"], p["batch"]) for p in j["points"]] == [(4, 1), (4, 2), (8, 1), (8, 2)]'
json_is 'all(p["joules_per_token"] is None or p["joules_per_token"] > 0 for p in j["points"])'
run_error 3 bench "$model" --contexts 128,4096
err_has "at most 2048 together; got 4096"
run_error 2 bench "$model" --contexts 128,many
err_has "[--contexts] expected whole numbers"

# --- roofline
run 0 roofline "$model" --hardware a100-80g --recipe rtn-w4-g64 --recipe smoothquant-w8a8 --batch 4 --kv fp16 --json
is_json_object
json_is '[r["weights"] for r in j["rows"]] == ["float", "rtn-w4-g64", "smoothquant-w8a8"] and "peaks" not in j'
json_is 'j["rows"][0]["decode_speedup"] == 1 and j["rows"][1]["decode_speedup"] > 1'
json_is '[r["kv_bytes"] for r in j["rows"]] == [4 * 128 * 4 * 2 * 2 * 128] * 3' # batch, context, blocks, fp16, keys and values, width
run 0 roofline "$scratch/several/rtn-w4-g64" --hardware t4
out_has "q_proj"
out_has "attention scores"
run 0 roofline "$scratch/several/rtn-w4-g64" --hardware this --measure --prompt 16 --context 8 --gen 2 --repetitions 1 --json
json_is 'j["peaks"]["read_bytes_per_s"]["n"] > 1 and j["bytes_per_s"] == j["peaks"]["read_bytes_per_s"]["highest"]'
json_is 'j["measured"]["n"] == 1 and j["measured"]["decode_time_to_predicted"] > 0'
run_error 2 roofline "$model" --hardware t4 --measure
run_error 2 roofline "$model" --measure --kv int8
run_error 3 roofline "$model" --hardware rtx409
err_has "rtx4090"
run_error 2 roofline "$model" --hardware t4 --kv int5
run_error 3 roofline "$scratch/several/rtn-w4-g64" --hardware t4 --recipe rtn-w2-g32
err_has "which is quantized"
run 0 list hardware --json
json_is '{"a100-80g", "this"} <= {d["name"] for d in j["hardware"]}'

# --- chat-template
printf '%s' '{"messages": [{"role": "user", "content": "Hi"}], "tools": [{"name": "add"}]}' > "$scratch/talk.json"
printf '%s' '[{"role": "user", "content": "Hi"}]' > "$scratch/list.json"
cat > "$scratch/t.jinja" << 'TEMPLATE'
{{ bos_token }}{% for m in messages %}{{ m.role ~ ': ' ~ m.content }}{% endfor %}
{{ tools | tojson }} {{ strftime_now('%d %B %Y') }} {{ think }}{{ eos_token }}
{% if add_generation_prompt %}assistant:
{% endif %}
TEMPLATE
run 0 chat-template "$scratch/t.jinja" --messages "$scratch/talk.json" --bos '<s>' --date 2024-07-26 --chat-option think=false
[[ $out == $'<s>user: Hi[{"name": "add"}] 26 July 2024 False\nassistant:' ]] || fail "chat-template: $out"
[[ $(wc -c < "$scratch/out") == 59 ]] || fail "chat-template: $(wc -c < "$scratch/out") bytes"
run 0 chat-template chatml --messages "$scratch/list.json" --no-generation-prompt --json
is_json_object
json_is 'j == {"template": "chatml", "text": "<|im_start|>user\nHi<|im_end|>\n"}'
printf '%s' '{{ raise_exception("no talk") }}' > "$scratch/raise.jinja"
run_error 3 chat-template "$scratch/raise.jinja" --messages "$scratch/list.json"
err_has "no talk"
run_error 2 chat-template chatml --messages "$scratch/list.json" --date 2024-02-31
err_has "YYYY-MM-DD"
run_error 3 chat-template chatnl --messages "$scratch/list.json"
err_has "did you mean 'chatml'"
run_error 2 chat-template chatml
# Places are what the user wrote, with the file.
run_error 3 chat-template "$model" --messages "$scratch/list.json"
err_has "MODEL_OR_TEMPLATE takes one by name: chatml"
for list in '3' '[3]' '{"messages": []}' '{"messages": [{"role": "user"}], "tools": 3}' \
  '[{"role": "user", "content": 123456789012345678901}]'; do
  printf '%s' "$list" > "$scratch/wrong.json"
  run_error 3 chat-template chatml --messages "$scratch/wrong.json"
  err_has "[$scratch/wrong.json"
done
err_has "expected integers of at most 64 bits; got 123456789012345678901"
printf '3' > "$scratch/tools.json"
run_error 3 chat-template chatml --messages "$scratch/list.json" --tools "$scratch/tools.json"
err_has "[$scratch/tools.json] expected a list of objects; got number"
run_error 3 chat-template chatml --messages "$scratch/talk.json" --chat-option 'tools=[]'
err_has "[$scratch/talk.json: tools] expected one list; got another one in --chat-option tools"
run 0 chat-template chatml --messages "$scratch/list.json" --chat-option add_generation_prompt=false
[[ $out == $'<|im_start|>user\nHi<|im_end|>' ]] || fail "add_generation_prompt: $out"
printf '{{ 1 | upcase }}' > "$scratch/filter.jinja"
run_error 3 chat-template "$scratch/filter.jinja" --messages "$scratch/list.json"
err_has "available: abs"
[[ $err != *urlize* && $err != *random* ]] || fail "filters that are refused are offered: $err"

# --- tokenize
sample=$'Once upon a time, 你好 “naïve” \t x'
run 0 tokenize "$model" --text "$sample"
ids=$out
[[ $ids =~ ^[0-9]+(\ [0-9]+)*$ ]] || fail "ids: $ids"
printf '%s' "$sample" > "$scratch/sample.txt"
run 0 tokenize "$model" --file "$scratch/sample.txt"
[[ $out == "$ids" ]] || fail "--file differs from --text: $out"
[[ $("$qualm" tokenize "$model" < "$scratch/sample.txt") == "$ids" ]] || fail "stdin differs"
run 0 tokenize "$model" --text "$sample" --no-bos
[[ $out == "$ids" ]] || fail "--no-bos is not the default: $out"
run 0 tokenize "$model" --text "$sample" --bos
[[ $out == "1 $ids" ]] || fail "--bos: $out"
for input in "$ids" "${ids// /, }" "${ids// /$'\n'}"; do
  run 0 tokenize "$model" --decode --text "$input"
  [[ $out == "$sample" ]] || fail "decoding does not give the text back: $out"
done
run 0 tokenize "$model" --text "$sample" --json
is_json_object
json_is "j['ids'] == [int(i) for i in '$ids'.split()] and len(j['pieces']) == len(j['ids'])"
run 0 tokenize "$model" --text ""
[[ -z $out ]] || fail "ids of nothing: $out"
run 0 tokenize "$model" --text "--json"
[[ $out =~ ^[0-9\ ]+$ ]] || fail "a text that looks like a flag: $out"
run 0 tokenize "$model" --text $'a\xff\xfe' --json
is_json_object
err_has "[--text] expected UTF-8; got 0xff at byte 1"
printf 'ab\xc3' > "$scratch/bytes.txt"
run 0 tokenize "$model" --file "$scratch/bytes.txt"
err_has "[$scratch/bytes.txt] expected UTF-8; got 0xc3 at byte 2"
run 0 generate "$model" --prompt $'\xffx' --max-tokens 1
err_has "[--prompt] expected UTF-8; got 0xff at byte 0"
run_error 2 tokenize "$model" --decode --bos --text 1
run 0 tokenize "$model" --text "$sample" --special
[[ $out == "1 $ids" ]] || fail "--special: $out"
run 0 tokenize "$model" --decode --text "1 $ids"
[[ $out == "<s> $sample" ]] || fail "decoding leaves special tokens out: $out"
run 0 tokenize "$model" --decode --skip-special --text "1 $ids 999999 -1"
[[ $out == "$sample" ]] || fail "--skip-special: $out"
err_has "left out 2 ids that the vocabulary does not have, the first is 999999"

printf '%s\n' '"a b"' '' '{"text": "c", "more": 1}' > "$scratch/texts.jsonl"
run 0 tokenize "$model" --jsonl "$scratch/texts.jsonl"
[[ $(wc -l <<< "$out") == 2 ]] || fail "not an answer for each text: $out"
[[ $out == *'{"ids":['* ]] || fail "--jsonl: $out"
printf '%s\n' "$out" > "$scratch/ids.jsonl"
run 0 tokenize "$model" --decode --skip-special --jsonl "$scratch/ids.jsonl"
[[ $out == $'{"text":"a b"}\n{"text":"c"}' ]] || fail "--jsonl does not give the texts back: $out"
printf '%s\n' '' '5' > "$scratch/texts.jsonl"
run_error 3 tokenize "$model" --jsonl "$scratch/texts.jsonl"
err_has "texts.jsonl:2] expected a JSON string"

# --- eval
evaluate=(eval "$model" --corpus "$text" --corpus "$other_text" --seqlen 64 --limit 3)
run 0 "${evaluate[@]}"
out_has "$text"
out_has "protocol  gptq"
out_has "seqlen 64"
err_has "3/3"
run 0 "${evaluate[@]}" --quiet
[[ -z $err ]] || fail "--quiet is not quiet: $err"
run 0 "${evaluate[@]}" --json
is_json_object
json_is '[r["corpus"] for r in j["results"]] == ["'"$text"'", "'"$other_text"'"]'
json_is 'all(r["metric"] == "ppl" and r["value"] > 1 and r["stderr"] > 0 for r in j["results"])'
json_is 'all(r["n"] == 3 and r["n_tokens"] == 189 for r in j["results"])'
json_is 'all(r["protocol"] == "gptq" and r["seqlen"] == 64 for r in j["results"])'
alone=$out
for variant in "--threads 1" "--threads 3" "--batch 1" "--batch 2" "--quiet"; do
  # shellcheck disable=SC2086  # two words
  run 0 "${evaluate[@]}" --json $variant
  [[ $out == "$alone" ]] || fail "$variant changes the result: $out instead of $alone"
done
for protocol in gptq mi-optimize llama.cpp; do
  run 0 eval "$model" --corpus "$text" --limit 1 --seqlen 32 --protocol "$protocol" --json
  json_is "j['results'][0]['protocol'] == '$protocol' and j['results'][0]['stderr'] is None"
done
run 0 "${evaluate[@]}" --reference "$model" --noise-floor --json
is_json_object
metrics='{r["metric"]: r["value"] for r in j["results"] if r["corpus"].endswith("code.test.txt")}'
json_is "(lambda m: m['kl_mean'] == 0 and m['kl_max'] == 0 and m['top1_agreement'] == 1 and
  m['rms_delta_p'] == 0 and m['delta_log_ppl'] == 0 and m['ppl'] == m['reference_ppl'] and
  'kl_median' in m and 'kl_p99' in m and 'noise_floor_kl_mean' in m)($metrics)"
run 0 "${evaluate[@]}" --reference "$model" --noise-floor
out_has "noise floor"

((failures == 0)) || { echo "$failures failures"; exit 1; }
echo "ok"
