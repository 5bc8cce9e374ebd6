// A large matrix of floats, in memory or in a mapped file. The file has no name any more once it is
// open, so it cannot outlive the process.
#include "calibrate/state_buffer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {

StateBuffer::StateBuffer(size_t rows, size_t cols,
                         const std::optional<std::filesystem::path>& spill_file) {
  if (!spill_file || rows == 0) {
    memory_ = Matrix(rows, cols);
    values_ = memory_;
    return;
  }

  size_t bytes = rows * cols * sizeof(float);
  int file = ::open(spill_file->c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file >= 0) ::unlink(spill_file->c_str());  // at once: a killed process leaves no file
  // posix_fallocate makes a full disk an error here instead of a fault at the first write.
  int status = file < 0 ? errno : ::posix_fallocate(file, 0, static_cast<off_t>(bytes));
  void* mapped = MAP_FAILED;
  if (status == 0) {
    mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) status = errno;
  }

  if (file >= 0) ::close(file);
  if (status != 0) {
    ThrowFailed(spill_file->string(), StrCat("cannot make a file of ", HumanBytes(bytes),
                                             " for hidden states: ", std::strerror(status)));
  }
  mapped_bytes_ = bytes;
  values_ = {static_cast<float*>(mapped), rows, cols};
}

StateBuffer::~StateBuffer() {
  if (mapped_bytes_ > 0) ::munmap(values_.data(), mapped_bytes_);
}

StateBuffer::StateBuffer(StateBuffer&& other) noexcept { *this = std::move(other); }

StateBuffer& StateBuffer::operator=(StateBuffer&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(mapped_bytes_, other.mapped_bytes_);
  std::swap(values_, other.values_);
  return *this;
}

}  // namespace qualm
