"""Compares what README and the documentation say with what the program and the tree have.

    pages.py QUALM SOURCE_TREE

Prints each claim that does not hold and exits with 1 if there is one. The checks themselves are
tried on made-up claims first: a check that finds nothing wrong there would pass everything.
"""
import difflib
import glob
import itertools
import json
import os
import re
import shlex
import subprocess
import sys

QUALM, TREE = sys.argv[1:3]
NUMBERS = "one two three four five six seven eight nine ten eleven twelve".split()


def output_of(*arguments):
    return subprocess.run([QUALM, *arguments], check=True, capture_output=True, text=True).stdout


def read(page):
    return open(os.path.join(TREE, page), encoding="utf-8").read()


def command_sections(page):
    """Options by command, of the program's own page; under "" those of all commands."""
    options = {"": set(re.findall(r"--[a-z-]+", page.split("\n## ")[0]))}
    for section in page.split("\n## ")[1:]:
        names = re.findall(r"^\| `((?:-\w,)?--[a-z-]+)`", section, re.M)
        options[section.split("\n")[0]] = {part for name in names for part in name.split(",")}
        for what in ("Files: ", "Exit code 1: ", "Examples:"):
            if what not in section:
                problems.append(f"qualm {section.split()[0]}: no '{what}' (apps/qualm/cli_page.cc)")
    return options


def expand(text):
    """a{b,c}[-d] as a shell would, and with or without what is in square brackets."""
    parts = re.split(r"(\{[^{}]*\}|\[[^\[\]]*\])", text)
    choices = [part[1:-1].split(",") if part.startswith("{") else
               ["", part[1:-1]] if part.startswith("[") else [part] for part in parts]
    return ["".join(one) for one in itertools.product(*choices)]


def command_lines(text):
    """Lines of code that call the program, those that continue in the next line joined."""
    text = re.sub(r" *\\\n\s*", " ", text)
    lines = re.findall(r"^ {4,}(?:\$ )?(?:[A-Z_]+=\S+ )?(qualm [^\n]*)", text, re.M)
    lines += re.findall(r"`(qualm [^`\n]*)`", text)
    return [re.sub(r"\s#\s.*| \| .*| > .*", "", line) for line in lines]


def check_command_line(line, page):
    words = line.split()
    command = words[1] if len(words) > 1 else ""
    if command.startswith("-") or command in ("COMMAND", "..."):
        return
    if command not in OPTIONS:
        problems.append(f"{page}: no command '{command}': {line}")
        return
    known = OPTIONS[command] | OPTIONS[""] | {"--help", "-h"}
    for word in words[2:]:
        flag = re.match(r"(--?[a-z][a-z-]*)(?:[=,.`]|$)", word)
        if flag and not flag[1] in known:
            problems.append(f"{page}: qualm {command} has no {flag[1]}: {line}")
    # The names that options and places take.
    for option, kind in (("--recipe", "recipes"), ("--hardware", "hardware"), ("--task", "tasks"),
                         ("--protocol", "protocols"), ("--chat-template", "chat-templates")):
        for value in re.findall(option + r" ([a-z0-9][\w.,:-]*)", line):
            for name in value.split(","):
                check_name(name, kind, page, line)
    if command in ("run", "report", "export", "status", "cancel") and len(words) > 2:
        check_name(words[2], "studies", page, line)
    if command == "list" and len(words) > 2:
        for kind in words[2].rstrip("`,.;)").split("|"):
            if kind not in KINDS and kind.isalpha() and kind.islower():
                problems.append(f"{page}: no list of {kind}: {line}")


def check_name(name, kind, page, line):
    is_made_up = name == "gtpq-w4-g64"  # shows the message about a misspelt name
    if not re.fullmatch(r"[a-z][a-z0-9_.-]*", name) or name.endswith((".yaml", ".jinja")) or is_made_up:
        return
    if name not in LISTS[kind]:
        problems.append(f"{page}: '{name}' is not among {kind}: {line}")


def check_same(page, what, said, there):
    if set(said) != set(there):
        problems.append(f"{page}: {what}: said and not there: {sorted(set(said) - set(there))}; "
                        f"there and not said: {sorted(set(there) - set(said))}")


