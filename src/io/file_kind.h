// Kinds of files that are found under the name of another one, told by their first bytes.
#pragma once

#include <string_view>

namespace qualm {

// What a clone without git-lfs has in place of a large file.
inline bool IsGitLfsPointer(std::string_view bytes) {
  return bytes.starts_with("version https://git-lfs");
}

inline bool IsGguf(std::string_view bytes) { return bytes.starts_with("GGUF"); }

// As torch.save writes it: a zip archive, or a bare pickle of older versions.
inline bool IsPickle(std::string_view bytes) {
  return bytes.starts_with("PK\x03\x04") || bytes.starts_with("\x80\x02");
}

}  // namespace qualm
