// Base64 (RFC 4648, section 4), as tokenizer files hold bytes.
#pragma once

#include <string>
#include <string_view>

namespace qualm {

// Appends the bytes that `text` stands for to `out`. False for characters outside the alphabet, for
// padding that is not at the end and for a length that is not a multiple of four.
[[nodiscard]] bool DecodeBase64(std::string_view text, std::string& out);

}  // namespace qualm
