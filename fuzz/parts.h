// Inputs that stand for several files: the parts between zero bytes, one per file.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace qualm::fuzz {

// The last part takes the rest, zero bytes and all; missing parts are empty.
template <size_t kCount>
std::array<std::string_view, kCount> SplitParts(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::array<std::string_view, kCount> parts;
  for (size_t i = 0; i + 1 < kCount; ++i) {
    const size_t end = std::min(rest.find('\0'), rest.size());
    parts[i] = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  parts.back() = rest;
  return parts;
}

}  // namespace qualm::fuzz
