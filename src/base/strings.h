// Small string helpers: concatenation, joining, numbers as text, and "did you mean".
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace qualm {

namespace internal {
void AppendPiece(std::string& out, std::string_view piece);
void AppendInteger(std::string& out, int64_t value);
void AppendUnsigned(std::string& out, uint64_t value);
void AppendReal(std::string& out, double value);  // shortest text that reads back as the same value

template <typename T>
void Append(std::string& out, const T& value) {
  // char and bool are integers in C++, so they come first.
  if constexpr (std::is_same_v<T, char>) {
    out.push_back(value);
  } else if constexpr (std::is_same_v<T, bool>) {
    AppendPiece(out, value ? "true" : "false");
  } else if constexpr (std::is_floating_point_v<T>) {
    AppendReal(out, static_cast<double>(value));
  } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
    AppendInteger(out, static_cast<int64_t>(value));
  } else if constexpr (std::is_integral_v<T>) {
    AppendUnsigned(out, static_cast<uint64_t>(value));
  } else {
    AppendPiece(out, std::string_view(value));
  }
}
}  // namespace internal

// Strings, characters, booleans and numbers, concatenated.
template <typename... Args>
std::string StrCat(const Args&... args) {
  std::string out;
  (internal::Append(out, args), ...);
  return out;
}

std::string Join(std::span<const std::string> parts, std::string_view separator);
std::vector<std::string> Split(std::string_view text, char separator);
std::string_view Trim(std::string_view text);  // without spaces, tabs and line ends at both sides
std::string ToLower(std::string_view text);    // ASCII only

// `value` with `digits` places after the point ("3.142").
std::string Fixed(double value, int digits);

// With that many digits that count ("0.00123", "1.2e-07").
std::string Significant(double value, int digits);
// With `digits` places after the point of the mantissa ("1.23e-04").
std::string Scientific(double value, int digits);

// 1536 -> "1.50 KiB"; used for people only.
std::string HumanBytes(uint64_t bytes);
// 95.2 -> "1m35s"; used for people only.
std::string HumanSeconds(double seconds);

// The element of `known` with the smallest edit distance to `name`; empty if nothing is near
// (distance more than a third of the name's length, at least 2).
std::string NearestName(std::string_view name, std::span<const std::string> known);

// Throws bad input such as "unknown recipe 'gtpq'; did you mean 'gptq'? available: awq, gptq, rtn".
[[noreturn]] void ThrowUnknownName(std::string_view place, std::string_view kind,
                                   std::string_view name, std::span<const std::string> known);

// '*' matches any run of characters (also an empty one), '?' matches one character.
bool MatchesGlob(std::string_view text, std::string_view pattern);

// True if `bytes` is well-formed UTF-8 (no overlong forms, no surrogates).
bool IsValidUtf8(std::string_view bytes);

}  // namespace qualm
