// A head with the key, then one record for each window: the hash of its token ids, how many they
// are, their states, and a hash of all that.
#include "evaluate/reference_states.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"
#include "io/hash.h"
#include "model/decoder.h"

namespace qualm {
namespace {

constexpr size_t kNameBytes = 32;              // hex digits of the window's hash
constexpr size_t kHeadBytes = kNameBytes + 8;  // and a uint64 of tokens
constexpr size_t kHashBytes = 8;
constexpr uint64_t kMostTokens = uint64_t{1} << 24;  // of a window

std::string NameOf(std::span<const TokenId> window) {
  return HashBytes({reinterpret_cast<const char*>(window.data()), window.size() * sizeof(TokenId)});
}

// False at the end of the file and for what cannot be read.
bool ReadAt(int fd, uint64_t offset, char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t got = ::pread(fd, bytes, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes += got;
    offset += static_cast<uint64_t>(got);
    size -= static_cast<size_t>(got);
  }
  return true;
}

// The record at `offset`, whole and undamaged; else empty. It may be `most` bytes long.
std::string RecordAt(int fd, uint64_t offset, uint64_t most, size_t hidden_size) {
  std::string record(kHeadBytes, '\0');
  if (most < kHeadBytes + kHashBytes || !ReadAt(fd, offset, record.data(), kHeadBytes)) return "";
  uint64_t tokens = 0;
  std::memcpy(&tokens, record.data() + kNameBytes, sizeof(tokens));
  if (tokens == 0 || tokens > kMostTokens) return "";
  const uint64_t floats = tokens * hidden_size;
  if ((most - kHeadBytes - kHashBytes) / sizeof(float) < floats) return "";

  const size_t rest = floats * sizeof(float) + kHashBytes;
  record.resize(kHeadBytes + rest);
  if (!ReadAt(fd, offset + kHeadBytes, record.data() + kHeadBytes, rest)) return "";
  uint64_t hash = 0;
  std::memcpy(&hash, record.data() + record.size() - kHashBytes, kHashBytes);
  return hash == Hash64(record.data(), record.size() - kHashBytes) ? record : "";
}

}  // namespace

ReferenceStates::ReferenceStates(std::filesystem::path file, std::string_view key,
                                 size_t hidden_size)
    : file_(std::move(file)), hidden_size_(hidden_size) {
  fd_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) ThrowFailed(file_.string(), StrCat("cannot write: ", std::strerror(errno)));
  ReadWhatIsThere(StrCat("qualm states 1\n", key, "\n", hidden_size, "\n"));
}

ReferenceStates::~ReferenceStates() {
  if (fd_ >= 0) ::close(fd_);
}

void ReferenceStates::ReadWhatIsThere(std::string_view head) {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) {
    ThrowFailed(file_.string(), StrCat("cannot read: ", std::strerror(errno)));
  }
  const auto size = static_cast<uint64_t>(info.st_size);

  // Whole records from the start count; a file with another head counts nothing.
  std::string found(head.size(), '\0');
  if (size >= head.size() && ReadAt(fd_, 0, found.data(), found.size()) && found == head) {
    end_ = head.size();
    while (true) {
      const std::string record = RecordAt(fd_, end_, size - end_, hidden_size_);
      if (record.empty()) break;
      offsets_[record.substr(0, kNameBytes)] = end_;
      end_ += record.size();
    }
  }

  // Writing continues after the last of them.
  if (::ftruncate(fd_, static_cast<off_t>(end_)) != 0) {
    ThrowFailed(file_.string(), StrCat("cannot write: ", std::strerror(errno)));
  }
  if (end_ > 0) return;
  if (::pwrite(fd_, head.data(), head.size(), 0) != static_cast<ssize_t>(head.size())) {
    ThrowFailed(file_.string(), StrCat("cannot write: ", std::strerror(errno)));
  }
  end_ = head.size();
}

bool ReferenceStates::Has(std::span<const TokenId> window) const {
  return offsets_.contains(NameOf(window));
}

void ReferenceStates::Put(std::span<const TokenId> window, Span2D<const float> states) {
  QUALM_CHECK(states.rows() == window.size() && states.cols() == hidden_size_);
  const std::string name = NameOf(window);
  if (offsets_.contains(name)) return;

  std::string record = name;
  const uint64_t tokens = window.size();
  record.append(reinterpret_cast<const char*>(&tokens), sizeof(tokens));
  for (size_t t = 0; t < states.rows(); ++t) {
    record.append(reinterpret_cast<const char*>(states.row(t).data()),
                  hidden_size_ * sizeof(float));
  }
  const uint64_t hash = Hash64(record.data(), record.size());
  record.append(reinterpret_cast<const char*>(&hash), sizeof(hash));

  // pwrite may take less than all.
  for (size_t done = 0; done < record.size();) {
    const ssize_t written =
        ::pwrite(fd_, record.data() + done, record.size() - done, static_cast<off_t>(end_ + done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) ThrowFailed(file_.string(), StrCat("cannot write: ", std::strerror(errno)));
    done += static_cast<size_t>(written);
  }
  offsets_[name] = end_;
  end_ += record.size();
}

void ReferenceStates::Get(std::span<const TokenId> window, Span2D<float> states) const {
  const auto found = offsets_.find(NameOf(window));
  QUALM_CHECK(found != offsets_.end());
  QUALM_CHECK(states.rows() == window.size() && states.cols() == hidden_size_);
  const std::string record = RecordAt(fd_, found->second, end_ - found->second, hidden_size_);
  const size_t row_bytes = hidden_size_ * sizeof(float);
  if (record.size() != kHeadBytes + states.rows() * row_bytes + kHashBytes) {
    ThrowFailed(file_.string(),
                "the reference's states were changed or cannot be read; remove the "
                "file, and they are computed again");
  }
  for (size_t t = 0; t < states.rows(); ++t) {
    std::memcpy(states.row(t).data(), record.data() + kHeadBytes + t * row_bytes, row_bytes);
  }
}

Matrix RecordingModel::Hidden(std::span<const std::vector<TokenId>> windows,
                              const Context& context) const {
  Matrix hidden = model_.Hidden(windows, context);
  size_t first = 0;
  for (const std::vector<TokenId>& window : windows) {
    states_.Put(window, hidden.view().Rows(first, window.size()));
    first += window.size();
  }
  return hidden;
}

size_t RecordedModel::vocab_size() const { return head_.plan.vocab_size(); }

Matrix RecordedModel::Hidden(std::span<const std::vector<TokenId>> windows, const Context&) const {
  size_t tokens = 0;
  for (const std::vector<TokenId>& window : windows) tokens += window.size();
  Matrix hidden = Matrix::Uninitialized(tokens, head_.plan.hidden_size);
  size_t first = 0;
  for (const std::vector<TokenId>& window : windows) {
    states_.Get(window, hidden.view().Rows(first, window.size()));
    first += window.size();
  }
  return hidden;
}

void RecordedModel::Logits(Span2D<const float> hidden, Span2D<float> logits,
                           const Context& context) const {
  head_.Logits(hidden, logits, context);
}

}  // namespace qualm
