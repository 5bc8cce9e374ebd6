#!/usr/bin/env bash
# bench/ab runs both binaries as often as it says, in the order that it says, and its verdict follows
# from the times by the formula of its help. Only stored times are judged here, never measured ones.
# Arguments: the qualm binary, the source tree.
set -uo pipefail
if ! command -v python3 > /dev/null; then
  echo "skipped: no python3"
  exit 77
fi
ab=$2/bench/ab
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

expect() { # what, exit code, pattern of the output, arguments of bench/ab...
  local what=$1 code=$2 pattern=$3 status=0
  shift 3
  "$ab" "$@" > "$scratch/out" 2>&1 || status=$?
  if ((status == code)) && grep -qE -- "$pattern" "$scratch/out"; then
    echo "ok: $what"
  else
    failures=$((failures + 1))
    echo "FAILED: $what: expected exit code $code and /$pattern/, got $status and"
    sed 's/^/  /' "$scratch/out"
  fi
}
# times NAME PAIRS OLD_CPU NEW_CPU NEW_CPU_OF_EVERY_OTHER_PAIR [OLD_WALL NEW_WALL]: stored pairs
times() {
  awk -v name="$1" -v pairs="$2" -v old="$3" -v even="$4" -v odd="$5" -v old_wall="${6:-1}" \
    -v new_wall="${7:-1}" 'BEGIN {
      OFS = "\t"
      for (i = 0; i < pairs; ++i) print name, old, i % 2 ? odd : even, old_wall, new_wall
    }'
}

# By hand: the logarithms are ±log 1.1 = ±0.09531, five of each. Their mean is 0, their variance
# 10/9 · 0.09531² = 0.010093, the standard error 0.031770; t with 9 degrees of freedom is 2.2622, so the
# interval is exp(±0.071868).
times rtn 10 1.1 1 1.21 > "$scratch/even.tsv"
expect "an interval worked by hand" 0 '^rtn +10 .* 1\.000 \[0\.931, 1\.075\]' --from "$scratch/even.tsv"

# The verdict is about the upper end of the interval, not about the ratio.
times gptq 10 0.96 1 1 > "$scratch/slower.tsv"
expect "4 % less speed, without noise" 1 'gptq .*0\.960 \[0\.960, 0\.960\].*SLOWER' --from "$scratch/slower.tsv"
times gptq 10 0.98 1 1 > "$scratch/close.tsv"
expect "2 % less speed, without noise" 0 'gptq .*0\.980' --from "$scratch/close.tsv"
times gptq 10 0.9 0.8 1.25 > "$scratch/noisy.tsv"
expect "10 % less speed that noise could explain" 0 'gptq .*0\.900 \[0\.7' --from "$scratch/noisy.tsv"
times gptq 10 1 0.5 0.5 > "$scratch/faster.tsv"
expect "twice the speed" 0 'gptq .*2\.000 \[2\.000, 2\.000\]' --from "$scratch/faster.tsv"
cat "$scratch/faster.tsv" "$scratch/slower.tsv" | sed '1,10s/^gptq/decode/' > "$scratch/both.tsv"
expect "one slower workload of two" 1 'below 0\.97 for gptq$' --from "$scratch/both.tsv"

# Processor time decides, unless wall time is asked for.
times decode 10 1 1 1 1 2 > "$scratch/wall.tsv"
expect "slower in wall time only" 0 'decode .*1\.000 \[.*0\.500 \[' --from "$scratch/wall.tsv"
expect "slower in wall time, which decides" 1 'for decode' --from "$scratch/wall.tsv" --by wall

# What is refused.
times rtn 9 1 1 1 > "$scratch/few.tsv"
expect "nine pairs" 2 'at least 10 pairs of each workload; got 9' --from "$scratch/few.tsv"
expect "nine pairs asked for" 2 'at least 10; got 9' old new --pairs 9
printf 'rtn\t1\t0\t1\t1\n' > "$scratch/bad.tsv"
expect "a time of zero" 2 'bad\.tsv:1\] expected a workload and four positive times' --from "$scratch/bad.tsv"
expect "one binary" 2 'expected two binaries' old
: > "$scratch/empty.tsv"
expect "no times" 2 'got 0' --from "$scratch/empty.tsv"

# Two binaries that only write down how they are called. They take no measurable time that means
# anything, so the verdict is left open.
for name in old new; do
  printf '#!/bin/sh\necho "%s $3" >> "%s"\n' "$name" "$scratch/calls" > "$scratch/$name"
done
chmod +x "$scratch/old" "$scratch/new"
"$ab" "$scratch/old" "$scratch/new" --pairs 10 --save "$scratch/saved.tsv" > "$scratch/out" 2>&1
status=$?
if ((status > 1)) || [[ $(cut -f1 "$scratch/saved.tsv" | sort | uniq -c | tr -s ' \n' ' ') != \
  " 10 decode 10 gptq 10 prefill 10 rtn 10 scoring " ]]; then
  failures=$((failures + 1))
  echo "FAILED: ten pairs of each workload; exit code $status"
  cat "$scratch/out" "$scratch/saved.tsv"
fi
# The uncounted run of both for each of five workloads, then OLD NEW five times, NEW OLD five times, ...
expected=$(for ((i = 0; i < 5; ++i)); do echo old new; done | xargs)
for ((pair = 0; pair < 10; ++pair)); do
  for ((i = 0; i < 5; ++i)); do
    if ((pair % 2 == 0)); then expected+=" old new"; else expected+=" new old"; fi
  done
done
if [[ $(cut -d' ' -f1 "$scratch/calls" | xargs) != "$expected" ]]; then
  failures=$((failures + 1))
  echo "FAILED: the order of the runs:"
  cut -d' ' -f1 "$scratch/calls" | xargs
fi
expect "the saved times can be read" "$status" '^scoring +10' --from "$scratch/saved.tsv"

printf '#!/bin/sh\necho "qualm: out of luck" >&2\nexit 3\n' > "$scratch/new"
expect "a binary that fails" 3 'ended with 3: qualm: out of luck' "$scratch/old" "$scratch/new"

# The real binary takes the arguments of every workload: its uncounted run is real, the others are not.
printf '#!/bin/sh\nexit 0\n' > "$scratch/new"
cat > "$scratch/old" << END
#!/bin/sh
echo "\$3" >> "$scratch/real"
[ "\$(grep -c . "$scratch/real")" -gt 5 ] || exec "$1" "\$@"
END
"$ab" "$scratch/old" "$scratch/new" --pairs 10 > "$scratch/out" 2>&1
status=$?
if ((status > 1)); then
  failures=$((failures + 1))
  echo "FAILED: the real binary ran no workload to its end; exit code $status"
  cat "$scratch/out"
fi
((failures == 0))
