// Content hashes (XXH3, 128 bits): what makes a result traceable and a finished stage reusable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace qualm {

class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void Add(const void* data, size_t size_bytes);
  // The text preceded by its length, so that ("ab","c") and ("a","bc") differ.
  void Add(std::string_view text);
  std::string Hex() const;  // 32 lower-case hex digits

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// XXH3, 64 bits, of bytes in memory: a key in a table, not a name of content.
uint64_t Hash64(const void* data, size_t size_bytes);

std::string HashBytes(std::string_view bytes);
std::string HashFile(const std::filesystem::path& path);  // streamed; pages are not kept

}  // namespace qualm
