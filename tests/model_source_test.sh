#!/usr/bin/env bash
# What a MODEL may be: a folder of safetensors or of torch's files, or a name in the hub's cache. All of
# them give the same bits; other configurations give others, and are kept in what is quantized.
#   tests/model_source_test.sh QUALM SOURCE_TREE
set -euo pipefail
command -v python3 > /dev/null || { echo "skipped: no python3"; exit 77; }
qualm=$1
model=$2/demo/model
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "FAILED: $1" >&2; exit 1; }

# The perplexity, as a number with all its digits.
cp "$2/README.md" "$scratch/text.txt"
run() {
  local folder=$1
  shift
  "$qualm" eval "$folder" "$@" --corpus "$scratch/text.txt" --seqlen 64 --limit 4 --json --quiet |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["results"][0]["value"])'
}
expect_error() {
  local words=$1
  shift
  local message code=0
  message=$("$qualm" "$@" 2>&1 > /dev/null) || code=$?
  ((code == 3)) || fail "expected exit code 3 of qualm $*; got $code: $message"
  [[ $message == *"$words"* ]] || fail "expected '$words' of qualm $*; got $message"
}

expected=$(run "$model")

# The same weights in two files of torch.save, some of them transposed views.
python3 "$2/tests/support/to_torch_shards.py" "$model" "$scratch/torch" 2
[[ $(run "$scratch/torch") == "$expected" ]] || fail "torch's files give other numbers"
"$qualm" inspect "$scratch/torch" --json | grep -q '"container":"torch"' || fail "no container"
mv "$scratch/torch/pytorch_model-00002-of-00002.bin" "$scratch/away"
expect_error "the shard that pytorch_model.bin.index.json names" inspect "$scratch/torch"
mv "$scratch/away" "$scratch/torch/pytorch_model-00002-of-00002.bin"

# By name, through the links of a cache.
export HF_HUB_CACHE=$scratch/hub
commit=0123456789abcdef0123456789abcdef01234567
snapshot=$HF_HUB_CACHE/models--org--demo/snapshots/$commit
mkdir -p "$snapshot" "$HF_HUB_CACHE/models--org--demo/refs"
printf %s "$commit" > "$HF_HUB_CACHE/models--org--demo/refs/main"
for file in "$model"/*; do ln -s "$(realpath "$file")" "$snapshot/"; done
[[ $(run org/demo) == "$expected" ]] || fail "the hub's name gives other numbers"
[[ $(run org/demo@012345) == "$expected" ]] || fail "the commit gives other numbers"
[[ $("$qualm" tokenize org/demo --text abc) == "$("$qualm" tokenize "$model" --text abc)" ]] ||
  fail "the hub's name gives other tokens"
expect_error "hf download org/other" inspect org/other
expect_error "hf download org/demo --revision v2" inspect org/demo@v2

# Another configuration is another model, and stays with the artefact.
changed=$(run "$model" --config rope_theta=5e4)
[[ $changed != "$expected" ]] || fail "--config rope_theta changes nothing"
"$qualm" quantize "$model" --recipe rtn-w8-g32 -o "$scratch/q" --config rope_theta=5e4 --quiet > "$scratch/log"
"$qualm" verify "$scratch/q" --against "$model" --config rope_theta=5e4 --quiet > "$scratch/log"
grep -q 50000 "$scratch/q/config.json" || fail "the artefact has the old configuration"
distance=$("$qualm" eval "$scratch/q" --reference "$model" --reference-config rope_theta=5e4 --json --quiet \
  --corpus "$scratch/text.txt" --seqlen 64 --limit 4)
hash=$("$qualm" eval "$model" --config rope_theta=5e4 --json --quiet --corpus "$scratch/text.txt" --seqlen 64 \
  --limit 4 | grep -o '"model_hash":"[^"]*"')
[[ $distance == *"\"reference_${hash#\"model_}"* ]] || fail "the reference is not the changed model $hash"
expect_error "got 'rope_tetha', which nothing reads" inspect "$model" --config rope_tetha=1
echo "ok"
