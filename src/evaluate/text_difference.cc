// Finds the common ends of two texts character by character, and quotes what is between them.
#include "evaluate/text_difference.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

constexpr size_t kContextCharacters = 20;  // shown before and after what differs
constexpr size_t kMostCharacters = 80;     // of what differs

struct Range {
  uint32_t first, last;
};

// Blanks and characters that a reader cannot see: of width zero, of direction, tags, and those for
// private use, which terminals draw as they like.
constexpr Range kHidden[] = {
    {0x00, 0x1f},       {0x7f, 0xa0},       {0xad, 0xad},        {0x034f, 0x034f}, {0x061c, 0x061c},
    {0x115f, 0x1160},   {0x1680, 0x1680},   {0x17b4, 0x17b5},    {0x180b, 0x180f}, {0x2000, 0x200f},
    {0x2028, 0x202f},   {0x205f, 0x206f},   {0x2800, 0x2800},    {0x3000, 0x3000}, {0x3164, 0x3164},
    {0xe000, 0xf8ff},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},    {0xffa0, 0xffa0}, {0xfff0, 0xfffb},
    {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}, {0xf0000, 0x10ffff},
};

bool IsHidden(uint32_t code) {
  return std::ranges::any_of(
      kHidden, [&](const Range& range) { return range.first <= code && code <= range.last; });
}

void AppendQuoted(uint32_t code, std::string_view character, std::string& out) {
  if (code == '"' || code == '\\') {
    out += '\\';
    out += character;
  } else if (code == '\n') {
    out += "\\n";
  } else if (code == '\t') {
    out += "\\t";
  } else if (code == '\r') {
    out += "\\r";
  } else if (IsHidden(code)) {
    char escaped[16];
    std::snprintf(escaped, sizeof(escaped), "\\u{%04X}", code);
    out += escaped;
  } else {
    out += character;
  }
}

// The size of the character at the front; of malformed bytes 1.
size_t SizeAt(std::string_view text) { return std::max<size_t>(ValidCharacterLength(text), 1); }

// Bytes of the common beginning, ending between two characters of both texts.
size_t CommonBeginning(std::string_view a, std::string_view b) {
  size_t common = 0;
  while (common < a.size() && common < b.size()) {
    const size_t size = SizeAt(a.substr(common));
    if (SizeAt(b.substr(common)) != size || a.substr(common, size) != b.substr(common, size)) break;
    common += size;
  }
  return common;
}

bool ContinuesCharacter(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

// Bytes of the common end of what follows the common beginning.
size_t CommonEnd(std::string_view a, std::string_view b) {
  size_t common = 0;
  const size_t most = std::min(a.size(), b.size());
  while (common < most && a[a.size() - 1 - common] == b[b.size() - 1 - common]) ++common;
  // Not inside a character.
  while (common > 0 && ContinuesCharacter(a[a.size() - common])) --common;
  return common;
}

// The byte at which the last `count` characters of `text` begin.
size_t LastCharacters(std::string_view text, size_t count) {
  size_t at = text.size();
  for (; count > 0 && at > 0; --count) {
    --at;
    while (at > 0 && ContinuesCharacter(text[at])) --at;
  }
  return at;
}

// The byte after the first `count` characters of `text`.
size_t FirstCharacters(std::string_view text, size_t count) {
  size_t at = 0;
  for (; count > 0 && at < text.size(); --count) at += SizeAt(text.substr(at));
  return at;
}

// text[begin, end) differs; a few characters around it show where it is.
std::string Excerpt(std::string_view text, size_t begin, size_t end) {
  const size_t from = LastCharacters(text.substr(0, begin), kContextCharacters);
  const size_t shown = begin + FirstCharacters(text.substr(begin, end - begin), kMostCharacters);
  const size_t to =
      shown < end ? shown : end + FirstCharacters(text.substr(end), kContextCharacters);
  return StrCat(from > 0 ? "..." : "", QuotedForTerminal(text.substr(from, to - from)),
                to < text.size() ? "..." : "");
}

}  // namespace

std::string QuotedForTerminal(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const size_t size = ValidCharacterLength(text);
    if (size == 0) {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\x%02X", static_cast<unsigned char>(text[0]));
      out += escaped;
      text.remove_prefix(1);
      continue;
    }
    AppendQuoted(CodePoint(text.substr(0, size)), text.substr(0, size), out);
    text.remove_prefix(size);
  }
  return out + "\"";
}

TextDifference DifferenceOf(std::string_view first, std::string_view second) {
  QUALM_CHECK(first != second);
  const size_t begin = CommonBeginning(first, second);
  const size_t end = CommonEnd(first.substr(begin), second.substr(begin));

  TextDifference difference;
  const std::string_view common = first.substr(0, begin);
  for (size_t at = 0; at < common.size(); at += SizeAt(common.substr(at))) ++difference.character;
  ++difference.character;
  difference.line = 1 + static_cast<size_t>(std::ranges::count(common, '\n'));
  difference.first = Excerpt(first, begin, first.size() - end);
  difference.second = Excerpt(second, begin, second.size() - end);
  return difference;
}

}  // namespace qualm
