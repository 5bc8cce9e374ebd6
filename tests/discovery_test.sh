#!/usr/bin/env bash
# No test is lost: every TEST in a *_test.cc of the tree and every tests/*_test.sh stands in CTest's
# list of this build.
# Arguments: the qualm binary (in the build folder), the source tree.
set -euo pipefail
build=$(dirname "$1")
cd "$2"
listed=$(mktemp)
trap 'rm -f "$listed"' EXIT
ctest --test-dir "$build" -N | sed -n 's/^ *Test *#[0-9]*: *//p' > "$listed"

# Suite and name of TEST, TEST_F, TEST_P, TYPED_TEST; the macro's arguments may stand on two lines.
find src tests -name '*_test.cc' | LC_ALL=C sort | while read -r file; do
  tests=$(tr '\n' ' ' < "$file" |
    grep -oE '\b(TYPED_)?TEST(_F|_P)?\( *[A-Za-z0-9_]+, *[A-Za-z0-9_]+ *\)' || true)
  if [[ -z $tests ]]; then
    echo "$file: no test in it"
  fi
  while IFS='(,) ' read -r macro suite name; do
    [[ -n $macro ]] && printf '%s %s %s %s\n' "$file" "$macro" "$suite" "$name"
  done <<< "$tests"
done | awk -v listed="$listed" '
  BEGIN {
    while ((getline line < listed) > 0) {
      exact[line] = 1
      # Instances of parameterised tests: Prefix/Suite.Name/Parameter and Suite/Type.Name.
      # Typed ones are Suite.Name<Type>, or with the type in front of the name.
      sub(/ *# GetParam.*/, "", line)
      sub(/<.*/, "", line)
      split(line, halves, ".")
      count = split(halves[1], suites, "/")
      split(halves[2], names, "/")
      for (i = 1; i <= count; ++i) instance[suites[i] "." names[1]] = 1
    }
  }
  NF != 4 { print; bad = 1; next }
  {
    wanted = $3 "." $4
    found = ($2 == "TEST" || $2 == "TEST_F") ? (wanted in exact) : (wanted in instance)
    if (!found) { print $1 ": " wanted " is not in CTest'"'"'s list"; bad = 1 }
    ++checked
  }
  END {
    if (!checked) { print "no tests found at all"; bad = 1 }
    exit bad
  }'

for script in tests/*_test.sh; do
  name=$(basename "$script" .sh)
  grep -qx "$name" "$listed" || { echo "$script is not in CTest's list"; exit 1; }
done
