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

# Part of an array is lost and sent again, with what waited for it, while the rest of it waits: every
# task finds its own stage.
study part 61 > "$scratch/part.yaml"
release_all() { # a part of an array that has ended cannot be released, which is said and does not matter
  local job
  for job in $(squeue -h -o %A | sort -u); do scontrol release "$job" > /dev/null 2>&1 || true; done
}
held() { # study: submits it, to wait until it is released
  "$qualm" run "$1" --work "$work" --executor slurm --slurm-option=--hold --json
}
held "$scratch/part.yaml" > /dev/null
read -r array first < <(python3 -c "
import json
tasks = json.load(open('$work/slurm/part.json'))
stages = {s['key']: s['kind'] for s in json.load(open('$work/studies/part.json'))['stages']}
print(next((i.split('_')[0], k) for k, i in tasks.items() if i.endswith('_0') and stages[k] == 'calibrate'))" |
  tr -d "(),'")
scontrol release "${array}_0"
for _ in $(seq 60); do [[ -e $work/stages/$first.json ]] && break || sleep 0.5; done
[[ -e $work/stages/$first.json ]] || fail "a released task did not end: $(squeue)"
rm "$work/stages/$first.json" # as if its node had failed
for _ in $(seq 60); do squeue --array -h -o %i | grep -qx "${array}_0" || break; sleep 0.5; done
held "$scratch/part.yaml" > "$scratch/sent"
python3 -c "import json; j = json.load(open('$scratch/sent')); assert j['submitted'] == 3, j"

# While all that waits, the study is changed and submitted: what waits keeps the plan that it was sent with.
# One stage, which reads no calibration data, is done: study one has it.
cp "$work/studies/part.json" "$scratch/old_plan.json"
sed 's/windows: 4/windows: 3/' "$scratch/part.yaml" > "$scratch/changed.yaml"
held "$scratch/changed.yaml" > "$scratch/sent"
python3 -c "import json; j = json.load(open('$scratch/sent')); assert (j['submitted'], j['queued_before'], j['done_before']) == (6, 8, 1), j"
release_all
wait_for_queue
[[ $(count "done" changed) == 15 ]] || fail "$("$qualm" status "$scratch/changed.yaml" --work "$work")"
python3 - "$scratch/old_plan.json" "$work" << 'PY' || fail "a stage of the study as it was is not done"
import json, os, sys
for stage in json.load(open(sys.argv[1]))["stages"]:
    record = json.load(open(os.path.join(sys.argv[2], "stages", stage["key"] + ".json")))
    assert record["status"] == "done", record
PY

# A program that cannot be started any more when a task begins: the end of the task's log tells, in the
# status and at the next submission, and --keep-failed records it once.
study gone 62 > "$scratch/gone.yaml"
cp "$qualm" "$scratch/qualm"
"$scratch/qualm" run "$scratch/gone.yaml" --work "$work" --executor slurm --slurm-option=--hold --json \
  > "$scratch/sent"
lost=$(python3 -c "import json; print(json.load(open('$scratch/sent'))['submitted'])")
((lost > 9)) || fail "only $lost stages of study gone were sent"
chmod -x "$scratch/qualm"
release_all
wait_for_queue
"$qualm" status "$scratch/gone.yaml" --work "$work" > "$scratch/status" && fail "the status is a success"
(($(grep -c "^failed.*ended without a result; last line: .*ermission denied" "$scratch/status") == lost)) ||
  fail "the status does not say why: $(cat "$scratch/status")"
for _ in 1 2; do
  "$qualm" run "$scratch/gone.yaml" --work "$work" --executor slurm --keep-failed --json > "$scratch/sent"
  python3 -c "import json; j = json.load(open('$scratch/sent'))
assert j['submitted'] == 0 and j['left_alone'] == $lost and 'ermission denied' in j['failures'][0], j"
done
"$qualm" run "$scratch/gone.yaml" --work "$work" --executor slurm > "$scratch/sent"
grep -q "^failed, tried again: .*ermission denied" "$scratch/sent" || fail "$(cat "$scratch/sent")"
wait_for_queue
[[ $(count "done" gone) == 15 ]] || fail "$("$qualm" status "$scratch/gone.yaml" --work "$work")"

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
