// Regular expressions of tokenizer.json are written for Oniguruma. This turns them into what means
// the same to PCRE2.
#pragma once

#include <string>
#include <string_view>

namespace qualm {

// `pattern` with Oniguruma's classes (\s \w \d \h, [:name:], \p{Name}), nested and intersected
// character classes, word boundaries, the option m and intervals spelled for PCRE2. Throws bad
// input at `place`, with the pattern, for what has no counterpart (\y, (?~...)).
std::string TranslateOnigurumaPattern(std::string_view pattern, std::string_view place);

}  // namespace qualm
