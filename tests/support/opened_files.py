"""Compares what qualm opens, as strace saw it, with what its keys are made of.

    opened_files.py QUALM SOURCE_TREE SCRATCH

A study with every kind of stage and of input is planned; each of its stages runs alone under strace.
Then every file that was opened is changed, one after the other, and the study is planned again.
"""
import gzip
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys

QUALM, TREE, SCRATCH = (os.path.realpath(path) for path in sys.argv[1:4])
INPUTS = os.path.join(SCRATCH, "inputs")  # everything that a result may depend on

GENERATION = """\
name: mine
title: texts with a header, pieces of BLEU and rows of the user's own
version: 1
harness: made up
kind: generation
data: {set: INPUTS/data/mine.csv, split: all}
context: "{question}\\nAnswer:"
continuation: " {answer}"
header: {file: header.txt, after: "---\\n"}
generate: {max_tokens: 6, stop: ["\\n"], bleu: spm, bleu_pieces: pieces/spm.model}
references: ["{answer}"]
metrics: [bleu]
"""

CHOICES = """\
name: packed
title: rows in a packed file
version: 1
harness: made up
kind: multiple_choice
data: {set: INPUTS/data/packed.jsonl.gz, split: all}
context: "{question}"
continuation: " {choice}"
choices: ["{a}", "{b}"]
answer: {is: index, value: "{right}"}
metrics: [acc]
"""

HARNESS = """\
include: base.yaml
task: theirs
dataset_path: json
dataset_kwargs: {data_files: {test: [INPUTS/data/one.jsonl, INPUTS/data/two.jsonl]}}
test_split: test
"""

BASE = """\
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: ["{{a}}", "{{b}}"]
doc_to_target: right
metric_list: [{metric: acc}]
"""

STUDY = """\
name: everything
title: T
question: Q
models: [INPUTS/model]
recipes: [INPUTS/own.yaml]
seeds: 1
defaults: {samples: 2, length: 32, held_out: 1}
limits: {windows: 2, seqlen: 64}
calibration:
  - {name: folder, corpus: INPUTS/texts}
  - {name: lines, corpus: INPUTS/lines.jsonl}
  - {name: rows, rows: {task: boolq, split: train}}
  - {name: random, random_tokens: true}
  - {name: self, self_generated: {temperature: 1}}
  - {name: mixed, mixed: [folder, lines]}
tests:
  - {name: story, corpus: INPUTS/test.txt}
  - {name: boolq, task: boolq, shots: 1, limit: 2}
  - {name: packed, task: INPUTS/packed.yaml, limit: 2}
  - {name: mine, task: INPUTS/mine.yaml, limit: 2}
  - {name: theirs, task: INPUTS/theirs.yaml, limit: 2}
efficiency: {prompt: 8, gen: 2, repetitions: 1}
"""


