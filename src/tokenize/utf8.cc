// Decides which bytes form a character, and replaces those that do not by U+FFFD.
#include "tokenize/utf8.h"

#include <algorithm>

namespace qualm {

size_t ValidCharacterLength(std::string_view text) {
  if (text.empty()) return 0;
  auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  auto is_trail = [](unsigned char b) { return (b & 0xc0) == 0x80; };
  unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  size_t length = CharacterLength(text);
  size_t wanted = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (length < wanted) return 0;
  for (size_t i = 1; i < length; ++i) {
    if (!is_trail(byte(i))) return 0;
  }
  // The second byte decides over overlong forms, surrogates and code points beyond U+10FFFF.
  unsigned char second = byte(1);
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
      (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) {
    return 0;
  }
  return length;
}

void AppendUtf8(uint32_t code, std::string& out) {
  if (code < 0x80) {
    out.push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out.push_back(static_cast<char>(0xc0 | code >> 6));
    out.push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else if (code < 0x10000) {
    out.push_back(static_cast<char>(0xe0 | code >> 12));
    out.push_back(static_cast<char>(0x80 | (code >> 6 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else {
    out.push_back(static_cast<char>(0xf0 | code >> 18));
    out.push_back(static_cast<char>(0x80 | (code >> 12 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (code >> 6 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (code & 0x3f)));
  }
}

std::string RepairUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    size_t length = ValidCharacterLength(text);
    if (length == 0) {
      out += kReplacementCharacter;
      text.remove_prefix(1);
    } else {
      out += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return out;
}

namespace {

// Bytes at the front of malformed `text` that begin a character as far as they go; at least 1.
size_t CutOffLength(std::string_view text) {
  for (size_t length = std::min<size_t>(3, text.size()); length > 1; --length) {
    if (UnfinishedBytes(text.substr(0, length)) == length) return length;
  }
  return 1;
}

}  // namespace

std::string RepairUtf8ByParts(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    size_t length = ValidCharacterLength(text);
    if (length > 0) {
      out += text.substr(0, length);
    } else {
      out += kReplacementCharacter;
      length = CutOffLength(text);
    }
    text.remove_prefix(length);
  }
  return out;
}

size_t UnfinishedBytes(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    std::string tail(text.substr(text.size() - back));
    auto lead = static_cast<unsigned char>(tail[0]);
    if ((lead & 0xc0) == 0x80) continue;
    size_t wanted = lead < 0xc2 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 1;
    if (wanted <= back) return 0;
    // Whether some ending completes it: the second byte alone can forbid that, so try its extremes.
    for (char filler : {'\x80', '\x90', '\xa0', '\xbf'}) {
      std::string completed = tail + std::string(wanted - back, filler);
      if (ValidCharacterLength(completed) == wanted) return back;
    }
    return 0;
  }
  return 0;
}

}  // namespace qualm