def check_readme(text):
    page = "README.md"
    between = lambda begin, end: text.split(begin, 1)[1].split(end, 1)[0]
    names = lambda part: re.findall(r"`([a-z0-9_.-]+)`", part)
    check_same(page, "protocols", names(between("the perplexity protocols", ".\n")),
               LISTS["protocols"])
    check_same(page, "transforms", names(between("| transforms |", "|\n")), LISTS["transforms"])
    check_same(page, "rounders", names(between("| rounders |", "|\n")), LISTS["rounders"])
    check_same(page, "kinds of lists", between("`qualm list ", "`").replace("\n", "").split("|"), KINDS)
    for pattern in re.findall(r"`([^`]+)`", between("`qualm list recipes` has", "[recipes/]")):
        pattern = pattern.replace("...", "")
        for name in expand(pattern):
            if name.startswith("-"):
                continue
            if not any(recipe.startswith(name) for recipe in LISTS["recipes"]):
                problems.append(f"{page}: no recipe {name}, of `{pattern}`")


def check_families(text):
    """The first column of the table of what runs."""
    rows = re.findall(r"^\| (`[^|]+) \|", text, re.M)
    said = [name for row in rows for name in re.findall(r"`([a-z0-9_]+)`", row)]
    check_same("docs/families.md", "model types", said, LISTS["families"])


def check_counts(text, page):
    """"54 tasks", "twelve devices": numbers of what `qualm list` has."""
    nouns = {"tasks": "tasks", "data sets": "datasets", "devices": "hardware", "rounders": "rounders",
             "transforms": "transforms", "studies": "studies", "families": "families",
             "chat templates": "chat-templates", "protocols": "protocols", "samplers": "samplers"}
    number = r"\b(\d+|" + "|".join(NUMBERS) + r")"
    for said, noun in re.findall(number + r" (?:built-in )?(" + "|".join(nouns) + r")\b", text):
        count = NUMBERS.index(said) + 1 if said in NUMBERS else int(said)
        there = len(LISTS[nouns[noun]])
        if count != there:
            problems.append(f"{page}: {said} {noun}; there are {there}")


def check_tasks_page(text):
    page = "docs/tasks.md"
    known = set(LISTS["tasks"]) | set(LISTS["datasets"])
    part = text.split("Not run on real data so far", 1)[1]
    part = part.split(":", 1)[1].split("lack the pieces")[0]
    for name in re.findall(r"`([a-z][a-z0-9_-]+)`", part):
        if name not in known and name != "tests":
            problems.append(f"{page}: no task and no data set {name}")


def metrics_page():
    """docs/metrics.md: what `qualm list metrics` has, by kind of task."""
    page = ["# Metrics\n", "Written from `qualm list metrics` by `tests/pages_test.sh`.\n",
            "| metric | of | what it is |", "|---|---|---|"]
    for metric in json.loads(output_of("list", "metrics", "--json"))["metrics"]:
        kind, summary = metric["summary"].split(": ", 1)
        page.append(f"| `{metric['name']}` | {kind} | {summary} |")
    return "\n".join(page) + "\n\n\"The same\" is the measure of the line above it.\n"


def check_code_names(text, page):
    """Types and files in backticks exist."""
    for name in set(re.findall(r"`([A-Z][a-z0-9]+(?:[A-Z][a-z0-9]+)+)(?:\(\))?`", text)):
        if name != "CamelCase" and not re.search(r"\b" + name + r"\b", SOURCE):
            problems.append(f"{page}: no {name} in src/")
    for path in set(re.findall(r"`((?:[a-z_]+/)+[\w.]+)`", text)):
        places = [os.path.join(TREE, base, path + ending) for base in ("", "src") for ending in ("", ".h")]
        top = path.split("/")[0]
        is_ours = os.path.isdir(os.path.join(TREE, top)) or os.path.isdir(os.path.join(TREE, "src", top))
        is_build = top == "build" or "NAME" in path
        if is_ours and not is_build and not any(map(os.path.exists, places)):
            problems.append(f"{page}: no file {path}")
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        if not os.path.exists(os.path.join(TREE, os.path.dirname(page), link)):
            problems.append(f"{page}: the link {link} leads nowhere")


# Examples whose output is the same everywhere and takes no time: the lines that a page shows of it.
RUN = ("qualm tokenize demo/model", "qualm roofline demo/model --hardware a100-80g",
       "qualm quantize demo/model --recipe gtpq-w4-g64")


