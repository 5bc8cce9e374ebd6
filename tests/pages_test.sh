#!/usr/bin/env bash
# Pages say what the program says: docs/cli.md and docs/metrics.md are written by it; commands, options,
# names, counts and examples in README and the documentation are those of `qualm list`; names of the
# code are in the code.
#   QUALM_WRITE_PAGES=1 tests/pages_test.sh QUALM SOURCE_TREE      rewrites the pages of the program
set -euo pipefail
command -v python3 > /dev/null || { echo "skipped: no python3"; exit 77; }
exec python3 "$2/tests/support/pages.py" "$1" "$2"
