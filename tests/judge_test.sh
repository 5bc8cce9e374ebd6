#!/usr/bin/env bash
# qualm judge as a user runs it: a folder of qualm's own, one of another tool's where the golden files
# are there, the folder that it keeps, what it says of files that cannot be judged.
#   tests/judge_test.sh QUALM SOURCE_TREE
set -euo pipefail
qualm=$1 tree=$2
shared=${QUALM_SHARED:-$tree/../shared}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() { echo "judge_test: $*" >&2; exit 1; }
expect_error() { # code, words, arguments
  local wanted=$1 words=$2 message code=0
  shift 2
  message=$("$qualm" judge "$@" 2>&1 > /dev/null) || code=$?
  ((code == wanted)) || fail "expected exit code $wanted of qualm judge $*; got $code: $message"
  [[ $message == *"$words"* ]] || fail "expected '$words' of qualm judge $*; got $message"
}

model=$tree/demo/model text=$tree/demo/text/stories.test.txt
[[ -e $text ]] || text=$(ls "$tree"/demo/text/*.txt | head -n 1)
"$qualm" quantize "$model" --recipe rtn-w4-g64 -o "$scratch/w4" > /dev/null 2>&1
"$qualm" quantize "$model" --recipe rtn-w2-channel -o "$scratch/w2" > /dev/null 2>&1
flags=(--corpus "$text" --seqlen 64 --limit 6 --no-speed)

# The table, the page and the JSON say the same.
"$qualm" judge "$model" "$scratch/w4" "$scratch/w2" "${flags[@]}" -o "$scratch/judged" \
  > "$scratch/table" 2> "$scratch/log" || fail "$(cat "$scratch/log")"
grep -q "noise floor" "$scratch/table" || fail "no noise floor in the table"
grep -q "errors over 6 windows, 378 tokens" "$scratch/table" || fail "no n in the table"
for file in judge.html judge.json results.db; do
  [[ -s $scratch/judged/$file ]] || fail "no $file"
done
[[ ! -e $scratch/judged/reference-states ]] || fail "the reference's states are still there"
grep -q "</html>" "$scratch/judged/judge.html" || fail "the page is not whole"

# The second run computes nothing and says the same; other windows are computed, and no more.
"$qualm" judge "$model" "$scratch/w4" "$scratch/w2" "${flags[@]}" -o "$scratch/judged" --json \
  > "$scratch/again" 2> "$scratch/log"
grep -q "eval" "$scratch/log" && fail "it computed again: $(cat "$scratch/log")"
/usr/bin/python3 - "$scratch/judged/judge.json" "$scratch/again" <<'P' || fail "the JSON is not what it should be"
import json, sys
first, again = (json.load(open(path)) for path in sys.argv[1:])
assert first == again
rows = first["rows"]
assert [row["reading"] for row in rows] == ["reference", "noise_floor", "all", "all"]
kl = [row["texts"][0]["comparison"]["kl_mean"]["value"] for row in rows[1:]]
assert 0 < kl[0] < kl[1] < kl[2], kl
assert all(row["texts"][0]["n"] == 6 for row in rows)
assert len(first["pairs"]) == 3 + 1
P

# eval gives the same numbers.
"$qualm" eval "$scratch/w4" --reference "$model" --corpus "$text" --seqlen 64 --limit 6 --json \
  > "$scratch/eval" 2> /dev/null
/usr/bin/python3 - "$scratch/judged/judge.json" "$scratch/eval" <<'P' || fail "eval says something else"
import json, sys
judged, evaluated = (json.load(open(path)) for path in sys.argv[1:])
found = judged["rows"][2]["texts"][0]
for row in evaluated["results"]:
    if row["metric"] in ("ppl", "reference_ppl", "calibration_overlap"): continue
    assert found["comparison"][row["metric"]]["value"] == row["value"], row
P

# What cannot be judged is said, and the others are judged.
expect_error 3 "expected --corpus or --task" "$model" "$scratch/w4"
expect_error 3 "nowhere" "$scratch/nowhere" "$scratch/w4" "${flags[@]}"
mkdir "$scratch/broken"
echo "{" > "$scratch/broken/config.json"
expect_error 3 "broken" "$model" "$scratch/broken" "$scratch/w4" "${flags[@]}" -o "$scratch/partly"
grep -q '"label": "w4"' "$scratch/partly/judge.json" || fail "the other file was not judged"
printf '_logits_\x10' > "$scratch/logits"
expect_error 3 "llama-perplexity --kl-divergence-base" "$scratch/logits" "$scratch/w4" --protocol llama.cpp

# Two readings of a file that rounds activations too; a file of another tool.
golden=$shared/golden/formats
if [[ -d $golden/ct_fp8_dynamic ]]; then
  "$qualm" judge "$golden/base_llama_s" "$golden/ct_fp8_dynamic" --corpus "$text" --seqlen 32 --limit 2 \
    --no-speed --json > "$scratch/fp8" 2> /dev/null
  grep -q '"reading":"weights_only"' "$scratch/fp8" || fail "no row of the weights alone"
  grep -q '"reading":"as_configured"' "$scratch/fp8" || fail "no row as configured"
fi

# Tasks: scores and McNemar's test.
if [[ -d $shared/datasets/piqa ]]; then
  "$qualm" judge "$model" "$scratch/w2" --task piqa --rows 20 --shots 0 --data "$shared/datasets" \
    --no-speed --json > "$scratch/task" 2> "$scratch/log" || fail "$(cat "$scratch/log")"
  grep -q '"measure":"acc_norm"' "$scratch/task" || fail "no pair under the task"
fi
