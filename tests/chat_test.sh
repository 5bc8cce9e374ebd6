#!/usr/bin/env bash
# qualm chat and qualm generate --chat by pipe: turns, commands, the JSON of messages, the end of the
# context, exit codes. Runs on the demo model with built-in templates.
# Arguments: the qualm binary, the source tree.
set -uo pipefail
qualm=$(realpath "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r "$2/demo/model" "$scratch/model"
model=$scratch/model
failures=0

fail() {
  failures=$((failures + 1))
  echo "FAILED: $*" >&2
}
# run CODE INPUT ARGUMENTS...: runs qualm on these lines; its output is in $out and $err.
run() {
  local expected=$1 input=$2 code=0
  shift 2
  printf '%s' "$input" | "$qualm" "$@" > "$scratch/out" 2> "$scratch/err" || code=$?
  out=$(cat "$scratch/out") err=$(cat "$scratch/err")
  ((code == expected)) || fail "qualm $*: exit code $code, expected $expected; stderr: $err"
}
err_has() { [[ $err == *"$1"* ]] || fail "no '$1' on stderr: $err"; }
command -v python3 > /dev/null || { echo "python3 is needed to read JSON" >&2; exit 77; }
# python EXPRESSION: true over `lines`, the JSON objects of standard output.
python() {
  python3 -c 'import json,sys
lines = [json.loads(line) for line in open(sys.argv[1])]
sys.exit(not eval(sys.argv[2]))' "$scratch/out" "$1" || fail "not true: $1 in: $out"
}

chat=(chat "$model" --chat-template chatml --max-tokens 12)

# --- one turn a line, the same for any number of threads, and as JSON
run 0 $'Once upon a time\n\nThe cat\r\n' "${chat[@]}" --quiet
cp "$scratch/out" "$scratch/first"
[[ -z $err ]] || fail "--quiet writes to stderr: $err"
run 0 $'Once upon a time\n\nThe cat\r\n' "${chat[@]}" --threads 1
cmp -s "$scratch/out" "$scratch/first" || fail "answers depend on the number of threads"
err_has "chat template chatml, date $(date +%Y-%m-%d); context"
err_has "ends at: 2 </s>"
run 0 $'Once upon a time\nThe cat' "${chat[@]}" --json
python "len(lines) == 2 and [line['turn'] for line in lines] == [1, 2]"
python "lines[0]['computed_tokens'] == lines[0]['prompt_tokens']"
python "lines[1]['computed_tokens'] < lines[1]['prompt_tokens']" # the rest was in the cache
python "all(line['finish_reason'] == 'length' and line['tokens'] == 12 for line in lines)"
python "''.join(line['text'] + '\n' for line in lines) == open('$scratch/first').read()"

# --- commands
run 0 $'Once upon a time\n/save '"$scratch/talk.json"$'\n/reset\nOnce upon a time\n/exit\nThe cat\n' \
  "${chat[@]}" --system "Be brief." --json
python "len(lines) == 2 and lines[0]['text'] == lines[1]['text']"
python "[m['role'] for m in json.load(open('$scratch/talk.json'))] == ['system', 'user', 'assistant']"
python "json.load(open('$scratch/talk.json'))[2]['content'] == lines[0]['text']"
run 3 $'/sav x\n' "${chat[@]}"
err_has "unknown command '/sav'; did you mean '/save'?"
run 3 $'/save\n' "${chat[@]}"
run 0 $'//save\n/save '"$scratch/slash.json"$'\n' "${chat[@]}" --quiet
grep -q '"/save"' "$scratch/slash.json" || fail "a message cannot begin with a slash"

# What cannot be saved is said with the path that was given, and the conversation continues.
run 1 $'Once upon a time\n/save '"$scratch/absent/talk.json"$'\nThe cat\n' "${chat[@]}" --json
python "len(lines) == 2"
err_has "[/save $scratch/absent/talk.json] cannot"
[[ $err != *.tmp.* ]] || fail "the name of a temporary file is shown: $err"

# --- a message of the system comes from the flag or from the file
for command in chat "generate --chat --prompt x"; do
  run 3 $'x\n' $command "$model" --chat-template chatml --system "Be rude." --messages "$scratch/talk.json"
  err_has "[--system] expected no message of the system in $scratch/talk.json; got 'Be brief.'"
done
echo '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]' > "$scratch/short.json"
run 0 '' generate "$model" --chat --chat-template chatml --system "Be brief." --messages "$scratch/short.json" \
  --prompt x --max-tokens 1 --json
python "[m['role'] for m in lines[0]['messages']] == ['system', 'user', 'assistant', 'user']"

# --- a saved conversation continues in chat and in generate
run 0 $'The cat\n' "${chat[@]}" --messages "$scratch/talk.json" --json
cp "$scratch/out" "$scratch/continued"
run 0 '' generate "$model" --chat --chat-template chatml --messages "$scratch/talk.json" --prompt "The cat" \
  --max-tokens 12 --json
python "lines[0]['text'].strip() == json.load(open('$scratch/continued'))['text'].strip()"
python "lines[0]['chat']['template'] == 'chatml' and len(lines[0]['messages']) == 4"
echo '[{"role": "user"}]' > "$scratch/bad.json"
run 3 $'x\n' "${chat[@]}" --messages "$scratch/bad.json"

# --- the context's end
run 0 $'Once upon a time\nThe cat\nThe dog\n' "${chat[@]}" --context 90 --json
err_has "the model no longer sees its first"
python "lines[0]['turns_left_out'] == 0 and lines[2]['turns_left_out'] > 0"
run 3 "$(printf 'x%.0s' {1..400})"$'\n' "${chat[@]}" --context 90
err_has "[message] expected fewer than 90 tokens"

# --- templates, dates and options
run 3 $'x\n' chat "$model"
err_has "--chat-template takes one by name: chatml"
cat > "$scratch/dated.jinja" << 'JINJA'
{{ strftime_now('%d %b %Y') }} {{ enable_thinking }} {{ messages[-1].content }}
JINJA
dated=(generate "$model" --chat --chat-template "$scratch/dated.jinja" --prompt x --max-tokens 1 --json)
run 0 '' "${dated[@]}" --date 2024-02-29 --chat-option enable_thinking=false
python "lines[0]['chat'] == {'template': 'dated', 'date': '2024-02-29', 'options': {'enable_thinking': False}}"
first=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["prompt_ids"])' "$scratch/out")
run 0 '' "${dated[@]}" --date 2024-03-01 --chat-option enable_thinking=false
python "lines[0]['prompt_ids'] != $first"
run 2 '' "${dated[@]}" --date 2023-02-29
err_has "[--date] expected a day as YYYY-MM-DD; got 2023-02-29"
run 2 '' "${dated[@]}" --chat-option thinking
run 2 '' generate "$model" --prompt x --date 2024-02-29
err_has "[--chat] expected with --system"
run 2 '' generate "$model" --chat
err_has "[generate] expected --prompt"

