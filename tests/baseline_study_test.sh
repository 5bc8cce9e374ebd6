#!/usr/bin/env bash
# The demo study cut down to a few windows, and the roofline, as the binary computes them: every cell,
# every item and every estimate as in tests/baseline/, byte for byte. What the numbers depend on, and
# when the files may change, is said in tests/support/pinned_table.h.
#   baseline_study_test.sh QUALM SOURCE_TREE              QUALM_WRITE_BASELINE=1 rewrites the files
set -euo pipefail
qualm=$1 tree=$2
cd "$tree" # the study names its files from there
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if ! "$qualm" --isa avx2 list families > /dev/null 2>&1; then
  echo "skipped: the files are of AVX2, which this processor or build lacks"
  exit 77
fi

different=0
pinned() { # name in tests/baseline: compares it with the file of that name in scratch
  if [[ -n ${QUALM_WRITE_BASELINE:-} ]]; then
    cp "$scratch/$1" "tests/baseline/$1"
  elif ! diff "tests/baseline/$1" "$scratch/$1" > "$scratch/diff"; then
    echo "baseline_study_test: tests/baseline/$1 (<) and what was computed (>) differ:" >&2
    head -n 20 "$scratch/diff" >&2
    different=1
  fi
}

study=(tests/baseline/study.yaml --work "$scratch/work")
"$qualm" --isa avx2 --quiet run "${study[@]}" --data tests/data/rows
"$qualm" report "${study[@]}" --csv > "$scratch/study_cells.csv"
"$qualm" export "${study[@]}" --csv > "$scratch/study_items.csv"
pinned study_cells.csv
pinned study_items.csv

# A float model, what recipes make of it, and a quantized folder; one line for each, with the hash of
# its operations.
for device in a100-80g xeon-8480; do
  shape=(--hardware "$device" --batch 4 --prompt 100 --context 100 --json)
  "$qualm" roofline demo/model --recipe gptq-w4-g128 --recipe smoothquant-w8a8 --recipe fp8-w8a8 \
    --recipe spqr-w3-g16 --kv int8 "${shape[@]}"
  "$qualm" roofline tests/baseline/artefacts/quarot-w4a4kv4 "${shape[@]}"
done | python3 -c '
import hashlib, json, sys
for line in sys.stdin:
    answer = json.loads(line)
    for row in answer["rows"]:
        for phase in ("prefill", "decode"):
            operations = json.dumps(row[phase].pop("operations"))
            row[phase]["operations"] = hashlib.sha256(operations.encode()).hexdigest()[:16]
        print(answer["hardware"], json.dumps(row))' > "$scratch/roofline.txt"
pinned roofline.txt

((different == 0)) || exit 1
echo "baseline_study_test: ok"
