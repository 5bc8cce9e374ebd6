// An append-only file of window results: a head with the run's key, then records with a hash each.
// Opening it reads records up to the first one that is torn or damaged, and cuts the file there.
#include "evaluate/window_journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "io/hash.h"

namespace qualm {
namespace {

// A record: text and window (uint32 each), then the window's numbers as BytesOf gives them, and
// XXH3 of all these bytes. Native byte order: the file never leaves the machine's folder of
// unfinished work.
constexpr size_t kHeadBytes = 8, kHashBytes = 8;

std::string FileHead(std::string_view key) { return StrCat("qualm windows 2\n", key, "\n"); }

std::string RecordOf(size_t text, size_t window, const WindowRows& rows) {
  const uint32_t head[2] = {static_cast<uint32_t>(text), static_cast<uint32_t>(window)};
  std::string record(reinterpret_cast<const char*>(head), sizeof(head));
  record += BytesOf(rows);
  const uint64_t hash = Hash64(record.data(), record.size());
  record.append(reinterpret_cast<const char*>(&hash), sizeof(hash));
  return record;
}

// A record's contents, and how many bytes of the file it takes.
struct ParsedRecord {
  size_t text, window, size_bytes;
  WindowRows rows;
};

// Nothing if the bytes are not a whole and undamaged record.
std::optional<ParsedRecord> ParseRecord(std::string_view bytes) {
  uint32_t head[2];
  if (bytes.size() < kHeadBytes) return std::nullopt;
  std::memcpy(head, bytes.data(), sizeof(head));
  size_t used = 0;
  std::optional<WindowRows> rows = WindowRowsOf(bytes.substr(kHeadBytes), used);
  const size_t body = kHeadBytes + used;
  if (!rows || bytes.size() < body + kHashBytes) return std::nullopt;

  // The hash covers everything before it.
  uint64_t hash = 0;
  std::memcpy(&hash, bytes.data() + body, sizeof(hash));
  if (hash != Hash64(bytes.data(), body)) return std::nullopt;
  return ParsedRecord{head[0], head[1], body + kHashBytes, std::move(*rows)};
}

}  // namespace

WindowJournal::WindowJournal(std::filesystem::path file, std::string_view key)
    : file_(std::move(file)) {
  const std::string head = FileHead(key);
  size_t valid = 0;
  std::error_code ignored;
  // Whole records from the start count; a file with another key counts nothing.
  if (std::filesystem::exists(file_, ignored)) {
    const std::string bytes = ReadFile(file_, uint64_t{1} << 36);
    if (bytes.starts_with(head)) valid = head.size();
    while (valid > 0) {
      std::optional<ParsedRecord> record = ParseRecord(std::string_view(bytes).substr(valid));
      if (!record) break;
      valid += record->size_bytes;
      rows_[{record->text, record->window}] = std::move(record->rows);
    }
  }

  // Writing continues after the last whole record.
  fd_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(valid)) != 0 ||
      ::lseek(fd_, 0, SEEK_END) < 0) {
    ThrowFailed(file_.string(), StrCat("cannot write: ", std::strerror(errno)));
  }
  if (valid == 0) Append(head);
}

WindowJournal::~WindowJournal() {
  if (fd_ >= 0) ::close(fd_);
}

std::optional<WindowRows> WindowJournal::Find(size_t text, size_t window) const {
  const auto found = rows_.find({text, window});
  return found == rows_.end() ? std::nullopt : std::optional<WindowRows>(found->second);
}

void WindowJournal::Put(size_t text, size_t window, const WindowRows& rows) {
  Append(RecordOf(text, window, rows));
}

// write may take less than all.
void WindowJournal::Append(std::string_view record) {
  while (!record.empty()) {
    const ssize_t written = ::write(fd_, record.data(), record.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) ThrowFailed(file_.string(), StrCat("cannot write: ", std::strerror(errno)));
    record.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace qualm