# --- how texts end and are drawn
echo '{"eos_token_id": [2, 262], "do_sample": true, "temperature": 0.6, "num_beams": 3}' > "$model/generation_config.json"
run 3 $'x\n' "${chat[@]}" --sampling model
err_has "[$model/generation_config.json: num_beams] expected a setting that qualm can follow; got 3"
run 0 $'x\n' "${chat[@]}"
err_has "do_sample true, temperature 0.6, num_beams 3 (not used; --sampling model)"
err_has "ends at: 2 </s>, 262"
run 2 '' generate "$model" --prompt x --sampling model --temperature 0.5
err_has "[--sampling] expected flags with --temperature"
echo '{"eos_token_id": [2, -5], "do_sample": true, "top_p": 0.9}' > "$model/generation_config.json"
run 0 '' generate "$model" --prompt x --sampling model --max-tokens 2 --json
python "lines[0]['sampling'] == {'temperature': 1, 'top_k': 50, 'top_p': 0.9, 'min_p': 0, 'repetition_penalty': 1}"
err_has "eos_token_id -5 is left out"
run 0 '' inspect "$model" --json
python "lines[0]['generation']['end_of_text'] == [{'id': 2, 'piece': '</s>'}]"
python "lines[0]['generation']['sampling'] == {'do_sample': True, 'top_p': 0.9}"
run 2 '' generate "$model" --prompt x --stop ''
echo '{"eos_token_id": "</s>"}' > "$model/generation_config.json"
run 3 '' generate "$model" --prompt x
err_has "eos_token_id] expected a token id, a list of token ids or null; got \"</s>\""

# --- Ctrl-C ends the answer only
cp "$2/demo/model/generation_config.json" "$model/"
cd "$scratch" && python3 - "$qualm" chat "$model" --chat-template chatml --ignore-eos --max-tokens 100000 > "$scratch/log" 2>&1 << 'PY' || fail "Ctrl-C: $(cat "$scratch/log")"
import os, signal, subprocess, sys
pipe = subprocess.PIPE
chat = subprocess.Popen(sys.argv[1:], stdin=pipe, stdout=pipe, stderr=pipe)
chat.stdin.write(b"Once upon a time\n")
chat.stdin.flush()
begun = os.read(chat.stdout.fileno(), 1)  # the answer is being written now
chat.send_signal(signal.SIGINT)
out, err = chat.communicate(b"/save talk.json\n", timeout=120)
assert chat.returncode == 0, (chat.returncode, err)
assert b"(stopped)" in err, err
assert b"2 messages are in talk.json" in err, err
PY

((failures == 0)) && echo "chat_test: ok"
exit $((failures > 0))
