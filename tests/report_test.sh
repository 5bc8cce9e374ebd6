#!/usr/bin/env bash
# The report's page in a headless browser: no errors, languages, themes, filters, contrast, keyboard,
# phone width, print; and its size with 50,000 samples. Skipped without node or Chromium.
#   report_test.sh QUALM SOURCE_TREE
set -euo pipefail
qualm=$1 tree=$2
command -v node npm chromium > /dev/null || { echo "report_test: no node, npm or chromium" >&2; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r "$tree/tests/browser" "$scratch/browser"
if [[ ! -d $scratch/browser/node_modules ]]; then
  npm ci --ignore-scripts --prefix "$scratch/browser" > "$scratch/npm" 2>&1 ||
    { echo "report_test: npm ci failed: $(tail -n 1 "$scratch/npm")" >&2; exit 77; }
fi
fail() {
  echo "report_test: $1" >&2
  exit 1
}
python3 "$tree/tests/support/many_samples.py" "$tree" "$scratch"
for page in study many; do
  "$qualm" report "$page" --work "$scratch/$page" -o "$scratch/$page.html" > /dev/null
done
bytes=$(stat -c %s "$scratch/many.html")
((bytes < 5000000)) || fail "a page of $bytes bytes for 50,000 samples"
# The judge's page is held to the same, also where names are longer than a phone is wide.
long=$scratch/a-folder-with-a-long-name-that-has-no-place-to-break-it
mkdir "$long"
cp "$tree"/demo/text/{stories,chinese}.test.txt "$long"
"$qualm" judge "$tree/demo/model" "$tree/demo/model" "$tree/demo/model/" \
  --corpus "$long/stories.test.txt" --corpus "$long/chinese.test.txt" --seqlen 32 \
  --limit 4 -o "$scratch/judged" > /dev/null 2>&1 || fail "judge: $?"
mv "$scratch/judged/judge.html" "$scratch/judge.html"
for page in study many judge; do
  timeout 500 node "$scratch/browser/check_page.mjs" "$scratch/$page.html" "$scratch/$page-shots" \
    --expect=language,filter,theme > "$scratch/$page.log" 2>&1 || fail "$page: $(grep -v '^ok' "$scratch/$page.log")"
  # Told, not tested: a busy machine is slow. docs/benchmarks.md has what was measured.
  handled=$(sed -n 's/^first interaction handled after \([0-9]*\) ms.*/\1/p' "$scratch/$page.log")
  echo "$page: $(stat -c %s "$scratch/$page.html") bytes, first interaction after $handled ms"
done
