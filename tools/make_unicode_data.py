#!/usr/bin/env python3
"""Writes src/tokenize/unicode_data.cc: canonical decompositions and combining classes.

Source: Python's unicodedata (its Unicode version is written into the file). Run it without
arguments from anywhere; the result is committed, so neither building nor testing needs Python.
"""
import pathlib
import unicodedata

HANGUL = range(0xAC00, 0xD7A4)  # composed by rule, not by table


def rows(items, width=96):
    line = " "
    for item in items:
        if len(line) + len(item) + 2 > width:
            yield line
            line = " "
        line += f" {item},"
    yield line


def main():
    pairs, others, classes = [], [], []
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000 or code in HANGUL:
            continue
        combining = unicodedata.combining(chr(code))
        if combining:
            if classes and classes[-1][1] == code - 1 and classes[-1][2] == combining:
                classes[-1][1] = code
            else:
                classes.append([code, code, combining])
        mapping = unicodedata.decomposition(chr(code))
        if not mapping or mapping.startswith("<"):
            continue
        parts = [int(part, 16) for part in mapping.split()]
        assert len(parts) in (1, 2), hex(code)
        composes = len(parts) == 2 and unicodedata.normalize("NFC", chr(code)) == chr(code)
        entry = (code, parts[0], parts[1] if len(parts) == 2 else 0)
        (pairs if composes else others).append(entry)

    def decompositions(name, comment, entries):
        yield f"// {comment}"
        yield f"const std::array<Decomposition, {len(entries)}> {name} = {{{{"
        yield from rows("{0x%04x, 0x%04x, 0x%04x}" % entry for entry in entries)
        yield "}};"
        yield ""

    lines = [
        f"// Canonical decompositions and combining classes of Unicode {unicodedata.unidata_version}.",
        "// Made by tools/make_unicode_data.py; not edited by hand.",
        '#include "tokenize/unicode_data.h"',
        "",
        "namespace qualm::unicode {",
        "",
        "// clang-format off",
        *decompositions("kComposing", "Characters that NFC composes again.", pairs),
        *decompositions("kDecomposing", "Characters that NFC only takes apart.", others),
        "// Runs of characters with one combining class other than 0.",
        f"const std::array<CombiningRun, {len(classes)}> kCombining = {{{{",
        *rows("{0x%04x, 0x%04x, %d}" % tuple(run) for run in classes),
        "}};",
        "// clang-format on",
        "",
        "}  // namespace qualm::unicode",
        "",
    ]
    root = pathlib.Path(__file__).resolve().parent.parent
    (root / "src/tokenize/unicode_data.cc").write_text("\n".join(lines), encoding="ascii")
    print(len(pairs), len(others), len(classes))


if __name__ == "__main__":
    main()
