#!/usr/bin/env bash
# tools/coverage counts each line once, over all objects that hold it, leaves tests out, and fails where a
# folder is below 80 %. A tree of three small files is compiled in place of the program.
# Arguments: the qualm binary, the source tree.
set -euo pipefail
for program in python3 gcov g++; do
  command -v "$program" > /dev/null || { echo "skipped: no $program"; exit 77; }
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/tools" "$scratch/src/high" "$scratch/src/low" "$scratch/build-coverage"
cp "$2/tools/coverage" "$scratch/tools"

# One return runs for int and the other for char: both are covered.
cat > "$scratch/src/high/pick.h" << 'END'
template <class T> int Pick(T value) {
  if (value == 0)
    return value;
  return value + 1;
}
END
cat > "$scratch/src/high/pick_test.cc" << 'END'
#include "../low/sign.h"
#include "pick.h"
int main() {
  if (Pick(1) == 5) return 7;  // never 5: a line of a test, which does not count
  return Pick('\0') + Sign(2) - 1;
}
END
# Three of its six lines run.
echo 'int Sign(int value);' > "$scratch/src/low/sign.h"
cat > "$scratch/src/low/sign.cc" << 'END'
int Sign(int value) {
  if (value > 0)
    return 1;
  if (value < 0)
    return -1;
  return 0;
}
END
# No test links this one.
echo 'int Unused() { return 3; }' > "$scratch/src/low/unused.cc"

cd "$scratch/build-coverage"
for file in high/pick_test low/sign low/unused; do
  g++ -O0 --coverage -c "../src/$file.cc" -o "$(basename "$file").o"
done
g++ --coverage pick_test.o sign.o -o run
./run

status=0
output=$("$scratch/tools/coverage" --no-run) || status=$?
expect() { # what, pattern of a line
  if ! grep -qE "$2" <<< "$output"; then
    printf 'FAILED: %s: no line /%s/ in\n%s\n' "$1" "$2" "$output" >&2
    exit 1
  fi
  echo "ok: $1"
}
expect "a template's lines count once, a test's not at all" '^high +4 +100\.0 %$'
expect "lines that no test runs, also of unlinked objects" '^low +7 +42\.9 %  below 80 %$'
expect "the sum" '^total +11 +63\.6 %$'
expect "a file below 80 %" '^ +50\.0 % +3 of +6  src/low/sign\.cc$'
expect "a file that no test links" '^ +0\.0 % +0 of +1  src/low/unused\.cc$'
((status == 1)) || { echo "FAILED: exit code $status with a folder below 80 %" >&2; exit 1; }

output=$("$scratch/tools/coverage" --no-run high) || { echo "FAILED: folder high alone" >&2; exit 1; }
[[ $output != *low* ]] || { echo "FAILED: a folder that was not asked for: $output" >&2; exit 1; }
status=0
output=$("$scratch/tools/coverage" --no-run hihg 2>&1) || status=$?
expect "an unknown folder" "expected folders of src/: high, low; got 'hihg'"
