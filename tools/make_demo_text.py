#!/usr/bin/env python3
"""Writes demo/text/<domain>.{calib,test}.txt from the grammars in tools/demo_text/<domain>.txt.

A developer's tool: its output is committed and a test compares the two. The same grammars always
give the same bytes (own random numbers, no clock, no hash order).

    tools/make_demo_text.py [--check]       --check writes nothing, fails where a file differs

Grammar files. `== name` opens a rule with one alternative a line; `=== name` one whose alternatives
are several lines long and separated by a line `--`. `#` in the first column is a comment. Inside:
    {rule}         an alternative of the rule, not one used recently where there is a choice
    {x=rule} {x}   the same, remembered until the document ends; and again
    {3-17}         a whole number of that range;  {x=3-17} remembered
    {rule|cap}     with a capital letter
    a(n)           "a" or "an" by the letter that follows
    @              a line that starts so is expanded for what it remembers, and left out
    \\n             a line end in a one-line alternative
Every document is one expansion of the rule `document`.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = {"calib": 1, "test": 2}  # part -> seed
BYTES = {"calib": 60_000, "test": 72_000}
SLOT = re.compile(r"\{(?:(\w+)=)?([\w-]+)(?:\|(cap))?\}")


class Random:
    """splitmix64."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) & (2**64 - 1)
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        return (z ^ (z >> 31)) % n


def read_grammar(path):
    rules, current, multiline = {}, None, False
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line.startswith("#") and not multiline:
            continue
        opening = re.match(r"(===?) (\w+)$", line)
        if opening:
            current, multiline = opening.group(2), opening.group(1) == "==="
            if current in rules:
                raise SystemExit(f"{path}: rule {current} twice")
            rules[current] = [""] if multiline else []
        elif multiline and line == "--":
            rules[current].append("")
        elif multiline:
            rules[current][-1] += line + "\n"
        elif line.strip():
            rules[current].append(line.replace("\\n", "\n"))
    return {name: [a.strip("\n") if "\n" in a else a for a in alternatives]
            for name, alternatives in rules.items()}


class Writer:
    def __init__(self, rules, seed):
        self.rules, self.random, self.recent, self.names = rules, Random(seed), {}, {}

    def pick(self, rule):
        if rule not in self.rules:
            if not re.fullmatch(r"\d+-\d+", rule):
                raise SystemExit(f"no rule {rule}")
            low, high = (int(n) for n in rule.split("-"))
            return str(low + self.random.below(high - low + 1))
        alternatives = self.rules[rule]
        recent = self.recent.setdefault(rule, [])
        choice = self.random.below(len(alternatives))
        while choice in recent:
            choice = self.random.below(len(alternatives))
        recent.append(choice)
        del recent[:max(0, len(recent) - len(alternatives) // 2)]
        return self.expand(alternatives[choice])

    def slot(self, match):
        name, rule, capital = match.groups()
        if name is None and rule in self.names:
            text = self.names[rule]
        else:
            text = self.pick(rule)
            if name is not None:
                self.names[name] = text
        return text[:1].upper() + text[1:] if capital else text

    def expand(self, text):
        return SLOT.sub(self.slot, text)

    def document(self):
        self.names = {}
        text = re.sub(r"^@.*\n", "", self.pick("document"), flags=re.MULTILINE)
        text = re.sub(r"\b([Aa])\(n\) (?=([\w\"']))",
                      lambda m: m.group(1) + ("n " if m.group(2).lower() in "aeiou" else " "), text)
        return text.rstrip("\n") + "\n"


def make(domain, part):
    grammar = ROOT / "tools" / "demo_text" / f"{domain}.txt"
    writer = Writer(read_grammar(grammar), PARTS[part] * 1000 + len(domain))
    documents, size = [], 0
    while size < BYTES[part]:
        documents.append(writer.document())
        size += len(documents[-1].encode()) + 1
    return "\n".join(documents)


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        raise SystemExit(__doc__)
    differing = []
    for grammar in sorted((ROOT / "tools" / "demo_text").glob("*.txt")):
        for part in PARTS:
            text = make(grammar.stem, part).encode()
            path = ROOT / "demo" / "text" / f"{grammar.stem}.{part}.txt"
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text)
            elif not path.exists() or path.read_bytes() != text:
                differing.append(str(path.relative_to(ROOT)))
    if differing:
        raise SystemExit("not what the grammars give: " + ", ".join(differing))


if __name__ == "__main__":
    main()
