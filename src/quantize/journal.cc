// Reads, repairs and extends the journal of a run (journal.h). At the start it is read up to the
// first entry that cannot be trusted and written anew; afterwards each finished block appends one
// line, which is on disk before the run continues.
#include "quantize/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "base/error_place.h"
#include "base/file.h"
#include "base/strings.h"
#include "io/hash.h"
#include "io/json_fields.h"

namespace qualm {
namespace {

// Nothing if the line is damaged, as a crash may leave it: the blocks from there on are made again.
std::optional<JournalEntry> EntryFromLine(std::string_view line) {
  try {
    auto entry = FieldsFrom<JournalEntry>(ParseJson(line, kNoPlace), kNoPlace);
    (void)ParseJson(entry.times, kNoPlace);
    return entry;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string FirstLine(const std::string& run_key) {
  return Json{{"format", "qualm-journal"}, {"version", 1}, {"run", run_key}}.dump() + "\n";
}

// Whether the block's file is still there with the bytes that the entry recorded.
bool HoldsItsFile(const std::filesystem::path& folder, const FileRecord& file) {
  std::error_code ignored;
  std::filesystem::path path = folder / file.name;
  if (file.name.find('/') != std::string::npos) return false;
  if (std::filesystem::file_size(path, ignored) != file.bytes || ignored) return false;
  return HashFile(path) == file.hash;
}

}  // namespace

Journal::Journal(const std::filesystem::path& folder, const std::string& run_key)
    : folder_(folder), path_(folder / kJournalName) {
  if (std::filesystem::exists(path_)) Read(run_key);
  // It is always written anew: a torn line, or a block whose file is gone, must not stay before the
  // lines that will be appended.
  Rewrite(run_key);
}

// Reads whole lines; a last line without its end is what a killed run left.
void Journal::Read(const std::string& run_key) {
  std::string text = ReadFile(path_);
  size_t start = 0, line_number = 0;
  for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', start)) {
    ++line_number;
    std::string_view line = std::string_view(text).substr(start, end - start);
    start = end + 1;

    // The first line says which run the journal belongs to.
    if (line_number == 1) {
      const std::string place = StrCat(path_.string(), ":", line_number);
      std::string found = GetString(ParseJson(line, place), "run", place);
      if (found == run_key) continue;
      ThrowBadInput(folder_.string(),
                    "an unfinished run of the same model, recipe, calibration, seed and "
                    "instruction set",
                    "one with other inputs",
                    "choose another output folder, or start over with --overwrite");
    }

    // The first entry that is not the next block, or that has lost its file, ends the list.
    std::optional<JournalEntry> entry = EntryFromLine(line);
    if (!entry || entry->block != entries_.size() || !HoldsItsFile(folder_, entry->file)) return;
    entries_.push_back(*std::move(entry));
  }
}

void Journal::Rewrite(const std::string& run_key) const {
  std::string text = FirstLine(run_key);
  for (const JournalEntry& entry : entries_) text += FieldsJson(entry).dump() + "\n";
  WriteFileAtomically(path_, text);
}

// The line is written in one call and flushed, so a crash leaves either all of it or a torn end.
void Journal::Append(JournalEntry entry) {
  std::string line = FieldsJson(entry).dump() + "\n";
  int fd = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  bool written = fd >= 0 &&
                 ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()) &&
                 ::fsync(fd) == 0;
  int error = errno;
  if (fd >= 0) ::close(fd);
  if (!written) ThrowFailed(path_.string(), StrCat("cannot append: ", std::strerror(error)));
  entries_.push_back(std::move(entry));
}

void Journal::Finish() { std::filesystem::remove(path_); }

}  // namespace qualm
