#!/usr/bin/env bash
# Every C++ file is formatted by .clang-format; skipped where the pinned formatter is absent.
# Arguments: the qualm binary, the source tree.
set -euo pipefail
if ! command -v clang-format-14 > /dev/null; then
  echo "skipped: no clang-format-14 (scripts/bootstrap --dev installs it)"
  exit 77
fi
cd "$2"
find src apps tests bench fuzz tools -name '*.h' -print0 -o -name '*.cc' -print0 |
  xargs -0 clang-format-14 --dry-run -Werror
