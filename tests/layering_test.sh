#!/usr/bin/env bash
# Includes in src/ go downwards only, and the check that says so notices one that does not.
# Arguments: the qualm binary, the source tree.
set -euo pipefail
source_tree=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$source_tree/tools/check_layers" "$source_tree"

# ARCHITECTURE.md's table of layers has a row for each folder.
for folder in "$source_tree"/src/*/; do
  name=$(basename "$folder")
  grep -q "^| [0-9]* | \`src/$name/\` |" "$source_tree/ARCHITECTURE.md" ||
    { echo "src/$name/ has no row in ARCHITECTURE.md" >&2; exit 1; }
done

# A copy of the tree with one file more must be refused, and for the right reason.
expect_refused() { # name, file, contents, what the complaint contains
  rm -rf "$scratch/src"
  cp -r "$source_tree/src" "$scratch/src"
  mkdir -p "$scratch/$(dirname "$2")"
  printf '%s\n' "$3" > "$scratch/$2"
  if output=$("$source_tree/tools/check_layers" "$scratch"); then
    echo "check_layers accepted $1" >&2
    exit 1
  fi
  if [[ $output != "$2:1: "*"$4"* ]]; then
    echo "check_layers refused $1 with: $output" >&2
    exit 1
  fi
}
expect_refused "an upward include" src/base/zz.h '#include "model/model_plan.h"' 'base (rank 0) may not'
expect_refused "an include of the same rank" src/model/zz.cc '#include "data/corpus.h"' 'may not'
expect_refused "tokenize inside io" src/io/zz.cc '  #  include "tokenize/tokenizer.h"' 'may not'
expect_refused "a path without its folder" src/io/zz.cc '#include "json.h"' 'not the path'
expect_refused "test support in a library" src/io/zz.cc '#include "support/shared_data.h"' 'not the path'
expect_refused "a folder without a rank" src/zz/zz.cc '#include "base/error.h"' 'has no rank'
