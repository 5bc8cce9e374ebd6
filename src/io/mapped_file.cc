// Maps a file with mmap. The file is closed at once, because a mapping does not need it any more.
#include "io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/opened_files.h"
#include "base/strings.h"

namespace qualm {

MappedFile::MappedFile(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe must not wait for a writer. For regular files it has no effect.
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) ThrowBadInput(path.string(), "a readable file", std::strerror(errno));
  NoteOpened(path);

  // Devices and pipes cannot be mapped like a file.
  struct stat info;
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    ThrowBadInput(path.string(), "a regular file", "something else");
  }

  // An empty file cannot be mapped; it is represented by no memory at all.
  size_ = static_cast<size_t>(info.st_size);
  void* data = size_ == 0 ? nullptr : ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
  int error = errno;
  ::close(fd);

  if (data == MAP_FAILED) {
    ThrowFailed(path.string(), StrCat("cannot map the file: ", std::strerror(error)));
  }
  data_ = static_cast<const std::byte*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

void MappedFile::Release(std::span<const std::byte> range) const {
  if (range.empty()) return;
  QUALM_CHECK(range.data() >= data_ && range.data() + range.size() <= data_ + size_);

  // Only whole pages can be dropped: round inwards.
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  size_t first = static_cast<size_t>(range.data() - data_);
  size_t last = first + range.size();
  first = (first + page - 1) / page * page;
  // The file's last page belongs to the range that reaches the end of the file.
  last = last == size_ ? (last + page - 1) / page * page : last / page * page;
  if (first < last) {
    ::madvise(const_cast<std::byte*>(data_ + first), last - first, MADV_DONTNEED);
  }
}

}  // namespace qualm
