#!/usr/bin/env bash
# A study by a real Slurm of one node: submit, wait, results equal to a local run's, failed stages
# submitted again, cancel. Skipped where Slurm is not installed or cannot be started.
#   slurm_test.sh QUALM SOURCE_TREE
set -euo pipefail
qualm=$1 tree=$2
scratch=$(mktemp -d /tmp/qs.XXXXXX)
line=$(bash "$tree/tests/support/slurm.sh" start "$scratch/slurm") || { rm -rf "$scratch"; exit 77; }
trap 'bash "$tree/tests/support/slurm.sh" stop "$scratch/slurm"; rm -rf "$scratch"' EXIT
eval "$line"
fail() {
  echo "slurm_test: $1" >&2
  exit 1
}
study() { # name, length of the calibration sequences
  cat << YAML
name: $1
title: Slurm
question: Does it run?
models: [$tree/demo/model]
recipes: [rtn-w4-g64, gptq-w3-g64]
seeds: 2
defaults: {samples: 2, length: $2, held_out: 1}
limits: {windows: 4, seqlen: 64}
calibration:
  - {name: stories, corpus: $tree/demo/text/stories.calib.txt, about: {dataset: stories, task: text, language: en}}
  - {name: chinese, corpus: $tree/demo/text/chinese.calib.txt, about: {dataset: chinese, task: text, language: zh}}
tests:
  - {name: stories, corpus: $tree/demo/text/stories.test.txt, about: {dataset: stories, task: text, language: en}}
YAML
}
study one 64 > "$scratch/one.yaml"
work=$scratch/work
wait_for_queue() {
  for _ in $(seq 120); do
    [[ -z $(squeue -h) ]] && return
    sleep 0.5
  done
  fail "the queue is not empty after a minute: $(squeue)"
}
count() { # state, study
  "$qualm" status "$scratch/$2.yaml" --work "$work" --json |
    python3 -c "import json,sys; print(sum(s['state'] == '$1' for s in json.load(sys.stdin)['stages']))"
}

"$qualm" run "$scratch/one.yaml" --work "$work" --executor slurm --json > "$scratch/sent"
# 4 calibration sets, 5 quantized models, 6 evaluations; arrays: what waits for the same.
python3 -c "import json; j = json.load(open('$scratch/sent')); assert (j['submitted'], j['arrays']) == (15, 1 + 1 + 4 + 1 + 1 + 4), j"
# A second submission adds nothing to what is queued or done.
"$qualm" run "$scratch/one.yaml" --work "$work" --executor slurm --json > "$scratch/again"
python3 -c "import json; j = json.load(open('$scratch/again')); assert j['submitted'] == 0, j"
wait_for_queue
[[ $(count "done" one) == 15 ]] || fail "$("$qualm" status "$scratch/one.yaml" --work "$work")"

# The numbers are those of a run on this machine.
"$qualm" run "$scratch/one.yaml" --work "$scratch/local" > /dev/null 2>&1
for place in work local; do
  "$qualm" export "$scratch/one.yaml" --work "$scratch/$place" --csv > "$scratch/$place.csv"
done
cmp "$scratch/work.csv" "$scratch/local.csv" || fail "Slurm's numbers differ"

# A stage whose process is killed leaves no record; the next submission runs it and what needs it.
key=$(python3 -c "
import json; plan = json.load(open('$work/studies/one.json'))
print(next(s['key'] for s in plan['stages'] if s['kind'] == 'quantize' and 'gptq' in s['label']))")
rm -r "$work/stages/$key.json" "$work/artefacts/$key"
"$qualm" run "$scratch/one.yaml" --work "$work" --executor slurm --json > "$scratch/sent"
python3 -c "import json; j = json.load(open('$scratch/sent')); assert j['submitted'] == 1, j"
wait_for_queue
[[ $(count "done" one) == 15 ]] || fail "the lost stage was not done again"

# Cancel empties the queue; a new submission finishes.
study two 63 > "$scratch/two.yaml"
"$qualm" run "$scratch/two.yaml" --work "$work" --executor slurm \
  --slurm-option=--begin=now+1hour > /dev/null
[[ $(count queued two) -gt 5 ]] || fail "nothing is queued: $(squeue)"
"$qualm" cancel "$scratch/two.yaml" --work "$work" > /dev/null
wait_for_queue
"$qualm" run "$scratch/two.yaml" --work "$work" --executor slurm --cpus 2 --at-once 1 > /dev/null
wait_for_queue
[[ $(count "done" two) == 15 ]] || fail "$("$qualm" status "$scratch/two.yaml" --work "$work")"

# Slurm that does not answer is told as that.
code=0
PATH=/nonexistent "$qualm" run "$scratch/two.yaml" --work "$scratch/x" --executor slurm \
  2> "$scratch/err" || code=$?
((code == 1)) && grep -q "is Slurm installed" "$scratch/err" || fail "$(cat "$scratch/err")"
echo "slurm_test: ok"
