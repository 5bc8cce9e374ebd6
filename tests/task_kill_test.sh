#!/usr/bin/env bash
# qualm eval --task with a store: kill -9 at many moments and go on, two processes at once, a full
# disk. Nothing that was answered is asked again, and the scores are those of a run left alone.
# Arguments: the qualm binary, the source tree.
set -u
qualm=$1
source_dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
  echo "FAILED: $1"
  cat "$work/err" 2>/dev/null
  exit 1
}

# 300 made-up rows, long enough that a run takes a while.
mkdir -p "$work/data/glue-sst2"
python3 - "$work/data/glue-sst2" <<'PY'
import random, sys
random.seed(1)
words = "the a film story actor plot good bad fine slow bright dull and but of with".split()
for name, count in (("train", 20), ("dev", 300)):
    with open(f"{sys.argv[1]}/{name}.tsv", "w") as file:
        for _ in range(count):
            text = " ".join(random.choice(words) for _ in range(60))
            file.write(f"{text}\t{random.randrange(2)}\n")
PY

evaluate() { # store, further flags
  "$qualm" --quiet --threads 1 eval "$source_dir/demo/model" --task sst2 --shots 2 --data "$work/data" \
    --store "$@" --batch-tokens 512 --json
}
rows() { python3 -c 'import json,sys; print(json.dumps(json.load(sys.stdin)["rows"]))'; }
count() { # store
  python3 - "$1" <<'PY'
import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM answers").fetchone()[0])
PY
}

start=$(date +%s%N)
evaluate "$work/whole.db" 2>"$work/err" | rows >"$work/whole.json" || fail "the run that is left alone"
milliseconds=$((($(date +%s%N) - start) / 1000000))
total=$(count "$work/whole.db")

# --- kills at 10, 20, ... 90 % of that time
before=0
kills=0
for percent in 10 20 30 40 50 60 70 80 90; do
  evaluate "$work/killed.db" >/dev/null 2>"$work/err" &
  pid=$!
  disown "$pid"
  sleep "$(python3 -c "print($milliseconds * $percent / 100000)")"
  pkill -9 -P "$pid" 2>/dev/null && kills=$((kills + 1))
  while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
  [[ -e $work/killed.db ]] || continue
  now=$(count "$work/killed.db")
  ((now >= before)) || fail "answers were lost: $before, then $now"
  before=$now
done
((kills > 0)) || fail "no run was killed"
((before > 0)) || fail "a killed run kept nothing"
evaluate "$work/killed.db" 2>"$work/err" | rows >"$work/killed.json"
cmp "$work/whole.json" "$work/killed.json" || fail "other scores after $kills kills"
[[ $(count "$work/killed.db") == "$total" ]] || fail "other answers after $kills kills"

# --- the same for texts that are generated
mkdir -p "$work/data/gsm8k"
python3 - "$work/data/gsm8k" <<'PY'
import json, random, sys
random.seed(2)
for name, count in (("train", 5), ("test", 40)):
    with open(f"{sys.argv[1]}/{name}.jsonl", "w") as file:
        for i in range(count):
            a, b = random.randrange(90), random.randrange(90)
            file.write(json.dumps({"question": f"Ann has {a} pears and {b} plums. How many?",
                                   "answer": f"{a} + {b} = {a + b}\n#### {a + b}"}) + "\n")
PY
texts() { # store
  "$qualm" --quiet --threads 1 eval "$source_dir/demo/model" --task gsm8k --shots 1 \
    --data "$work/data" --store "$1" --batch-tokens 128 --json
}
count_texts() {
  python3 - "$1" <<'PY'
import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM texts").fetchone()[0])
PY
}
start=$(date +%s%N)
texts "$work/texts.db" 2>"$work/err" | rows >"$work/texts.json" || fail "texts that are left alone"
milliseconds=$((($(date +%s%N) - start) / 1000000))
before=0
for percent in 40 60 80 90; do
  texts "$work/killed-texts.db" >/dev/null 2>"$work/err" &
  pid=$!
  disown "$pid"
  sleep "$(python3 -c "print($milliseconds * $percent / 100000)")"
  pkill -9 -P "$pid" 2>/dev/null
  while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
  [[ -e $work/killed-texts.db ]] || continue
  now=$(count_texts "$work/killed-texts.db" 2>/dev/null || echo 0)
  ((now >= before)) || fail "texts were lost: $before, then $now"
  before=$now
done
texts "$work/killed-texts.db" 2>"$work/err" | rows | cmp - "$work/texts.json" || fail "other texts after kills"
[[ $(count_texts "$work/killed-texts.db") == 40 ]] || fail "not every text is kept"
"$qualm" samples "$work/texts.db" --task gsm8k --n 1 >"$work/out" 2>"$work/err" || fail "samples of texts"
grep -q "read as" "$work/out" || fail "samples show no prediction"

# --- two processes share a store
evaluate "$work/shared.db" >"$work/one.json" 2>"$work/err" &
evaluate "$work/shared.db" >"$work/two.json" 2>>"$work/err"
wait $! || fail "the first of two"
for one in one two; do
  rows <"$work/$one.json" | cmp - "$work/whole.json" || fail "other scores beside another process"
done
[[ $(count "$work/shared.db") == "$total" ]] || fail "other answers beside another process"

# --- a store that cannot grow: an error, and what it has stays
if [[ $EUID == 0 ]] && mkdir "$work/disk" && mount -t tmpfs -o size=300k tmpfs "$work/disk" 2>/dev/null; then
  evaluate "$work/disk/full.db" >/dev/null 2>"$work/err"
  code=$?
  [[ $code == 1 ]] || { umount "$work/disk"; fail "a full disk ends with code $code"; }
  grep -q "full" "$work/err" || { umount "$work/disk"; fail "a full disk is not named"; }
  cp "$work/disk"/full.db* "$work/"
  umount "$work/disk"
  evaluate "$work/full.db" 2>"$work/err" | rows | cmp - "$work/whole.json" || fail "a store that was on a full disk"
else
  echo "no file system of its own here: the full disk is not tested"
fi

# --- samples and compare
"$qualm" samples "$work/whole.db" --task sst2 --wrong --n 2 >"$work/out" 2>"$work/err" || fail "samples"
grep -q "tokens 1:<s>" "$work/out" || fail "samples show no tokens"
"$qualm" samples "$work/whole.db" --task sst3 2>"$work/err"
[[ $? == 3 ]] && grep -q "did you mean 'sst2'" "$work/err" || fail "an unknown task"
"$qualm" compare "$work/no.db" a b 2>"$work/err"
[[ $? == 3 && ! -e $work/no.db ]] || fail "a store that is not there"
"$qualm" --quiet quantize "$source_dir/demo/model" --recipe rtn-w3-g64 -o "$work/w3" >/dev/null 2>"$work/err" || fail quantize
"$qualm" --quiet eval "$work/w3" --task sst2 --shots 2 --data "$work/data" --store "$work/whole.db" \
  --json >/dev/null 2>"$work/err" || fail "a quantized model"
"$qualm" compare "$work/whole.db" "$source_dir/tests/../demo/model/" "$work/w3" --json >"$work/out" 2>"$work/err" || fail compare
python3 - "$work/out" <<'PY' || fail "the comparison does not add up"
import json, sys
one = json.load(open(sys.argv[1]))["tasks"][0]
assert one["n"] == 300 and 0 <= one["mcnemar_p"] <= 1
flips = one["wrong_to_right"] - one["right_to_wrong"]
assert abs(one["difference"] - flips / 300) < 1e-12
PY
echo "killed $kills times, $total answers"
