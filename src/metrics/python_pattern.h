// Patterns of Python's `re` as patterns of PCRE2 that match the same texts.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace qualm {

// A pattern for PCRE2 with the options UTF, UCP and DOTALL. Every item is spelled out: classes as
// properties and ranges, anchors and word boundaries as assertions, flags at each item. So the
// result depends neither on other options nor on how a version of PCRE2 reads \w or \b.
struct TranslatedPattern {
  std::string text;
  size_t groups = 0;  // that capture; their numbers are Python's
};

// Throws bad input at `place`, with the position in the pattern, for what Python 3.11 refuses, and
// by name for what cannot mean the same here: \N{NAME}, surrogates, a back reference that ignores
// case, more than 65535 repetitions, groups nested more than 100 deep.
TranslatedPattern TranslatePythonPattern(std::string_view pattern, std::string_view place);

}  // namespace qualm
