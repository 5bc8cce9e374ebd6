#!/usr/bin/env bash
# Studies as a user runs them: plan, run, kill and go on, failures, report in every form, export.
#   study_run_test.sh QUALM SOURCE_TREE
set -euo pipefail
qualm=$1 tree=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() {
  echo "study_run_test: $1" >&2
  exit 1
}
run() { # expected exit code, arguments...
  local wanted=$1 code=0
  shift
  "$qualm" "$@" > "$scratch/out" 2> "$scratch/err" || code=$?
  ((code == wanted)) || fail "qualm $*: exit code $code, not $wanted: $(cat "$scratch/out" "$scratch/err")"
}
has() { grep -qF -- "$1" "$scratch/${2:-out}" || fail "no '$1' in: $(cat "$scratch/${2:-out}")"; }
json() { python3 -c "import json,sys; j=json.load(open('$scratch/out')); assert $1, j"; }

model=$tree/demo/model text=$tree/demo/text
study() { # name, recipes
  cat << YAML
name: $1
title: {en: "A <small> study", zh: "小研究"}
question: Does it run?
models: [$model]
recipes: [$2]
seeds: 2
order: parallel
defaults: {samples: 2, length: 64, held_out: 1}
limits: {windows: 6, seqlen: 64}
calibration:
  - {name: stories, corpus: $text/stories.calib.txt, about: {dataset: stories, task: text, language: en}}
  - {name: chinese, corpus: $text/chinese.calib.txt, about: {dataset: chinese, task: text, language: zh}}
  - {name: random, random_tokens: true}
  - {name: self, self_generated: {temperature: 1}}
  - {name: mixed, mixed: [stories, chinese]}
  - {name: stories-again, again: stories}
tests:
  - {name: stories, corpus: $text/stories.test.txt, about: {dataset: stories, task: text, language: en}}
  - {name: chinese, corpus: $text/chinese.test.txt, about: {dataset: chinese, task: text, language: zh}}
budgets: [{bits_per_weight: 3.5}]
YAML
}
study tiny "rtn-w3-g64, gptq-w3-g64, gptq-w2-g32" > "$scratch/tiny.yaml"
work=$scratch/work

# --- a plan does nothing and says what there is to do
run 0 run "$scratch/tiny.yaml" --work "$work" --plan --json
json "len(j['stages']) == 12 + 25 + 52 and not any(s['done'] for s in j['stages'])"
run 3 report "$scratch/tiny.yaml" --work "$work"
has "expected a study that was run" err

# --- killed at several moments, it goes on and ends with the numbers of a run that was not
"$qualm" run "$scratch/tiny.yaml" --work "$scratch/whole" --jobs 2 > /dev/null 2>&1
for wait in 0.3 0.7 1.3; do
  "$qualm" run "$scratch/tiny.yaml" --work "$work" --quiet > /dev/null 2>&1 &
  runner=$!
  sleep "$wait"
  kill -9 "$runner" 2> /dev/null || true
  wait "$runner" 2> /dev/null || true
done
run 0 run "$scratch/tiny.yaml" --work "$work" --json
json "j['failed'] == 0 and j['blocked'] == 0 and j['done_now'] + j['done_before'] == j['stages'] == 89"
for place in work whole; do
  run 0 export "$scratch/tiny.yaml" --work "$scratch/$place" --csv -o "$scratch/$place.csv"
done
cmp "$scratch/work.csv" "$scratch/whole.csv" || fail "a killed run has other numbers"

# --- nothing is done twice; another study takes what it shares
run 0 run "$scratch/tiny.yaml" --work "$work" --json
json "j['done_now'] == 0 and j['done_before'] == 89"
study other "gptq-w3-g64, rtn-w4-g64" > "$scratch/other.yaml"
run 0 run "$scratch/other.yaml" --work "$work" --json
json "j['done_now'] == 3 and j['done_before'] == j['stages'] - 3"

# --- the report in every form, the same each time
run 0 report "$scratch/tiny.yaml" --work "$work" -o "$scratch/a.html"
run 0 report "$scratch/tiny.yaml" --work "$work" -o "$scratch/b.html"
cmp "$scratch/a.html" "$scratch/b.html" || fail "two reports of the same results differ"
grep -q 'A &lt;small&gt; study' "$scratch/a.html" || fail "the title is not escaped"
grep -q '小研究' "$scratch/a.html" || fail "no Chinese title"
grep -qE 'src=|https?://' "$scratch/a.html" && fail "the page loads something"
run 0 report "$scratch/tiny.yaml" --work "$work" --markdown
has "## Is IID calibration best?"
has "A/A: "
run 0 report "$scratch/tiny.yaml" --work "$work" --latex
has "\\begin{tabular}"
run 0 report "$scratch/tiny.yaml" --work "$work" --csv
[[ $(wc -l < "$scratch/out") == 27 ]] || fail "not 26 cells: $(cat "$scratch/out")"

