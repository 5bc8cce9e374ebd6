// The tables behind NFC (unicode_data.cc is generated).
#pragma once

#include <array>
#include <cstdint>

namespace qualm::unicode {

// `code` is canonically equivalent to `first` `second`; `second` is 0 for a single character.
struct Decomposition {
  uint32_t code, first, second;
};
struct CombiningRun {
  uint32_t first, last;  // inclusive
  uint8_t combining_class;
};

// All sorted by code point; Hangul syllables follow a rule instead.
extern const std::array<Decomposition, 941> kComposing;
extern const std::array<Decomposition, 1120> kDecomposing;
extern const std::array<CombiningRun, 382> kCombining;

}  // namespace qualm::unicode
