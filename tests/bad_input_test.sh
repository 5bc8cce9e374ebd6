#!/usr/bin/env bash
# What a user sees of bad input: a message that names place, expectation and finding, the right exit
# code, and nothing left behind or damaged. Arguments: the qualm binary, the source tree.
set -u
qualm=$1
source_dir=$2
model=$source_dir/demo/model
text=$source_dir/demo/text/stories.calib.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# expect CODE PATTERN command...: exit code and a message on stderr; stdout stays empty.
expect() {
  local code=$1 pattern=$2 status
  shift 2
  "$qualm" --quiet "$@" >"$work/out" 2>"$work/err"
  status=$?
  if [ "$status" -ne "$code" ] || ! grep -qE -- "$pattern" "$work/err" || [ -s "$work/out" ]; then
    failures=$((failures + 1))
    echo "FAILED: qualm $*"
    echo "  expected exit $code and /$pattern/; got exit $status and:"
    sed 's/^/  /' "$work/err"
  else
    sed 's/^/  /' "$work/err"
  fi
}

damaged() { # name: a fresh copy of the model to damage
  rm -rf "$work/model"
  cp -r "$model" "$work/model"
  chmod -R u+w "$work/model"
}

echo "-- model folders"
expect 3 'nothing at this path' inspect "$work/absent"
damaged && rm "$work/model/config.json"
expect 3 'config\.json.*expected' inspect "$work/model"
damaged && sed -i 's/"llama"/"lama"/' "$work/model/config.json"
expect 3 "unknown model_type 'lama'; did you mean 'llama'\? available: baichuan, bloom, .*, llama, .*, stablelm, starcoder2" inspect "$work/model"
damaged && sed -i 's/"hidden_size": 256/"hidden_size": 128/' "$work/model/config.json"
expect 3 'expected (a float tensor of )?shape \[' inspect "$work/model"
damaged && sed -i 's/"hidden_size": 256/"hidden_size": -1/' "$work/model/config.json"
expect 3 'hidden_size\] expected a size' inspect "$work/model"
damaged && truncate -s 1000000 "$work/model/model.safetensors"
expect 3 'model\.safetensors.*expected' inspect "$work/model"
damaged && truncate -s 4 "$work/model/model.safetensors"
expect 3 'model\.safetensors.*expected' generate "$work/model" --prompt x
damaged && printf '\xff\xff\xff\xff\xff\xff\xff\x7f' | dd of="$work/model/model.safetensors" conv=notrunc status=none
expect 3 'model\.safetensors.*expected' eval "$work/model" --corpus "$text"
damaged && rm "$work/model/tokenizer.model"
expect 3 'tokenizer' generate "$work/model" --prompt x
damaged && truncate -s 1000 "$work/model/tokenizer.model"
expect 3 'tokenizer\.model' tokenize "$work/model" --text x

echo "-- NaN in the weights"
damaged && offset=$(($(stat -c %s "$work/model/model.safetensors") / 2 / 2 * 2)) &&
  printf '\xc0\x7f' | dd of="$work/model/model.safetensors" bs=1 seek="$offset" conv=notrunc status=none
expect 3 'NaN|nan|finite' quantize "$work/model" --recipe rtn-w4-g64 -o "$work/nan"

echo "-- recipes and calibration"
expect 3 "got 'gtpq-w4-g128'; did you mean 'gptq-w4-g128'" quantize "$model" --recipe gtpq-w4-g128 -o "$work/q"
expect 3 'recipes with different names; got rtn-w4-g64' quantize "$model" --recipe rtn-w4-g64 --recipe rtn-w4-g64 -o "$work/q"
expect 2 'order' quantize "$model" --recipe rtn-w4-g64 --order paralel -o "$work/q"
expect 3 'calibration\] expected' quantize "$model" --recipe gptq-w4-g64 -o "$work/q"
expect 3 'length\] expected at most 2048' quantize "$model" --recipe gptq-w4-g64 --calibration "$text" --length 4096 -o "$work/q"
expect 2 'unknown sampler' quantize "$model" --recipe gptq-w4-g64 --calibration "$text" --length 64 --sampler randm-crop -o "$work/q"
printf 'name: x\nweights: {type: int4, granularity: group, group_size: 300}\nrounder: rtn\n' >"$work/r.yaml"
expect 3 'group_size of at most in_features 256; got 300' quantize "$model" --recipe "$work/r.yaml" -o "$work/q"
printf 'name: x\nweights: {type: int4, granularity: group, group_sise: 32}\nrounder: rtn\n' >"$work/r.yaml"
expect 3 'r\.yaml:2.*group_sise.*group_size' quantize "$model" --recipe "$work/r.yaml" -o "$work/q"
printf 'name: x\nweights: {type: int9}\nrounder: rtn\n' >"$work/r.yaml"
expect 3 'r\.yaml:2' quantize "$model" --recipe "$work/r.yaml" -o "$work/q"
printf 'name: x\nweights: {type: int4, granularity: group, group_size: 0}\nrounder: rtn\n' >"$work/r.yaml"
expect 3 'r\.yaml:2' quantize "$model" --recipe "$work/r.yaml" -o "$work/q"
[ -e "$work/q" ] && { echo "FAILED: a refused run left $work/q behind"; failures=$((failures + 1)); }

