// GGUF files for tests, written by the format's description; any part may be wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/strings.h"

namespace qualm::testing {

template <class Number>
std::string Bytes(Number number) {
  return {reinterpret_cast<const char*>(&number), sizeof(number)};
}
inline std::string Text(std::string_view text) {
  return StrCat(Bytes<uint64_t>(text.size()), text);
}

// One key of the metadata with its value.
inline std::string GgufEntry(std::string_view key, uint32_t value) {
  return StrCat(Text(key), Bytes<uint32_t>(4), Bytes(value));
}
inline std::string GgufEntry(std::string_view key, uint64_t value) {
  return StrCat(Text(key), Bytes<uint32_t>(10), Bytes(value));
}
inline std::string GgufEntry(std::string_view key, float value) {
  return StrCat(Text(key), Bytes<uint32_t>(6), Bytes(value));
}
inline std::string GgufEntry(std::string_view key, std::string_view value) {
  return StrCat(Text(key), Bytes<uint32_t>(8), Text(value));
}

struct GgufBytes {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<std::string> entries;
  struct Tensor {
    std::string name;
    std::vector<uint64_t> dims;  // innermost first
    uint32_t type = 0;           // ggml's number
    uint64_t offset = 0;         // from the beginning of the data
  };
  std::vector<Tensor> tensors;
  size_t data_bytes = 0;  // each of them a 1

  std::string Write() const {
    std::string file = StrCat(magic, Bytes(version), Bytes<uint64_t>(tensors.size()),
                              Bytes<uint64_t>(entries.size()));
    for (const std::string& entry : entries) file += entry;
    for (const Tensor& tensor : tensors) {
      file += StrCat(Text(tensor.name), Bytes(static_cast<uint32_t>(tensor.dims.size())));
      for (const uint64_t dim : tensor.dims) file += Bytes(dim);
      file += StrCat(Bytes(tensor.type), Bytes(tensor.offset));
    }
    file.resize((file.size() + 31) / 32 * 32, '\0');
    return file + std::string(data_bytes, '\1');
  }
};

}  // namespace qualm::testing
