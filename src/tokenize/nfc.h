// Unicode Normalization Form C (Unicode Standard Annex 15): canonical decomposition, canonical
// order, canonical composition.
#pragma once

#include <string>
#include <string_view>

namespace qualm {

// True only if `text` (well-formed UTF-8) is in NFC already; false where that takes a closer look.
bool IsSurelyNfc(std::string_view text);

// `text` in NFC. Requires well-formed UTF-8.
std::string ToNfc(std::string_view text);

}  // namespace qualm