# --- export: a difference of the report, again from the raw rows
run 0 export "$scratch/tiny.yaml" --work "$work" --json
python3 - "$scratch/out" "$work/results.db" << 'PY'
import json, sqlite3, sys
summary = json.load(open(sys.argv[1]))
db = sqlite3.connect(sys.argv[2])
query = """SELECT c.seed, i.item, i.loss - f.loss FROM cells c
  JOIN items i ON i.stage = c.evaluate
  JOIN cells r ON r.study = c.study AND r.recipe = 'float' AND r.test = c.test
  JOIN items f ON f.stage = r.evaluate AND f.item = i.item
  WHERE c.study = 'tiny' AND c.recipe = ? AND c.calibration = ? AND c.test = ?"""
checked = 0
for one in summary["comparisons_with_iid"]:
    mean = {}
    for calibration in (one["calibration"], one["iid"]):
        rows = db.execute(query, (one["recipe"], calibration, one["test"])).fetchall()
        assert len(rows) == 12, rows
        mean[calibration] = sum(row[2] for row in rows) / len(rows)
    difference = mean[one["calibration"]] - mean[one["iid"]]
    assert abs(difference - one["difference"]["value"]) < 1e-12, (one, difference)
    checked += 1
assert checked == 2 * 2 * 4, checked
PY
run 0 export "$scratch/tiny.yaml" --work "$work" --parquet -o "$scratch/items.parquet"
[[ $(head -c 4 "$scratch/items.parquet") == PAR1 ]] || fail "no Parquet file"
run 2 export "$scratch/tiny.yaml" --work "$work" --parquet

# --- a stage that fails is recorded, what needs it is blocked, the rest goes on
mkdir "$scratch/text"
cp "$text/stories.calib.txt" "$scratch/text/"
sed "s#$text/stories.calib.txt#$scratch/text/stories.calib.txt#; s/^name: .*/name: broken/; s/length: 64, /length: 65, /" \
  "$scratch/tiny.yaml" > "$scratch/broken.yaml"
run 0 run "$scratch/broken.yaml" --work "$work" --plan
"$qualm" run "$scratch/broken.yaml" --work "$work" --quiet > /dev/null 2>&1 &
runner=$!
echo "another text" >> "$scratch/text/stories.calib.txt"
code=0
wait "$runner" || code=$?
if ((code != 0)); then
  run 1 status "$scratch/broken.yaml" --work "$work"
  has "has changed since the study was planned"
fi
run 0 run "$scratch/broken.yaml" --work "$work" --json # planned anew with the text as it is
json "j['failed'] == 0"

# --- one run of a study at a time; cancel stops it
sed "s/^name: .*/name: long/; s/length: 64, /length: 63, /" "$scratch/tiny.yaml" > "$scratch/long.yaml"
"$qualm" run "$scratch/long.yaml" --work "$work" --quiet > "$scratch/long" 2>&1 &
runner=$!
for _ in $(seq 50); do [[ -e $work/studies/long.json ]] && break || sleep 0.1; done
run 1 run "$scratch/long.yaml" --work "$work"
has "another process runs this study here" err
run 0 cancel "$scratch/long.yaml" --work "$work"
has "the run on this machine is told to stop"
code=0
wait "$runner" || code=$?
((code == 1)) || fail "a cancelled run ends with $code"
grep -q "interrupted; the same command continues" "$scratch/long" || fail "$(cat "$scratch/long")"

# --- mistakes in the file are told with their line
sed 's/^seeds: 2/seedz: 2/' "$scratch/tiny.yaml" > "$scratch/bad.yaml"
run 3 run "$scratch/bad.yaml" --work "$work"
has "bad.yaml:6" err
has "did you mean 'seeds'" err
sed 's/again: stories/again: storys/' "$scratch/tiny.yaml" > "$scratch/bad.yaml"
run 3 run "$scratch/bad.yaml" --work "$work"
has "did you mean 'stories'" err
run 3 run no-such-study
has "unknown study" err
run 3 run s1-standard --work "$work"
has "--model NAME=FOLDER" err

# --- a full disk: an error, and what was done stays
if [[ $EUID == 0 ]] && mkdir "$scratch/full" && mount -t tmpfs -o size=1m tmpfs "$scratch/full" 2> /dev/null; then
  trap 'umount "$scratch/full"; rm -rf "$scratch"' EXIT
  run 1 run "$scratch/tiny.yaml" --work "$scratch/full/work"
  grep -qiE "no space|cannot write|disk" "$scratch/out" "$scratch/err" || fail "$(cat "$scratch/out" "$scratch/err")"
fi
echo "study_run_test: ok"
