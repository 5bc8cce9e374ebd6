// Four digits of six bits become three bytes; digits are looked up in a table. Padding only ends
// the text and is cut off first.
#include "tokenize/base64.h"

#include <array>
#include <cstdint>

namespace qualm {
namespace {

// The value of each digit, -1 for any other byte.
std::array<int8_t, 256> MakeDigits() {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::array<int8_t, 256> digits{};
  digits.fill(-1);
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    digits[static_cast<unsigned char>(kAlphabet[i])] = static_cast<int8_t>(i);
  }
  return digits;
}

}  // namespace

bool DecodeBase64(std::string_view text, std::string& out) {
  static const std::array<int8_t, 256> kDigits = MakeDigits();
  if (text.size() % 4 != 0) return false;
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);

  out.reserve(out.size() + text.size() / 4 * 3 + 2);
  uint32_t bits = 0;
  int count = 0;  // of bits that are not written yet
  for (char c : text) {
    const int digit = kDigits[static_cast<unsigned char>(c)];
    if (digit < 0) return false;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out.push_back(static_cast<char>(bits >> count & 0xff));
  }
  return true;
}

}  // namespace qualm
