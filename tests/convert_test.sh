#!/usr/bin/env bash
# qualm convert and inspect on folders of another tool, as a user runs them: a float checkpoint with the
# same numbers, what is refused and how.
#   tests/convert_test.sh QUALM SOURCE_TREE
set -euo pipefail
qualm=$1
golden=${QUALM_SHARED:-$2/../shared}/golden/formats
[[ -d $golden ]] || { echo "skipped: no $golden"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() { echo "convert_test: $*" >&2; exit 1; }
expect_error() {
  local words=$1
  shift
  local message code=0
  message=$("$qualm" "$@" 2>&1 > /dev/null) || code=$?
  ((code == 3)) || fail "expected exit code 3 of qualm $*; got $code: $message"
  [[ $message == *"$words"* ]] || fail "expected '$words' of qualm $*; got $message"
}

# The plan writes nothing; the run writes what the plan says.
"$qualm" convert "$golden/gptqmodel_w4_g128_sym_v1" --plan --json > "$scratch/plan"
grep -q '"written":false' "$scratch/plan" || fail "the plan does not say that nothing is written"
"$qualm" convert "$golden/gptqmodel_w4_g128_sym_v1" -o "$scratch/float" 2> /dev/null |
  grep -q "7 layers dequantized as library" || fail "no summary"
grep -q quantization_config "$scratch/float/config.json" && fail "it still says that it is quantized"
"$qualm" inspect "$scratch/float" --json > "$scratch/inspected"
grep -q '"quantized":false' "$scratch/inspected" || fail "it is not a float checkpoint"
expect_error "a new or empty folder" convert "$golden/gptqmodel_w4_g128_sym_v1" -o "$scratch/float"
expect_error "a quantized model" convert "$scratch/float" -o "$scratch/again"
expect_error "a folder" convert "$golden/gptqmodel_w4_g128_sym_v1"

# An adapter is merged into its base, and runs on it; what it says of its base is looked up.
adapter=$golden/peft_lora_r8
"$qualm" convert "$adapter" --base "$golden/base_llama_s" -o "$scratch/merged" > "$scratch/said" 2> /dev/null
grep -q "LoRA of 3 modules, rank 8" "$scratch/said" || fail "no word of the adapter: $(cat "$scratch/said")"
"$qualm" convert "$adapter" -o "$scratch/merged-again" > /dev/null 2>&1 || fail "base_llama_s was not found"
cmp "$scratch/merged/model.safetensors" "$scratch/merged-again/model.safetensors" || fail "another base"
text_flags=(--corpus "$2/demo/text/stories.test.txt" --seqlen 16 --limit 2 --json)
ppl_of() { "$qualm" eval "$@" "${text_flags[@]}" 2> /dev/null | sed 's/.*"metric":"ppl","value":\([^,]*\),.*/\1/'; }
with=$(ppl_of "$golden/base_llama_s" --adapter "$adapter") merged=$(ppl_of "$scratch/merged")
[[ $with == "$merged" && $with != $(ppl_of "$golden/base_llama_s") ]] || fail "adapter $with, merged $merged"
expect_error "an adapter of PEFT to merge" convert "$golden/gptqmodel_w4_g128_sym_v1" --base "$golden/base_llama_s" -o "$scratch/x"
expect_error "a PEFT adapter" inspect "$adapter"
expect_error "adapter_config.json" eval "$golden/base_llama_s" --adapter "$golden/base_llama_s" "${text_flags[@]}"

# GGUF brings its tokenizer along.
"$qualm" convert "$golden/gguf_q4_0/model.gguf" -o "$scratch/gguf" > /dev/null 2>&1
text="Once upon a time, 12 things"
[[ $("$qualm" tokenize "$scratch/gguf" --text "$text") == \
   $("$qualm" tokenize "$golden/gguf_q4_0/model.gguf" --text "$text") ]] || fail "other tokens"

# Families that cannot run are converted, and inspect says why they do not run.
"$qualm" convert "$golden/gptoss_mxfp4" -o "$scratch/experts" > /dev/null 2>&1
"$qualm" inspect "$golden/gptoss_mxfp4" --json > "$scratch/inspected"
grep -q '"runs":false' "$scratch/inspected" || fail "it cannot run"
expect_error "unknown model_type" eval "$golden/gptoss_mxfp4" --corpus "$2/README.md"

# Other tools' files run on the weights that they hold.
for file in gguf_q4_k_m/model.gguf ct_mxfp4a16 bnb_nf4_nested; do
  "$qualm" verify "$golden/$file" > "$scratch/verified" 2>&1 || fail "verify $file: $(cat "$scratch/verified")"
  grep -q "bit for bit" "$scratch/verified" || fail "verify says nothing of $file"
done
expect_error "a quantized model; got a float checkpoint" verify "$golden/base_llama_s"

# What was lost in a file is said by every command that reads it.
damaged=$golden/autogptq_w4_g64_asym_zero0_damaged
"$qualm" inspect "$damaged" > "$scratch/inspected"
grep -q "lost; quantize again" "$scratch/inspected" || fail "inspect does not say what is lost"
expect_error "qualm convert MODEL --to hf" quantize "$damaged" --recipe rtn-w4-g64 -o "$scratch/q"
echo "convert_test: ok"
