#!/usr/bin/env bash
# tools/check_prose finds the phrases of its list wherever people read them, holds a change only to the
# lines that it adds, and stays quiet where it should.
# Arguments: the qualm binary, the source tree.
set -euo pipefail
if ! command -v python3 > /dev/null; then
  echo "skipped: no python3"
  exit 77
fi
check=$2/tools/check_prose
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A small tree with the real list of phrases, and a word that the shell glues so that this file has none.
word=be''hind
mkdir -p "$scratch/src/base" "$scratch/docs" "$scratch/tools/prose"
cp "$2/tools/prose/phrases.txt" "$scratch/tools/prose"
echo '# none' > "$scratch/tools/prose/allowed.txt"
echo '# none' > "$scratch/tools/prose/known.txt"
echo 'int answer = 42;  // A plain sentence.' > "$scratch/src/base/plain.cc"

fail() {
  echo "FAILED: $1" >&2
  printf '%s\n' "$output" >&2
  exit 1
}
expect_quiet() { # what
  output=$("$check" --tree "$scratch" 2>&1) || fail "$1"
  echo "ok: $1"
}
expect_found() { # what, file:line: phrase
  local status=0
  output=$("$check" --tree "$scratch" 2>&1) || status=$?
  ((status == 1)) && [[ $'\n'$output == *$'\n'"$2: "* ]] || fail "$1"
  echo "ok: $1"
}
expect_quiet "plain sentences pass"

# Where it looks, one file at a time.
try() { # what, file, text, expected file:line: phrase, or nothing
  printf '%b\n' "$3" > "$scratch/$2"
  if [[ -n ${4:-} ]]; then expect_found "$1" "$4"; else expect_quiet "$1"; fi
  rm "$scratch/$2"
}
try "a comment" src/base/new.cc "int a;\n\nint b;  // It is $word c." "src/base/new.cc:3: $word"
try "a string literal" src/base/new.cc "Throw(\"stopped $word 3 blocks\");" "src/base/new.cc:1: $word"
try "a raw string" src/base/new.cc "Throw(R\"x(\n\"no\" $word\n)x\");" "src/base/new.cc:2: $word"
try "a phrase across two lines of a comment" src/base/new.cc "// Seven is\n// no power." \
  "src/base/new.cc:1: is no"
try "a phrase across the parts of a literal" src/base/new.cc "f(\"seven is \"\n  \"no power\");" \
  "src/base/new.cc:1: is no"
try "a page of documentation" docs/new.md "# Title\n\nText\nstops $word it." "docs/new.md:4: $word"
try "a script's comment" tools/new.sh "true\n# stops $word it" "tools/new.sh:2: $word"

# What it leaves alone.
try "names of the program" src/base/new.cc "int $word = 1; f($word);"
try "an included header" src/base/new.cc "#include \"base/$word.h\""
try "two literals that are not one" src/base/new.cc "f(\"seven is\", \"no power\");"
try "a quoted quote does not turn code into text" src/base/new.cc "f('\"'); int $word = 1'000; g('\"');"
try "plain uses of the words of a phrase" src/base/new.cc "// There is no such file; it is no longer read."

# Known findings pass wherever they move, one more of them does not.
echo "// The text $word it." > "$scratch/src/base/old.cc"
expect_found "before it is known" "src/base/old.cc:1: $word"
"$check" --tree "$scratch" --record > /dev/null
expect_quiet "a known finding"
mkdir "$scratch/src/moved"
printf '%b\n' "int a;\n// The text\n// $word it." > "$scratch/src/moved/old.cc"
expect_found "a known sentence that is said twice" "src/moved/old.cc:3: $word"
rm "$scratch/src/base/old.cc"
expect_quiet "a known sentence in another file, wrapped anew"
output=$("$check" --tree "$scratch" --all) || fail "--all"
[[ $output == *"src/moved/old.cc:3: $word (known)"* ]] || fail "--all prints what is known"
rm "$scratch/src/moved/old.cc"
"$check" --tree "$scratch" --shrink > /dev/null
try "a known sentence comes back once it was forgotten" src/moved/old.cc "// The text $word it." \
  "src/moved/old.cc:1: $word"

# The allow-list, with reasons.
echo "src/base/*.cc | left $word | an idiom" > "$scratch/tools/prose/allowed.txt"
try "an allowed use" src/base/new.cc "// Nothing is left $word here."
try "another use in that file" src/base/new.cc "// Nothing is $word it." "src/base/new.cc:1: $word"
echo "src/base/*.cc | left $word" > "$scratch/tools/prose/allowed.txt"
if output=$("$check" --tree "$scratch" 2>&1); then fail "an entry without a reason was accepted"; fi
[[ $output == *"allowed.txt:1] expected 3 columns"* ]] || fail "an entry without a reason"
echo "ok: an entry without a reason is refused"
