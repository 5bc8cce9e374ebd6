#!/usr/bin/env bash
# qualm layer from files to files: the same bytes for any number of threads, stable JSON keys, exit
# codes, and a GPTQ that beats rounding to nearest on correlated inputs.
# Arguments: the qualm binary, the source tree.
set -u
qualm=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

check() { # what command...
  local what=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    echo "ok: $what"
  else
    failures=$((failures + 1))
    echo "FAILED: $what"
    sed 's/^/  /' "$work/log"
  fi
}

# npy ROWS COLS SEED MIX: float16 values in [1, 2) and [-2, -1) from a linear congruential generator;
# with MIX > 1 every MIX neighbouring columns are equal up to their last bits.
npy() {
  awk -v rows="$1" -v cols="$2" -v seed="$3" -v mix="$4" 'BEGIN {
    header = sprintf("{\047descr\047: \047<f2\047, \047fortran_order\047: False, \047shape\047: (%d, %d), }", rows, cols)
    while ((10 + length(header) + 1) % 64) header = header " "
    size = length(header) + 1
    printf "\\x93NUMPY\\x01\\x00\\x%02x\\x%02x%s\\n", size % 256, int(size / 256), header
    x = seed
    for (i = 0; i < rows * cols; ++i) {
      x = (x * 1103515245 + 12345) % 2147483648
      if (i % cols % mix == 0) common = int(x / 65536)
      value = mix > 1 ? common : int(x / 65536)
      printf "\\x%02x\\x%02x", int(x / 4096) % (mix > 1 ? 64 : 256), (value % 2 ? 188 : 60) + int(value / 2) % 4
    }
    printf "\n"
  }' | while IFS= read -r line; do printf "$line"; done
}
npy 24 96 1 1 >"$work/w.npy"
npy 300 96 2 4 >"$work/x.npy"
npy 300 95 2 4 >"$work/narrow.npy"

layer() { "$qualm" layer --weight "$work/w.npy" --inputs "$work/x.npy" "$@"; }
value() { sed -n "s/.*\"$1\":\([-+.e0-9a-z]*\).*/\1/p" "$2"; }

for recipe in rtn-w3-g32 gptq-w3-g32 gptq-w3-g32-act gptq-w3-channel-sym; do
  check "$recipe runs" bash -c "'$qualm' layer --weight '$work/w.npy' --inputs '$work/x.npy' \
    --recipe $recipe -o '$work/$recipe.npy' --aux '$work/$recipe' --json >'$work/$recipe.json'"
  for key in recipe rounder out in tokens rel_output_error rel_weight_error seconds \
    bits_per_weight damping fallback; do
    check "$recipe: JSON has $key" grep -q "\"$key\":" "$work/$recipe.json"
  done
  for file in scales zeros codes smooth outlier_mask Y; do
    check "$recipe: $file.npy" test -s "$work/$recipe/$file.npy"
  done
  "$qualm" --threads 3 layer --weight "$work/w.npy" --inputs "$work/x.npy" --recipe "$recipe" \
    -o "$work/again.npy" >/dev/null 2>&1
  check "$recipe: the same bytes with three threads" cmp "$work/$recipe.npy" "$work/again.npy"
done
check "gptq beats rtn" awk -v rtn="$(value rel_output_error "$work/rtn-w3-g32.json")" \
  -v gptq="$(value rel_output_error "$work/gptq-w3-g32.json")" 'BEGIN { exit !(gptq < rtn / 2) }'
"$qualm" list recipes | grep -oE '^(gptq|rtn)[^ ]*(channel|g32)[^ ]*' >"$work/recipes"
# 6 widths x 2 sizes x 2 kinds of zero point x 3, and two formats per channel for each rounder.
check "there are 76 built-in recipes of 32 or channels" test "$(wc -l <"$work/recipes")" -eq 76
check "every built-in recipe of 32 or channels runs" bash -c "
  for recipe in \$(cat '$work/recipes'); do
    '$qualm' layer --weight '$work/w.npy' --inputs '$work/x.npy' --recipe \$recipe || exit 1
  done"

# refuse CODE PATTERN arguments...
refuse() {
  local code=$1 pattern=$2 status
  shift 2
  "$qualm" layer "$@" >"$work/out" 2>"$work/err"
  status=$?
  if [ "$status" -eq "$code" ] && grep -qE -- "$pattern" "$work/err" && [ ! -s "$work/out" ]; then
    echo "ok: $(head -1 "$work/err")"
  else
    failures=$((failures + 1))
    echo "FAILED: expected exit $code and /$pattern/, got $status and"
    sed 's/^/  /' "$work/err"
  fi
}
w=$work/w.npy
printf 'weights: {bits: 4}\nrounder: {gptq: {dampp: 1}}\n' >"$work/bad.yaml"
refuse 2 '--weight' --recipe rtn-w4-channel
refuse 3 "did you mean 'gptq-w4-g32'" --weight "$w" --recipe gtpq-w4-g32
refuse 3 "bad\.yaml:2\].*did you mean 'damp'" --weight "$w" --recipe "$work/bad.yaml"
refuse 3 'reads data' --weight "$w" --recipe gptq-w4-g32
refuse 3 'at most in_features 96; got 128' --weight "$w" --recipe rtn-w4-g128
refuse 3 'expected 96 columns.*got 95' --weight "$w" --inputs "$work/narrow.npy" --recipe gptq-w4-g32
refuse 3 'w\.txt' --weight "$work/w.txt" --recipe rtn-w4-g32
refuse 3 '\.npy' --weight "$work/bad.yaml" --recipe rtn-w4-g32
{ head -c 200 "$w"; printf '\x00\x7e'; tail -c +203 "$w"; } >"$work/nan.npy"
refuse 3 'nan\.npy\] expected finite values; got nan; at row' --weight "$work/nan.npy" --recipe rtn-w4-g32

[ "$failures" -eq 0 ]
