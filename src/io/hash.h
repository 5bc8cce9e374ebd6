// Content hashes (XXH3, 128 bits). They make a result traceable and a finished stage reusable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace qualm {

// A hash that grows piece by piece: Add as often as needed, then Hex.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void Add(const void* data, size_t size_bytes);
  // Adds the text's length and then the text, so that ("ab","c") and ("a","bc") differ.
  void Add(std::string_view text);
  std::string Hex() const;  // 32 lower-case hex digits

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// XXH3, 64 bits, of bytes in memory: good as a key of a table, too short to name content.
uint64_t Hash64(const void* data, size_t size_bytes);

std::string HashBytes(std::string_view bytes);
std::string HashFile(const std::filesystem::path& path);  // read in pieces

}  // namespace qualm
