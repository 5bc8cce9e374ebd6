// SHA-256, the hash by which other programs name files and texts. Our own names are shorter and
// faster to compute (io/hash.h).
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace qualm {

// A hash that grows piece by piece: Add as often as needed, then Hex once.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void Add(std::string_view bytes);
  std::string Hex();  // 64 lower-case hex digits

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string Sha256OfText(std::string_view text);
// Of a file's bytes.
std::string Sha256OfFile(const std::filesystem::path& file);

}  // namespace qualm
