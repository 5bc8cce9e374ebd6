// The hash that goldens of other programs are given by.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <span>
#include <string>

#include "base/error.h"

namespace qualm::testing {

// As lower-case hexadecimal digits.
inline std::string Sha256(std::span<const std::byte> bytes) {
  std::array<unsigned char, 32> digest{};
  unsigned size = 0;
  QUALM_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) ==
                  1 &&
              size == digest.size());
  std::string text;
  for (const unsigned char byte : digest) {
    constexpr const char* kDigits = "0123456789abcdef";
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace qualm::testing
