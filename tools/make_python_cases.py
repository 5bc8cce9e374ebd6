#!/usr/bin/env python3
"""Writes tests/data/python/regex.jsonl and texts.jsonl: what Python's re and str do.

The first line of regex.jsonl has the texts. Another line is [pattern, "error"] for a pattern that
re.compile refuses, else [pattern, {N: matches}] with what re.findall finds in text number N: the
groups of each match, or the whole match if there are none. A line of texts.jsonl is [text, lower, upper, strip, escape]. Run it without arguments with
Python 3.11 from anywhere; it is deterministic and the results are committed.
"""
import json
import pathlib
import random
import re
import signal
import warnings

warnings.simplefilter("ignore")

TEXTS = ["", "a", "aab", "one\ntwo\n", "\n\na", "Yes, no YES", "A1b2 c_3", "x = -1,234.50.", "\u00e9\u00c9 stra\u00dfe",
         "I \u0130 i \u0131 k \u212a s \u017f", "(A) [B] {C}", "a\u00a0b\u2003c\x1cd\u180ee", "\u0663\u06604 \u00b2\u2167",
         "aaaa bbbb abab", "\\boxed{1}", "\u4e2d\u6587 A\u3002", "\u0390 \u1fd3 \u03b0 \ufb05 \ufb06 \u03a3\u03c2\u03c3",
         "foo.bar@x", "tab\there", "\U0001f600a\U0001f601"]

PATTERNS = r"""
a*|b
(a*)*|(a|b?)+|(a?)*?b|(?:a*)+
(a)|(b)|((a)|b)*c?|(a)?b|(a|ab)(c|bcd)*(d*)
^a|a$|^$|^|$|(?m)^|(?m)$|(?m)^.*$|\Aone|two\Z|two$|(?m)two$
(?s).*|.+|(?s:.)+|.*?|(?s)a.b
\d+|\D+|\w+|\W+|\s+|\S+|[\d]|[\D]|[\w]|[\W]|[\s]|[\S]|[^\d\s]|[^\W\d_]
(?a)\d+|(?a)\w+|(?a)\s+|(?a)\W+|(?a)\S|(?a)[\D]|(?a)[\W]|(?a)[\S]
\b\w|\w\b|\B\w|\b|\B|(?a)\b\w|(?a)\B.|\b[A-D]\b
(?i)yes|(?i)i|(?i)[i]|(?i)[a-z]|(?i)[^i]|(?i)k|(?i)s|(?i)\u0130|(?i)\u0131|(?i)[\u0130-\u0140]|(?i)[^a-z ]
(?i)\u0390|(?i)\u03b0|(?i)\ufb05|(?i)\u03c3|(?i)\u00e9|(?i)\u00df|(?i)[\u0370-\u03ff]
(?ai)k|(?ai)[i]|(?ai)[a-z]+|(?ai)[^a-z]|(?ai)\u00e9|(?i:a)b|(?i-i:A)|(?-i:a)|(?i)a(?-i:B)
(?x) a b # c|(?x)a\ b|(?x)[ #]|(?x: a ) b|(?x)a *|(?x) (?i) a
(?P<n>a)(?P=n)|(a)\1|(a)(b)?\2|(?P<n>a)|(?P<n>a)(?P<n>b)|(?P=n)|(?P<1>a)|(?P<>a)|\1|(a\1)
(?<=a)b|(?<!a)b|(?<=aa|bb)a|(?<=a|bb)a|(?<=a*)b|(?<=^)a|(?<=(a))b|(?<=(a)\1)b|(a)(?<=\1)b|(?<=\b)a|(?<=a{2})b
a(?=b)|a(?!b)|(?=(a))|(?=a)*b|(?!a)+|(?:(?=a))?a|(?=(female|woman|a))
(?>a*)b|(?>a*)a|a*+a|a++b|a?+a|a{1,2}+a|(?:ab)*+
(a)?(?(1)b|c)|(a)?(?(1)b)|(?P<n>a)?(?(n)b|c)|(?(1)a|b)|(?(2)a)(b)|(?(0)a)|(?(x)a)|(a)?(?(1)b|c|d)
a{2}|a{2,}|a{,2}|a{1,2}|a{1,2}?|a{|a{}|a{x}|a{1|a{1,|a{,}|a{,}b|{1}|x{2,1}|a{0}b|a{ 1}
a**|a*?|a+?|a??|a***|*a|+|?|a|(*a)|^*|\b+|$?|(?:^)*|(?#x)*|a(?#x)*|(?i)*
[]a]|[^]a]|[a-]|[-a]|[a-c-e]|[a\]b]|[\b]|[\x41-\x43]|[\101]|[[a]|[[:alpha:]]|[a&&b]|[z-a]|[\d-a]|[a-\d]|[|[]|[^]|[a
\x41|\x4|\u0041|\u004|\U00000041|\U0001f600|\U00110000|\0|\01|\012|\0123|\101|\400|\8|\9|\18|\119
\a|\f|\n|\r|\t|\v|\\|\-|\.|\/|\_|\ |\e|\c|\h|\G|\R|\X|\K|\Q|\p|\z|\Z|\A|\i
()|(?:)|(|)|a||b||a|(|a)|(a|)|(?:|a)+|(?:a|)*b
(?i|(?i)|(?i:|(?|(?z)|(?P|(?P<|(?P<a|(?Px)|(?<|(?<a)|(?<n>a)|(?'n'a)|(?L)a|(?au)a|(?u)\w|(?u:a)|(?a:\w)|(?-a:x)|(?i-:x)|(?i-i:x)|(?-:x)|(?-u:x)|a(?i)b|(?s)(?i)A|(?:(?i)a)|((?i)a)|(?#
(?:ab|a)(?:bc|c)?|(\w+)\s(\w+)|(\d+)(?:st|nd)|(-?[$0-9.,]{2,})|(-?[0-9]+)
#### (\-?[0-9\.\,]+)|(\([A-Z]\))|answer is \(?([ABCDEFGHIJ])\)?|(?i)(?<=the answer is )(.*)(?=.)
(?<= )([" \[\(<{}>\)\]]+)|([" \[\(<{}>\)\]]+)|^(.*?)\s*$|^(.*?)(?=\n|$)|([A-E]).*|(?m)^(\w+)
(a|b)*?c|(?:(a)|b)*|(?:(a)|(b)|(c))*|((a)|b)+?|(a(b)?)+|(aa|a)*b|([ab]*?)(b*)
(?i)[^\W\d]+|(?s:(a.))|(?m:^a)|(?i:[^A])|[\n-a]|[ -~]|[^\x00-\x7f]
\N{DASH}|[\ud800]|\ud800
"""


