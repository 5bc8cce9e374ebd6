// Content hashes by xxHash: bytes, texts or whole files come in, 32 hex digits go out. The digits
// are those of the canonical form, so they are the same on every machine.
#include "io/hash.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {

// Hides the library's type from the header.
struct Hasher::State {
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> xxh{XXH3_createState()};
};

Hasher::Hasher() : state_(std::make_unique<State>()) {
  if (!state_->xxh) throw std::bad_alloc();
  XXH3_128bits_reset(state_->xxh.get());
}

Hasher::~Hasher() = default;

void Hasher::Add(const void* data, size_t size_bytes) {
  // xxHash need not accept the null pointer of an empty span.
  if (size_bytes > 0) XXH3_128bits_update(state_->xxh.get(), data, size_bytes);
}

// The length goes first, in a fixed byte order.
void Hasher::Add(std::string_view text) {
  std::array<unsigned char, 8> length;
  for (size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<unsigned char>(static_cast<uint64_t>(text.size()) >> (8 * i));
  }
  Add(length.data(), length.size());
  Add(text.data(), text.size());
}

std::string Hasher::Hex() const {
  // The canonical form has a fixed byte order.
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_->xxh.get()));
  std::string hex;
  for (unsigned char byte : canonical.digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

uint64_t Hash64(const void* data, size_t size_bytes) { return XXH3_64bits(data, size_bytes); }

std::string HashBytes(std::string_view bytes) {
  Hasher hasher;
  hasher.Add(bytes.data(), bytes.size());
  return hasher.Hex();
}

std::string HashFile(const std::filesystem::path& path) {
  // Closes the file also when reading throws. O_NONBLOCK: opening a pipe must not wait for a
  // writer.
  struct Closer {
    int fd;
    ~Closer() {
      if (fd >= 0) ::close(fd);
    }
  } file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) ThrowBadInput(path.string(), "a readable file", std::strerror(errno));

  // Devices and pipes have no content that could be named.
  struct stat info;
  if (::fstat(file.fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ThrowBadInput(path.string(), "a regular file", "something else");
  }

  // Read in pieces of 1 MiB; a signal may interrupt a read.
  Hasher hasher;
  std::vector<char> buffer(size_t{1} << 20);
  while (true) {
    ssize_t n = ::read(file.fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) ThrowFailed(path.string(), StrCat("read: ", std::strerror(errno)));
    if (n == 0) return hasher.Hex();
    hasher.Add(buffer.data(), static_cast<size_t>(n));
  }
}

}  // namespace qualm
