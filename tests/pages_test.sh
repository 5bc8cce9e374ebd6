#!/usr/bin/env bash
# Pages say what the program says: docs/cli.md is its own page; commands, options, names and counts in
# README and the documentation are those of `qualm list`; names of the code are in the code.
#   pages_test.sh QUALM SOURCE_TREE          QUALM_WRITE_PAGES=1 rewrites docs/cli.md
set -euo pipefail
qualm=$1 tree=$2
command -v python3 > /dev/null || { echo "skipped: no python3"; exit 77; }

if [[ -n ${QUALM_WRITE_PAGES:-} ]]; then
  "$qualm" --help-all > "$tree/docs/cli.md"
fi
if ! "$qualm" --help-all | diff "$tree/docs/cli.md" - > /tmp/pages_test.$$; then
  echo "pages_test: docs/cli.md (<) is not what the program says (>): qualm --help-all > docs/cli.md" >&2
  head -n 20 /tmp/pages_test.$$ >&2
  rm -f /tmp/pages_test.$$
  exit 1
fi
rm -f /tmp/pages_test.$$
exec python3 "$tree/tests/support/pages.py" "$qualm" "$tree"
