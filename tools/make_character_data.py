#!/usr/bin/env python3
"""Writes src/chat/jinja/character_data.cc: what Python's str methods know about characters.

Usage: tools/make_character_data.py > src/chat/jinja/character_data.cc (Python 3.11, Unicode 14).
"""
import unicodedata

LAST = 0x110000
# The order of the bits of CharacterFlag in characters.h.
FLAGS = [
    str.isalpha, str.isdecimal, str.isdigit, str.isnumeric, str.islower, str.isupper,
    lambda c: unicodedata.category(c) == "Lt", str.isspace, str.isprintable, str.isidentifier,
    lambda c: ("a" + c).isidentifier(),
    # Case-ignorable characters are found by what the final sigma does next to them.
    lambda c: not (c + "Σ").lower().endswith("ς") and ("A" + c + "Σ").lower().endswith("ς"),
]


def flags_of(code):
    if 0xD800 <= code < 0xE000:
        return 0
    return sum(1 << bit for bit, flag in enumerate(FLAGS) if flag(chr(code)))


def print_flags():
    runs, before = [], None
    for code in range(LAST):
        flags = flags_of(code)
        if flags != before:
            runs.append((code, flags))
        before = flags
    print("// A run reaches to the beginning of the next one.")
    print("const std::span<const FlagRun> kFlagRuns = [] {")
    print("  static constexpr FlagRun kRuns[] = {")
    for i in range(0, len(runs), 6):
        print("      " + " ".join("{%#x, %#x}," % run for run in runs[i:i + 6]))
    print("  };\n  return std::span<const FlagRun>(kRuns);\n}();\n")


def print_map(name, function):
    runs, special = [], []
    for code in range(LAST):
        if 0xD800 <= code < 0xE000:
            continue
        mapped = function(chr(code))
        if mapped == chr(code):
            continue
        if len(mapped) > 1:
            special.append((code, [ord(c) for c in mapped]))
            continue
        delta = ord(mapped) - code
        last = runs[-1] if runs else None
        if last and last[3] == delta and (
                code - last[1] == last[2] or (last[0] == last[1] and code - last[1] <= 2)):
            last[2] = code - last[1]
            last[1] = code
        else:
            runs.append([code, code, 1, delta])
    print("const std::span<const CaseRun> k%sRuns = [] {" % name)
    print("  static constexpr CaseRun kRuns[] = {")
    for i in range(0, len(runs), 4):
        print("      " + " ".join("{%#x, %#x, %d, %d}," % tuple(run) for run in runs[i:i + 4]))
    print("  };\n  return std::span<const CaseRun>(kRuns);\n}();\n")
    print("const std::span<const CaseExpansion> k%sExpansions = [] {" % name)
    print("  static constexpr CaseExpansion kAll[] = {")
    for code, to in special:
        to = to + [0] * (3 - len(to))
        print("      {%#x, {%#x, %#x, %#x}}," % (code, *to))
    print("  };\n  return std::span<const CaseExpansion>(kAll);\n}();\n")


print("// What Python's str methods know about characters, of Unicode %s." % unicodedata.unidata_version)
print("// Made by tools/make_character_data.py; not edited by hand.")
print('#include "chat/jinja/character_data.h"\n\nnamespace qualm::jinja {\n\n// clang-format off')
print_flags()
print_map("Upper", str.upper)
# Lower case of one character never depends on its neighbours but for the final sigma.
print_map("Lower", str.lower)
print_map("Title", str.title)
print_map("Fold", str.casefold)
print("// clang-format on\n\n}  // namespace qualm::jinja")
