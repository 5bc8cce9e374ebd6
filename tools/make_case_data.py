#!/usr/bin/env python3
"""Writes src/metrics/case_data.cc: upper and lower case as Python's str methods have them.

Source: Python itself (its Unicode version is written into the file). Run it without arguments from
anywhere; the result is committed, so neither building nor testing needs Python.
"""
import pathlib
import unicodedata

CODES = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def rows(items, width=96):
    line = " "
    for item in items:
        if len(line) + len(item) + 2 > width:
            yield line
            line = " "
        line += f" {item},"
    yield line


def mappings(change):
    """Runs (first, last, step, delta) of characters that become one character, and the others."""
    runs, others = [], []
    for code in CODES:
        to = change(chr(code))
        if to == chr(code):
            continue
        if len(to) > 1:
            others.append((code, *[ord(c) for c in to], 0)[:4])
            continue
        delta = ord(to) - code
        run = runs[-1] if runs else None
        if run and run[3] == delta and code - run[1] in (1, 2) and run[2] in (0, code - run[1]):
            run[1], run[2] = code, code - run[1]
        else:
            runs.append([code, code, 0, delta])
    return [(first, last, step or 1, delta) for first, last, step, delta in runs], others


def ranges(holds):
    """Runs (first, last) of characters for which `holds` is true."""
    found = []
    for code in CODES:
        if not holds(chr(code)):
            continue
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def is_cased(c):
    # A capital sigma ends a word only after a cased letter, which so tells what is one.
    return (c + "\u03a3").lower().endswith("\u03c2")


def is_passed_over(c):
    # Between a cased letter and the sigma, only these keep the sigma final.
    return ("A" + c + "\u03a3").lower().endswith("\u03c2") and not is_cased(c)


def table(kind, name, comment, entries, form):
    yield f"// {comment}"
    yield f"const std::array<{kind}, {len(entries)}> {name} = {{{{"
    yield from rows(form.format(*entry) for entry in entries)
    yield "}};"
    yield ""


def main():
    lower, _ = mappings(str.lower)  # of several characters only U+0130, which the program knows
    upper, special = mappings(str.upper)
    special = [(list(entry) + [0, 0])[:4] for entry in special]
    cased, passed = ranges(is_cased), ranges(is_passed_over)
    punctuation = ranges(lambda c: unicodedata.category(c).startswith("P"))

    run, span = "{{0x{:04x}, 0x{:04x}, {}, {}}}", "{{0x{:04x}, 0x{:04x}}}"
    lines = [
        f"// Upper and lower case, and punctuation, of Unicode {unicodedata.unidata_version}.",
        "// Made by tools/make_case_data.py; not edited by hand.",
        '#include "metrics/case_data.h"',
        "",
        "namespace qualm::unicode {",
        "",
        "// clang-format off",
        *table("CaseRun", "kLower", "Characters whose lower case is one other.", lower, run),
        *table("CaseRun", "kUpper", "Characters whose upper case is one other.", upper, run),
        *table("LongUpper", "kLongUpper", "Characters whose upper case is several.", special,
               "{{0x{:04x}, {{0x{:04x}, 0x{:04x}, 0x{:04x}}}}}"),
        *table("CodeRange", "kCased", "Letters that have case.", cased, span),
        *table("CodeRange", "kCaseIgnorable", "Others that do not end a word.", passed, span),
        *table("CodeRange", "kPunctuation", "General category P.", punctuation, span),
        "// clang-format on",
        "",
        "}  // namespace qualm::unicode",
        "",
    ]
    root = pathlib.Path(__file__).resolve().parent.parent
    (root / "src/metrics/case_data.cc").write_text("\n".join(lines), encoding="ascii")
    print(len(lower), len(upper), len(special), len(cased), len(passed), len(punctuation))


if __name__ == "__main__":
    main()