def handwritten():
    """Every line whole and every piece of it between bars, whatever comes of that."""
    for line in PATTERNS.strip("\n").split("\n"):
        yield line
        yield from line.split("|")


ATOMS = ["a", "b", "A", "1", "_", " ", r"\n", ".", r"\d", r"\w", r"\s", r"\W", "[ab]", "[^a]", "[a-c1]", r"[^\w]", "\u00e9", r"\b", "^", "$",
         "(?=a)", "(?!b)", "(?<=a)", "(?<!b)"]


def generated(rng, depth):
    kind = rng.randrange(10)
    if depth == 0 or kind < 4:
        return rng.choice(ATOMS)
    inner = generated(rng, depth - 1)
    if kind < 6:
        return inner + generated(rng, depth - 1)
    if kind < 7:
        return rng.choice(["(%s|%s)", "(?:%s|%s)"]) % (inner, generated(rng, depth - 1))
    if kind < 8:
        return rng.choice(["(%s)", "(?:%s)", "(?i:%s)", "(?>%s)", "(?s:%s)", "(?m:%s)"]) % inner
    return "(?:%s)%s" % (inner, rng.choice(["*", "+", "?", "*?", "+?", "??", "{1,2}", "{2}", "{,2}?"]))


class Slow(Exception):
    pass


def on_alarm(*_):
    raise Slow


def cases(patterns, texts):
    for pattern in dict.fromkeys(patterns):
        try:
            regex = re.compile(pattern)
        except (re.error, OverflowError, ValueError):
            yield [pattern, "error"]
            continue
        found = {}
        for number in texts(pattern):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            try:
                matches = regex.findall(TEXTS[number])
                found[number] = [[m] if isinstance(m, str) else list(m) for m in matches]
            except Slow:
                pass
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        yield [pattern, found]


STRINGS = TEXTS + [
    "\u0391\u03a3", "\u03a3", "A\u03a3", "\u03a3A", "A\u03a3B", "A\u03a3 B", "A\u03a3\u0301", "A\u03a3\u0301B", "A.\u03a3", "A\u02b0\u03a3", "A'\u03a3'", "\u0130stanbul \u1e9e \ufb01 \u0149 \u01c5 \u1f80",
    " \u3000x\u2028 ", "\ufeffa", "\x1fa\x1c", "\u200ba", "\u180ea", "()[]{}?*+-|^$\\.&~# \t\n\r\v\f,;:'\"/", "\U00010400 \u2c62 \ua7ae \uab53 \u13a0"]


def write(path, lines):
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    path.write_text(text.replace("\u2028", "\\u2028"), encoding="utf-8")
    print(path.name, text.count("\n"), len(text))


def main():
    signal.signal(signal.SIGALRM, on_alarm)
    rng = random.Random(20240607)
    every = range(len(TEXTS))
    few = lambda pattern: random.Random(pattern).sample(every, 4)
    patterns = list(handwritten())
    more = [generated(rng, 4) for _ in range(500)]
    folder = pathlib.Path(__file__).resolve().parent.parent / "tests/data/python"
    write(folder / "regex.jsonl",
          [TEXTS, *cases(patterns, lambda _: every), *cases(more, few)])
    write(folder / "texts.jsonl",
          ([t, t.lower(), t.upper(), t.strip(), re.escape(t)] for t in STRINGS))


if __name__ == "__main__":
    main()