def write(name, text):
    path = os.path.join(INPUTS, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as out:
        out.write(text.replace("INPUTS", INPUTS))


def make_inputs():
    demo = os.path.join(TREE, "demo")
    shutil.copytree(os.path.join(demo, "model"), os.path.join(INPUTS, "model"))
    write("model/added_tokens.json", json.dumps({"壳": 5999}))  # a piece that is one already
    write("model/special_tokens_map.json", json.dumps({"bos_token": "<s>"}))
    write("model/chat_template.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}")

    shutil.copytree(os.path.join(TREE, "tests/data/rows/boolq"), os.path.join(INPUTS, "data/boolq"))
    # Both splits are the same file there, of which a study would score only some rows.
    with open(os.path.join(INPUTS, "data/boolq/train.jsonl"), "a") as out:
        out.write(json.dumps({"question": "is it", "passage": "It is.", "label": True}) + "\n")
    for name in ("spm.model", "tokenizer_config.json"):
        source = "tokenizer.model" if name == "spm.model" else name
        os.makedirs(os.path.join(INPUTS, "data/pieces"), exist_ok=True)
        shutil.copy(os.path.join(demo, "model", source), os.path.join(INPUTS, "data/pieces", name))
    write("data/header.txt", "not this\n---\nQuestions.\n\n")
    write("data/mine.csv", "question,answer\nWho sings?,the bird\nWho runs?,the dog\nWho?,nobody\n")
    rows = [{"question": f"Question {i}", "a": "yes", "b": "no", "right": i % 2} for i in range(4)]
    with gzip.open(os.path.join(INPUTS, "data/packed.jsonl.gz"), "wt") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    for name in ("one", "two"):
        write(f"data/{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows[:2]))

    story = open(os.path.join(demo, "text/stories.calib.txt")).read()[:40000]
    write("texts/a.txt", story[:20000])
    write("texts/b.txt", story[20000:])
    write("lines.jsonl", "".join(json.dumps({"text": story[i:i + 4000]}) + "\n"
                                 for i in range(0, 20000, 4000)))
    write("test.txt", story[:6000])
    write("own.yaml", "name: own\nrounder: gptq\nweights: {type: int4, granularity: group, group_size: 64}\n")
    write("mine.yaml", GENERATION)
    write("packed.yaml", CHOICES)
    write("theirs.yaml", HARNESS)
    write("base.yaml", BASE)
    write("study.yaml", STUDY)


def run(*arguments, wanted=(0,)):
    ended = subprocess.run([QUALM, *arguments], capture_output=True, text=True)
    assert ended.returncode in wanted, (arguments, ended.stdout[-2000:], ended.stderr[-2000:])
    return ended


def opened_by(*arguments):
    """The files below INPUTS that were opened to be read, by the process and all its children."""
    trace = os.path.join(SCRATCH, "trace")
    command = ["strace", "-f", "-qq", "-e", "trace=open,openat,openat2", "-o", trace, QUALM]
    ended = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, (arguments, ended.stdout[-2000:], ended.stderr[-2000:])
    files = set()
    for line in open(trace, errors="replace"):
        found = re.search(r'open\w*\([^"]*"([^"]*)", ([A-Z_|]+).*\) = \d+', line)
        if not found or "O_DIRECTORY" in found[2]:
            continue
        path = os.path.realpath(found[1])
        if path.startswith(INPUTS + "/") and os.path.isfile(path):
            files.add(path)
    return files


def change(path):
    """Another content that can still be read, with the same meaning where that is possible."""
    before = open(path, "rb").read()
    if path.endswith(".safetensors"):
        after = before[:-1] + bytes([before[-1] ^ 1])
    elif path.endswith(".model"):
        after = before + b"\x78\x01"  # an unknown field
    elif path.endswith(".gz"):
        after = before + gzip.compress(b"", mtime=7)
    elif path.endswith((".csv", ".jsonl")):
        after = before + before.splitlines(keepends=True)[-1]  # the last row once more
    else:
        after = before + b" "
    assert after != before, path
    with open(path, "wb") as out:
        out.write(after)
    return before


def restore(path, content):
    with open(path, "wb") as out:
        out.write(content)


def check_study():
    study = [os.path.join(INPUTS, "study.yaml"), "--data", os.path.join(INPUTS, "data")]
    done, alone = os.path.join(SCRATCH, "done"), os.path.join(SCRATCH, "alone")
    run("run", *study, "--work", done, "--quiet")

    # The same plan in an empty work folder, whose stages are run one at a time.
    plan_file, = os.listdir(os.path.join(done, "plans"))
    os.makedirs(os.path.join(alone, "plans"))
    shutil.copy(os.path.join(done, "plans", plan_file), os.path.join(alone, "plans"))
    plan = json.load(open(os.path.join(alone, "plans", plan_file)))
    typed = {os.path.join(INPUTS, name) for name in ("own.yaml", "study.yaml")}

    stages_of = {}  # by file: the labels of the stages that opened it
    for stage in plan["stages"]:
        files = opened_by("stage", os.path.join(alone, "plans", plan_file), stage["key"], "--quiet")
        known = {os.path.realpath(file["path"]) for file in plan["files"][stage["files"]]["files"]
                 if file["path"]}
        unknown = files - known - typed
        assert not unknown, f"{stage['label']} opens what its key does not know: {unknown}"
        for file in files - typed:
            stages_of.setdefault(file, set()).add(stage["label"])

    kinds = {stage["kind"] for stage in plan["stages"]}
    assert kinds == {"calibrate", "quantize", "evaluate", "measure"}, kinds
    names = {os.path.relpath(file, INPUTS) for file in stages_of}
    for name in ("model/added_tokens.json", "model/special_tokens_map.json", "data/header.txt",
                 "data/pieces/tokenizer_config.json", "model/generation_config.json", "texts/b.txt",
                 "model/chat_template.jinja", "data/packed.jsonl.gz", "mine.yaml",
                 "base.yaml", "data/two.jsonl"):
        assert name in names, f"no stage opened {name}: {sorted(names)}"

    for file, labels in sorted(stages_of.items()):
        before = change(file)
        planned = json.loads(run("run", *study, "--work", done, "--plan", "--json").stdout)
        restore(file, before)
        kept = {stage["label"] for stage in planned["stages"] if stage["done"]} & labels
        assert not kept, f"{file} has changed, but found done: {kept}"
    planned = json.loads(run("run", *study, "--work", done, "--plan", "--json").stdout)
    assert all(stage["done"] for stage in planned["stages"]), "nothing has changed, but runs again"
    print(f"{len(plan['stages'])} stages, {len(stages_of)} files")


def check_store():
    store = os.path.join(SCRATCH, "results.db")
    model = os.path.join(INPUTS, "model")
    tasks = ",".join(os.path.join(INPUTS, name) for name in ("mine.yaml", "packed.yaml", "theirs.yaml"))
    command = ["eval", model, "--task", tasks, "--chat", "--data", os.path.join(INPUTS, "data"),
               "--store", store]
    files = opened_by(*command)
    assert len(files) >= 10, files

    def answers():  # of the next run: how many the store had
        told = run(*command).stderr
        found = [int(n) for n in re.findall(r"different, (\d+) more from the store", told)]
        assert len(found) == 3, told
        return sum(found)

    def evaluations():
        return sqlite3.connect(store).execute("SELECT count(*) FROM evaluations").fetchone()[0]

    assert answers() == 3 + 8 + 8, "the store does not answer what it was told"
    for file in sorted(files):
        before, count = change(file), evaluations()
        found = answers()
        restore(file, before)
        assert evaluations() > count, f"{file} has changed, but it is the same evaluation"
        if file.startswith(model + "/"):
            assert found == 0, f"{file} has changed, but the store answers {found} requests"
    print(f"{len(files)} files of an evaluation")


make_inputs()
check_study()
check_store()
print("opened_files_test: ok")