def check_examples(text, page):
    ran = 0
    for command, shown in re.findall(r"^    \$ (qualm [^\n]*)\n((?:    [^$\n][^\n]*\n)*)", text, re.M):
        if not command.startswith(RUN):
            continue
        ended = subprocess.run([QUALM, *shlex.split(command)[1:]], cwd=TREE, capture_output=True, text=True)
        there = (ended.stdout + ended.stderr).split("\n")
        for line in shown.rstrip("\n").split("\n"):
            wanted = line[4:].removesuffix(" ...")
            if not any(one.startswith(wanted) for one in there):
                problems.append(f"{page}: {command} does not print: {wanted}")
        ran += 1
    return ran


def check_folders(text, page):
    """The table of folders has every folder of src/, and no other."""
    said = re.findall(r"^\| \d+ \| `src/([a-z]+)/`", text, re.M)
    there = [one for one in os.listdir(os.path.join(TREE, "src"))
             if os.path.isdir(os.path.join(TREE, "src", one))]
    check_same(page, "folders of src/", said, there)


problems = []
OWN_PAGE = output_of("--help-all")
OPTIONS = command_sections(OWN_PAGE)
KINDS = re.search(r"`KIND` \(required\) \| ([^|]*)", OWN_PAGE)[1].replace("`", "").strip().split(", ")
LISTS = {kind: [one["name"] for one in json.loads(output_of("list", kind, "--json"))[kind]]
         for kind in KINDS}
SOURCE = "".join(open(file, encoding="utf-8").read()
                 for file in glob.glob(os.path.join(TREE, "src/**/*.h"), recursive=True) +
                 glob.glob(os.path.join(TREE, "src/**/*.cc"), recursive=True))

# Every check finds what it is for.
MADE_UP = {
    "no command 'evl'": lambda: check_command_line("qualm evl MODEL", "x"),
    "has no --lmit": lambda: check_command_line("qualm eval MODEL --lmit 3", "x"),
    "'no-task' is not": lambda: check_command_line("qualm eval MODEL --task mmlu,no-task", "x"),
    "'s9' is not": lambda: check_command_line("qualm run s9 --work w", "x"),
    "no list of colours": lambda: check_command_line("qualm list colours", "x"),
    "99 tasks": lambda: check_counts("99 tasks", "x"),
    "two devices": lambda: check_counts("two devices", "x"),
    "no NoSuchType in": lambda: check_code_names("`NoSuchType`", "x"),
    "no file src/no.cc": lambda: check_code_names("`src/no.cc`", "x"),
    "does not print: {}": lambda: check_examples(
        "    $ qualm tokenize demo/model --text a --json\n    {}\n", "x"),
    "folders of src/": lambda: check_folders("| 1 | `src/nowhere/` | x |\n", "x"),
    "leads nowhere": lambda: check_code_names("[a](b.md)", "x"),
}
stated = len(problems)
for wanted, check in MADE_UP.items():
    check()
    assert len(problems) == stated + 1 and wanted in problems.pop(), wanted

# Pages that the program writes.
for page, wanted in (("docs/cli.md", OWN_PAGE), ("docs/metrics.md", metrics_page())):
    if os.environ.get("QUALM_WRITE_PAGES"):
        open(os.path.join(TREE, page), "w", encoding="utf-8").write(wanted)
    else:
        there = read(page) if os.path.exists(os.path.join(TREE, page)) else ""
        changes = list(difflib.unified_diff(there.split("\n"), wanted.split("\n"), page, "the program",
                                            lineterm="", n=0))
        if changes:
            problems.append("\n".join([f"{page} is not what the program says; to renew it: "
                                       "QUALM_WRITE_PAGES=1 bash tests/pages_test.sh build/qualm .",
                                       *changes[:20]]))

pages = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"]
pages += sorted(os.path.relpath(page, TREE)
                for page in glob.glob(os.path.join(TREE, "docs/**/*.md"), recursive=True))
lines = examples = 0
for page in pages:
    text = read(page)
    check_code_names(text, page)
    if not page.startswith("docs/studies/"):  # those count what is in a study
        check_counts(text, page)
    for line in command_lines(text):
        check_command_line(line, page)
        lines += 1
    examples += check_examples(text, page)
assert examples == 3, examples
check_readme(read("README.md"))
check_families(read("docs/families.md"))
check_folders(read("ARCHITECTURE.md"), "ARCHITECTURE.md")
check_tasks_page(read("docs/tasks.md"))

for problem in problems:
    print("pages_test:", problem, file=sys.stderr)
if not problems:
    print(f"{len(pages)} pages, {lines} command lines, {examples} examples, {len(KINDS)} lists")
sys.exit(1 if problems else 0)
