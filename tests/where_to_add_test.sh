#!/usr/bin/env bash
# README's table "Where do I add ...?" names files that exist: a row whose file was moved or renamed
# fails here by its text. <name> in a path stands for any name.
#   tests/where_to_add_test.sh QUALM SOURCE_TREE
set -euo pipefail
cd "$2"

fail() { echo "where_to_add_test: $*" >&2; exit 1; }

# The paths in backticks of a table given on standard input that do not exist, with their rows.
missing_paths() {
  local row path pattern
  while IFS= read -r row; do
    while IFS= read -r path; do
      pattern=$(sed -E 's/<[a-z_]+>/*/g' <<< "$path")
      # "<name>_test.cc" and "cpp" without a folder are names, not places.
      [[ $pattern == */* ]] || continue
      compgen -G "$pattern" > /dev/null || echo "$path: $row"
    done < <(grep -oE '`[^` ]+`' <<< "$row" | tr -d '`' | grep -E '^(src|apps|tests|tasks|datasets|studies|hardware|recipes|fuzz|bench|docs|tools)/' || true)
  done
}

table=$(sed -n '/^## Where do I add/,/^## /p' README.md | grep '^|' | tail -n +3)
rows=$(grep -c '^|' <<< "$table")
((rows >= 15)) || fail "expected the table of README.md; found $rows rows"

missing=$(missing_paths <<< "$table")
[[ -z $missing ]] || fail $'expected paths that exist; got\n'"$missing"

# The check can fail.
[[ -n $(missing_paths <<< '| a thing | `src/nowhere/<name>.cc` | - |') ]] || fail "a path that is not there was not noticed"
echo "$rows rows name files that exist"
