#!/usr/bin/env bash
# kill -9 at many moments, start again: the artefact has the bytes of a run that was left alone.
# Arguments: the qualm binary, the source tree.
set -u
qualm=$1
source_dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# timings.json alone may differ.
fingerprint() { (cd "$1" && find . -type f ! -name timings.json -print0 | sort -z | xargs -0 sha256sum); }

seed=5
arguments() { # out folder, further flags
  echo --quiet quantize "$source_dir/demo/model" --recipe gptq-w3-g64-act \
    --calibration "$source_dir/demo/text/stories.calib.txt" --samples 8 --length 128 --held-out 2 \
    --seed "$seed" -o "$@"
}
quantize() {
  # shellcheck disable=SC2046 # no path here has a blank
  "$qualm" $(arguments "$@") >"$work/log" 2>&1
}
kill_after() { # seconds, out folder
  # shellcheck disable=SC2046
  "$qualm" $(arguments "$2") >"$work/log" 2>&1 &
  local pid=$!
  disown "$pid" # no "Killed" line for each
  sleep "$1"
  kill -9 "$pid" 2>/dev/null && kills=$((kills + 1))
  while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
}

fail() {
  echo "FAILED: $1"
  cat "$work/log"
  exit 1
}

start=$(date +%s%N)
quantize "$work/whole" || fail "the run that is left alone"
whole_ms=$((($(date +%s%N) - start) / 1000000))
fingerprint "$work/whole" >"$work/expected"
[ "$(wc -l <"$work/expected")" -ge 8 ] || fail "too few files to compare"

kills=0
for step in 1 2 3 4 5 6 7 8 9; do
  out=$work/killed-$step
  kill_after "$(awk -v ms="$whole_ms" -v step="$step" 'BEGIN { printf "%.3f", ms * step / 10000 }')" \
    "$out"
  # What was resumed can be killed again.
  [ $((step % 3)) -eq 0 ] && kill_after 0.2 "$out"
  quantize "$out" || fail "resuming after kill $step"
  fingerprint "$out" >"$work/got"
  cmp -s "$work/expected" "$work/got" || {
    diff "$work/expected" "$work/got"
    fail "other bytes after kill $step"
  }
  rm -rf "$out"
done
[ "$kills" -ge 5 ] || fail "only $kills of the runs were killed before their end"

# Block boundaries, one by one; the last call has nothing left to do but the manifest.
for block in 1 2 3 4; do quantize "$work/steps" --blocks 1 || fail "block $block alone"; done
quantize "$work/steps" || fail "finishing"
fingerprint "$work/steps" >"$work/got"
cmp -s "$work/expected" "$work/got" || fail "other bytes block by block"

# A damaged block file is noticed and written again.
quantize "$work/damaged" --blocks 3 || fail "three blocks"
printf 'x' | dd of="$work/damaged/block-00001.safetensors" bs=1 seek=5000 conv=notrunc status=none
quantize "$work/damaged" || fail "resuming over a damaged block"
fingerprint "$work/damaged" >"$work/got"
cmp -s "$work/expected" "$work/got" || fail "other bytes over a damaged block"

# Another run's journal is refused, and nothing is lost.
quantize "$work/other" --blocks 2 || fail "two blocks"
fingerprint "$work/other" >"$work/before"
seed=6
quantize "$work/other" && fail "a run with another seed was resumed"
grep -q 'expected an unfinished run of the same model' "$work/log" || fail "its message"
fingerprint "$work/other" >"$work/after"
cmp -s "$work/before" "$work/after" || fail "a refused run changed the folder"

# A finished artefact is only replaced when asked; the same command has nothing to do.
seed=5
quantize "$work/whole" || fail "the same command again"
seed=6
quantize "$work/whole" && fail "a finished artefact was overwritten unasked"
fingerprint "$work/whole" >"$work/got"
cmp -s "$work/expected" "$work/got" || fail "a finished artefact changed"
mkdir "$work/foreign" && echo precious >"$work/foreign/file.txt"
quantize "$work/foreign" --overwrite && fail "a foreign folder was used"
grep -q precious "$work/foreign/file.txt" || fail "a foreign file is gone"
"$qualm" --quiet eval "$work/other" --corpus "$source_dir/demo/text/stories.test.txt" \
  >"$work/log" 2>&1
[ $? -eq 3 ] || fail "an unfinished artefact was evaluated"
grep -q 'unfinished quantization' "$work/log" || fail "the message of an unfinished artefact"

# What a kill in the first moment or in the middle of --overwrite leaves behind is taken up.
seed=5
mkdir "$work/early" && echo x >"$work/early/journal.jsonl.tmp.77" && echo x >"$work/early/config.json.tmp.7"
quantize "$work/early" || fail "a folder with nothing but our temporary files"
fingerprint "$work/early" >"$work/got"
cmp -s "$work/expected" "$work/got" || fail "temporary files of a killed run remain"
rm "$work/early/qualm.json" && : >"$work/early/journal.jsonl"
quantize "$work/early" || fail "a folder that was being overwritten"
fingerprint "$work/early" >"$work/got"
cmp -s "$work/expected" "$work/got" || fail "other bytes in a folder that was being overwritten"

# Two processes do not write to one folder.
# shellcheck disable=SC2046
"$qualm" $(arguments "$work/shared") >/dev/null 2>&1 &
first=$!
while [ ! -e "$work/shared/journal.jsonl" ]; do sleep 0.01; done
quantize "$work/shared" --overwrite && fail "two runs wrote to one folder"
grep -q 'no other run writes to' "$work/log" || fail "the message of a folder in use"
wait "$first" || fail "the first of two runs"
fingerprint "$work/shared" >"$work/got"
cmp -s "$work/expected" "$work/got" || fail "the second run disturbed the first"

echo "$kills kills, all resumed to the same bytes"
