// What the Unicode Standard says of characters and texts: classes, scripts, lower case, normal
// forms. The tables are ICU's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace qualm {

// White_Space: spaces, tabs, line ends, U+0085, U+00A0 and the like.
bool IsWhiteSpace(uint32_t code);
// The Hugging Face library takes the following from tables that are older than the others; what is
// newer is not assigned there.
// Of Unicode 8: general category Mn (a mark that takes no space), and Cc, Cf and Co (controls,
// format characters, private use).
bool IsNonspacingMark(uint32_t code);
bool IsControlOrFormat(uint32_t code);
// Of Unicode 9: general category M (any mark).
bool IsMark(uint32_t code);
// Of Unicode 9: a number for the character's script, the same for Han, Hiragana, Katakana and
// U+30FC; -1 for a space and for what is not assigned.
int ScriptOf(uint32_t code);

// Whether `name` is that of a script ("Han", "Latin"), spelled in any case.
bool IsScriptName(std::string_view name);

// Appends the full lower case of one character, whatever is around it.
void AppendLowerCase(uint32_t code, std::string& out);

// The four normal forms of Unicode Standard Annex 15.
enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// `text` in the normal form. Requires well-formed UTF-8.
std::string ToNormalForm(std::string_view text, NormalForm form);
// Whether `text` is in the normal form already.
bool IsInNormalForm(std::string_view text, NormalForm form);

}  // namespace qualm
