// Reads and writes whole files with POSIX calls. Reading is bounded in memory; writing goes to a
// temporary file that replaces the old one in a single step.
#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/opened_files.h"
#include "base/strings.h"

namespace qualm {
namespace {

// What failed, with the reason that the system gives.
std::string SystemMessage(std::string_view doing) {
  return StrCat(doing, ": ", std::strerror(errno));
}

// Makes a rename durable: the entry in the directory is data as well.
void SyncDirectory(const std::filesystem::path& directory) {
  int fd = ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

// Closes a file descriptor at the end of its scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

std::string ReadFile(const std::filesystem::path& path, uint64_t max_bytes) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) ThrowBadInput(path.string(), "a readable file", std::strerror(errno));
  NoteOpened(path);

  // A folder can be opened like a file, but not read.
  struct stat info;
  if (::fstat(file.get(), &info) != 0) ThrowFailed(path.string(), SystemMessage("stat"));
  if (S_ISDIR(info.st_mode)) ThrowBadInput(path.string(), "a file", "a directory");

  auto too_large = [&] {
    ThrowBadInput(path.string(), StrCat("at most ", HumanBytes(max_bytes)), "a larger file");
  };

  // The size is checked before memory is reserved, and again while reading, because a file may grow
  // and a pipe has no size.
  const auto size = static_cast<uint64_t>(std::max<off_t>(info.st_size, 0));
  if (size > max_bytes) too_large();
  std::string bytes;
  bytes.reserve(static_cast<size_t>(size));

  // The end of the file, not its size, ends the loop.
  char buffer[1 << 16];
  while (true) {
    ssize_t n = ::read(file.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) ThrowFailed(path.string(), SystemMessage("read"));
    if (n == 0) return bytes;
    bytes.append(buffer, static_cast<size_t>(n));
    if (bytes.size() > max_bytes) too_large();
  }
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code error;
  // A link's target is replaced, not the link. Replacing a device or a pipe would destroy it.
  if (std::filesystem::is_symlink(path_, error)) {
    const std::filesystem::path target = std::filesystem::canonical(path_, error);
    if (!error) path_ = target;
  }

  const std::filesystem::file_status status = std::filesystem::status(path_, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    ThrowBadInput(path_.string(), "a regular file or a new one",
                  std::filesystem::is_directory(status) ? "a folder" : "a device or a pipe");
  }

  // The temporary file is in the same folder, so the rename stays within one file system.
  temporary_ = path_;
  temporary_ += StrCat(".tmp.", ::getpid());
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) ThrowFailed(temporary_.string(), SystemMessage("cannot create the file"));
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::Write(std::string_view bytes) { Write(bytes.data(), bytes.size()); }

void AtomicFile::Write(const void* data, size_t size_bytes) {
  QUALM_CHECK(fd_ >= 0);
  const char* from = static_cast<const char*>(data);
  // A write may be interrupted, or take less than it was given.
  while (size_bytes > 0) {
    ssize_t n = ::write(fd_, from, std::min<size_t>(size_bytes, size_t{1} << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) ThrowFailed(path_.string(), SystemMessage("write"));
    from += n;
    size_bytes -= static_cast<size_t>(n);
    size_bytes_ += static_cast<uint64_t>(n);
  }
}

void AtomicFile::Commit() {
  QUALM_CHECK(fd_ >= 0);
  if (::fsync(fd_) != 0) ThrowFailed(path_.string(), SystemMessage("flush to disk"));

  // From here on the destructor must not touch the file.
  int fd = fd_;
  fd_ = -1;

  if (::close(fd) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    std::string message = SystemMessage("rename into place");
    ::unlink(temporary_.c_str());
    ThrowFailed(path_.string(), message);
  }
  SyncDirectory(path_.parent_path());
}

void WriteFileAtomically(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.Write(bytes);
  file.Commit();
}

}  // namespace qualm
