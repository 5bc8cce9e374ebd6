// Whole files: bounded reading, and writing that either happens completely or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace qualm {

// The file's bytes. Throws bad input if it cannot be read or is larger than `max_bytes`.
std::string ReadFile(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 32);

// Writes to a temporary name in the folder of `path`. Commit() flushes to disk and renames it into
// place. Without Commit() (because of an exception) the destructor removes the temporary file, and
// the file at `path` stays as it was. All failures, also a full disk, throw kFailed.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void Write(std::string_view bytes);
  void Write(const void* data, size_t size_bytes);
  uint64_t size_bytes() const { return size_bytes_; }
  void Commit();

 private:
  std::filesystem::path path_, temporary_;
  int fd_ = -1;
  uint64_t size_bytes_ = 0;
};

// The same for bytes that are all in memory.
void WriteFileAtomically(const std::filesystem::path& path, std::string_view bytes);

}  // namespace qualm
