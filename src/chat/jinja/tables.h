// The tables of filters, tests and methods, one for each file.
#pragma once

#include <span>

#include "chat/jinja/runtime.h"

namespace qualm::jinja {

// The function of that name; null if there is none.
inline const NativeFunction* FindIn(std::span<const NativeFunction> table, std::string_view name) {
  for (const NativeFunction& one : table) {
    if (one.name == name) return &one;
  }
  return nullptr;
}

std::span<const NativeFunction> TextFilters();
std::span<const NativeFunction> HtmlFilters();
std::span<const NativeFunction> ListFilters();
std::span<const NativeFunction> SelectionFilters();
std::span<const NativeFunction> NumberFilters();
std::span<const NativeFunction> TextMethods();
std::span<const NativeFunction> TextTestMethods();  // isalpha, isdigit, ...

// The filter wordwrap.
Value WordWrap(Runtime& runtime, const Value& self, std::vector<Value>& bound, Arguments& all);

// For filters that take `attribute`: "a.b.0", 0 or none, applied to an item.
Value AttributePath(Runtime& runtime, const Value& item, const Value& attribute,
                    const Value& otherwise);
// A text in lower case unless letters of both cases are told apart; other values as they are.
Value CaseKey(Runtime& runtime, const Value& value, bool is_case_sensitive);

// What dict(...) makes of its arguments: a dict or pairs, and names.
void FillDict(Runtime& runtime, DictObject& dict, const Arguments& all);

// What Python's int(text, base) and float(text) read; false if they read nothing. Throws bad input
// for integers of more than 64 bits.
bool ReadInt(Runtime& runtime, std::string_view text, int64_t base, int64_t* value);
bool ReadFloat(std::string_view text, double* value);

// As str.split, rsplit and splitlines. Without a separator, runs of white space separate.
std::vector<std::string> SplitText(std::string_view text, const std::string* separator,
                                   int64_t most, bool from_right);
std::vector<std::string> SplitLines(std::string_view text, bool keeps_ends);
std::string ReplaceText(Runtime& runtime, std::string_view text, std::string_view old,
                        std::string_view replacement, int64_t most);
// With `fill` on both sides to a width in characters; the left gets more where CPython gives it.
std::string CenterText(Runtime& runtime, std::string_view text, int64_t width,
                       std::string_view fill);

}  // namespace qualm::jinja
