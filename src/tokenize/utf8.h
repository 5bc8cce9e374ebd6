// Characters inside byte strings: lengths, code points, repair of malformed UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace qualm {

// U+2581, the visible blank that stands for a space in SentencePiece vocabularies.
inline constexpr std::string_view kMetaSpace = "\xe2\x96\x81";
// U+FFFD, what malformed bytes are read as.
inline constexpr std::string_view kReplacementCharacter = "\xef\xbf\xbd";

// Bytes of the character at the front of `text` (Requires: not empty), judged by its first byte and
// cut at the end of the text; 1 for a byte that cannot begin a character.
inline size_t CharacterLength(std::string_view text) {
  auto lead = static_cast<unsigned char>(text[0]);
  size_t length = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  return length < text.size() ? length : text.size();
}

// Bytes of the well-formed character at the front of `text`; 0 if there is none (malformed bytes,
// overlong forms, surrogates, a character cut off).
size_t ValidCharacterLength(std::string_view text);

// The code point of a well-formed character of 1 to 4 bytes.
inline uint32_t CodePoint(std::string_view character) {
  auto lead = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return lead;
  uint32_t code = lead & (0x7fu >> character.size());
  for (size_t i = 1; i < character.size(); ++i) {
    code = code << 6 | (static_cast<unsigned char>(character[i]) & 0x3fu);
  }
  return code;
}

void AppendUtf8(uint32_t code_point, std::string& out);

// Calls visit(code point, its bytes) for every character of `text`, which is well-formed UTF-8.
template <typename Visit>
void ForEachCharacter(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const std::string_view character = text.substr(0, CharacterLength(text));
    visit(CodePoint(character), character);
    text.remove_prefix(character.size());
  }
}

// `text` with every byte that is not part of a well-formed character replaced by U+FFFD.
std::string RepairUtf8(std::string_view text);
// The same with one U+FFFD for the longest beginning of a character that was cut off, as the
// Unicode Standard recommends (section 3.9) and Rust's from_utf8_lossy does.
std::string RepairUtf8ByParts(std::string_view text);

// How many bytes at the end of `text` are the well-formed beginning of a character whose last bytes
// are still missing (0 to 3).
size_t UnfinishedBytes(std::string_view text);

}  // namespace qualm