echo "-- evaluation"
printf 'too short' >"$work/short.txt"
expect 3 'short\.txt' eval "$model" --corpus "$work/short.txt"
expect 3 'expected' eval "$model" --corpus "$work/absent.txt"
expect 3 'seqlen' eval "$model" --corpus "$text" --seqlen 1
expect 2 "unknown protocol" eval "$model" --corpus "$text" --protocol gtpq

long=$(printf 'x%.0s' {1..300})
expect 3 'expected .*(read|nothing at this path)' inspect "$work/$long"
expect 3 'expected' tokenize "$work/$long" --text x

echo "-- usage"
expect 2 'unknown command' quantise
expect 2 "did you mean '--protocol'" eval "$model" --corpus "$text" --protcol gptq

expect 2 'whole number' quantize "$model" --recipe rtn-w4-g64 --held-out -1 -o "$work/q"
expect 2 'whole number' generate "$model" --prompt x --max-tokens 99999999999999999999
[ -e "$work/q" ] && { echo "FAILED: a refused run left $work/q behind"; failures=$((failures + 1)); }

echo "-- artefacts"
"$qualm" --quiet quantize "$model" --recipe rtn-w4-g64 -o "$work/good" >/dev/null 2>&1 || failures=$((failures + 1))
cp -r "$work/good" "$work/bad"
printf 'another text' | dd of="$work/bad/block-00002.safetensors" bs=1 seek=90000 conv=notrunc status=none
"$qualm" --quiet verify "$work/bad" >"$work/out" 2>&1
[ $? -eq 1 ] && grep -q 'block-00002.safetensors' "$work/out" || { echo "FAILED: verify on a changed file"; failures=$((failures + 1)); }
cp "$work/good/qualm.json" "$work/bad/" && sed -i 's/"bits": 4/"bits": 3/' "$work/bad/qualm.json"
expect 3 'manifest was changed' eval "$work/bad" --corpus "$text"
cp "$work/good/qualm.json" "$work/bad/" && sed -i '0,/"stored_bytes": [0-9]*/s//"stored_bytes": 7/' "$work/bad/qualm.json"
expect 3 'manifest was changed' eval "$work/bad" --corpus "$text"
cp "$work/good/qualm.json" "$work/bad/" && sed -i 's/qualm-quantized/qualm-other/' "$work/bad/qualm.json"
expect 3 'format\] expected qualm-quantized; got qualm-other' eval "$work/bad" --corpus "$text"
cp "$work/good/"* "$work/bad/" && sed -i 's/"num_key_value_heads": [0-9]*/"num_key_value_heads": 4/' "$work/bad/config.json"
expect 3 'config\.json\] expected the file with hash .*changed after' eval "$work/bad" --corpus "$text"
sed -i '0,/"name"/s//"nmae"/' "$work/bad/qualm.json"
expect 3 'qualm\.json' eval "$work/bad" --corpus "$text"
expect 3 'expected a float checkpoint' quantize "$work/good" --recipe rtn-w4-g64 -o "$work/q2"

echo "-- a full disk: a file size limit far below a block"
(
  ulimit -f 64
  "$qualm" --quiet quantize "$model" --recipe rtn-w8-channel -o "$work/full" >"$work/out" 2>"$work/err"
)
[ $? -eq 1 ] && grep -qE 'block-00000.*(write|File too large)' "$work/err" || {
  echo "FAILED: a full disk:"
  cat "$work/err"
  failures=$((failures + 1))
}
find "$work/full" -name '*.tmp.*' | grep -q . && { echo "FAILED: temporary files remain"; failures=$((failures + 1)); }
"$qualm" --quiet quantize "$model" --recipe rtn-w8-channel -o "$work/full" >/dev/null 2>"$work/err" ||
  { echo "FAILED: going on when there is room again"; cat "$work/err"; failures=$((failures + 1)); }

[ "$failures" -eq 0 ] && echo "all as expected"
exit $((failures > 0))
