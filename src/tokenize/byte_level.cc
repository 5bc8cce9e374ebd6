// The alphabet is built once, as a table for each direction.
#include "tokenize/byte_level.h"

#include <array>

#include "tokenize/utf8.h"

namespace qualm {
namespace {

constexpr uint32_t kFirstMade = 0x100;  // code point of the first byte that has no printable form

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<int16_t, 512> bytes;  // by code point; -1 outside the alphabet

  Alphabet() {
    bytes.fill(-1);
    uint32_t made = kFirstMade;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      bool is_printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
      uint32_t code = is_printable ? byte : made++;
      AppendUtf8(code, characters[byte]);
      bytes[code] = static_cast<int16_t>(byte);
    }
  }
};

const Alphabet& TheAlphabet() {
  static const Alphabet alphabet;
  return alphabet;
}

}  // namespace

std::string_view ByteLevelCharacter(unsigned char byte) { return TheAlphabet().characters[byte]; }

std::string ByteLevelPieceOf(std::string_view text) {
  std::string out;
  for (char byte : text) out += ByteLevelCharacter(static_cast<unsigned char>(byte));
  return out;
}

std::optional<std::string> BytesOfByteLevelPiece(std::string_view piece) {
  const Alphabet& alphabet = TheAlphabet();
  std::string out;
  while (!piece.empty()) {
    size_t length = CharacterLength(piece);
    uint32_t code = CodePoint(piece.substr(0, length));
    if (code >= alphabet.bytes.size() || alphabet.bytes[code] < 0) return std::nullopt;
    out.push_back(static_cast<char>(alphabet.bytes[code]));
    piece.remove_prefix(length);
  }
  return out;
}

}  // namespace qualm
