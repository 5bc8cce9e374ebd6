#!/usr/bin/env bash
# What the kernel saw: every file that a stage of a study or a run of `qualm eval --store` opens is part
# of the stage's key, of the model's hash or of the evaluation; when it changes, the stage runs again
# and the store does not answer. No list of files is believed: strace tells what was opened.
#   opened_files_test.sh QUALM SOURCE_TREE
set -euo pipefail
for program in python3 strace; do
  command -v "$program" > /dev/null || { echo "skipped: no $program"; exit 77; }
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if ! strace -f -e trace=openat -o "$scratch/try" true 2> "$scratch/err"; then
  echo "skipped: strace cannot trace here: $(tail -n 1 "$scratch/err")"
  exit 77
fi
python3 "$2/tests/support/opened_files.py" "$1" "$2" "$scratch"
