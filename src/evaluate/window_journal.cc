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

// A record: text, window, targets, 1 with a comparison (uint32 each), the numbers (float64: nll,
// then nll, reference_nll, kl, delta_p, same_top1 of each position), and XXH3 of all these bytes.
// Native byte order: the file never leaves the machine's folder of unfinished work.
constexpr size_t kHeadBytes = 16, kHashBytes = 8;
constexpr size_t kComparisonFields = 5;
constexpr uint32_t kMostTargets = 1 << 24;

std::string FileHead(std::string_view key) { return StrCat("qualm windows 1\n", key, "\n"); }

void AppendBytes(std::string& record, const void* data, size_t size_bytes) {
  record.append(static_cast<const char*>(data), size_bytes);
}

std::string RecordOf(size_t text, size_t window, const WindowRows& rows) {
  const uint32_t head[4] = {static_cast<uint32_t>(text), static_cast<uint32_t>(window),
                            static_cast<uint32_t>(rows.nll.size()),
                            rows.comparison.empty() ? 0U : 1U};
  std::string record;

  AppendBytes(record, head, sizeof(head));
  AppendBytes(record, rows.nll.data(), rows.nll.size() * sizeof(double));
  // The numbers in the order of the format above.
  for (const RowComparison& one : rows.comparison) {
    const double fields[kComparisonFields] = {one.nll, one.reference_nll, one.kl, one.delta_p,
                                              one.same_top1 ? 1.0 : 0.0};
    AppendBytes(record, fields, sizeof(fields));
  }

  const uint64_t hash = Hash64(record.data(), record.size());
  AppendBytes(record, &hash, sizeof(hash));
  return record;
}

// A record's contents, and how many bytes of the file it takes.
struct ParsedRecord {
  size_t text, window, size_bytes;
  WindowRows rows;
};

// Nothing if the bytes are not a whole and undamaged record.
std::optional<ParsedRecord> ParseRecord(std::string_view bytes) {
  uint32_t head[4];
  // The sizes are checked before they are used, since they may be garbage.
  if (bytes.size() < kHeadBytes + kHashBytes) return std::nullopt;
  std::memcpy(head, bytes.data(), sizeof(head));
  const size_t targets = head[2];
  if (targets == 0 || targets > kMostTargets || head[3] > 1) return std::nullopt;
  const size_t numbers = targets * (1 + (head[3] == 1 ? kComparisonFields : 0));
  const size_t body = kHeadBytes + numbers * sizeof(double);
  if (bytes.size() < body + kHashBytes) return std::nullopt;

  // The hash covers everything before it.
  uint64_t hash = 0;
  std::memcpy(&hash, bytes.data() + body, sizeof(hash));
  if (hash != Hash64(bytes.data(), body)) return std::nullopt;

  // From here on every number is as it was written.
  ParsedRecord record{head[0], head[1], body + kHashBytes, {}};
  record.rows.nll.resize(targets);
  const char* at = bytes.data() + kHeadBytes;
  std::memcpy(record.rows.nll.data(), at, targets * sizeof(double));
  at += targets * sizeof(double);
  for (size_t i = 0; head[3] == 1 && i < targets; ++i, at += kComparisonFields * sizeof(double)) {
    double fields[kComparisonFields];
    std::memcpy(fields, at, sizeof(fields));
    record.rows.comparison.push_back({.nll = fields[0],
                                      .reference_nll = fields[1],
                                      .kl = fields[2],
                                      .delta_p = fields[3],
                                      .same_top1 = fields[4] != 0});
  }
  return record;
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
