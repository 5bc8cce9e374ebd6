// The alphabet in which byte-level vocabularies spell bytes: printable Latin-1 characters stand for
// themselves, the other bytes for U+0100, U+0101, ... in order (Radford et al. 2019, GPT-2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace qualm {

// The character that spells `byte`, as UTF-8.
std::string_view ByteLevelCharacter(unsigned char byte);
// The characters that spell the bytes of `text`.
std::string ByteLevelPieceOf(std::string_view text);
// The bytes that `piece` spells, or nothing if it holds a character outside the alphabet.
std::optional<std::string> BytesOfByteLevelPiece(std::string_view piece);

}  // namespace qualm
