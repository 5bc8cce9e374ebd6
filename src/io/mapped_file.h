// A read-only file mapped into memory. Pages are read when they are touched.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace qualm {

class MappedFile {
 public:
  // Throws bad input if the file cannot be opened or is not a regular file. An empty file is
  // allowed.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Tells the system that the whole pages inside `range` are not needed now: they leave this
  // process's resident memory, and are read again when they are touched. `range` must lie inside
  // bytes().
  void Release(std::span<const std::byte> range) const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace qualm
