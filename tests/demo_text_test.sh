#!/usr/bin/env bash
# The committed demo text is what its generator writes; skipped where Python is absent.
# Arguments: the qualm binary, the source tree.
set -euo pipefail
if ! command -v python3 > /dev/null; then
  echo "skipped: no python3 (scripts/bootstrap --dev installs it)"
  exit 77
fi
PYTHONDONTWRITEBYTECODE=1 python3 "$2/tools/make_demo_text.py" --check
