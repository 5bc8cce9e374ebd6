// Reads the end of a log and puts it into words for a record: the person who looks at a table of
// failures should not have to open the log to learn the reason.
#include "study/stage_death.h"

#include <csignal>
#include <cstring>
#include <fstream>

#include "base/strings.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

constexpr std::streamoff kMostBytes = 16 << 10;  // of the log's end
constexpr size_t kMostShown = 600;               // bytes of the line

bool IsError(std::string_view line) {
  return line.starts_with("qualm: [") || line.find(" error: ") != std::string_view::npos;
}

// What a terminal would show of the line, and only that: text after the last return to its
// beginning, without control characters, cut to a length that fits into a table.
std::string Shown(std::string_view line) {
  while (line.ends_with('\r')) line.remove_suffix(1);
  if (const size_t at = line.rfind('\r'); at != std::string_view::npos) line.remove_prefix(at + 1);
  std::string text;
  for (char c : RepairUtf8(line)) {
    if (static_cast<unsigned char>(c) >= ' ' && c != '\x7f') text += c;
  }

  if (text.size() <= kMostShown) return text;
  size_t end = kMostShown;
  while ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return StrCat(text.substr(0, end), "…");
}

}  // namespace

std::string LastErrorLine(const std::filesystem::path& log) {
  std::ifstream in(log, std::ios::binary | std::ios::ate);
  if (!in) return "";
  const std::streamoff size = in.tellg();
  in.seekg(std::max<std::streamoff>(0, size - kMostBytes));
  const std::string end{std::istreambuf_iterator<char>(in), {}};

  std::string last, last_error;
  for (const std::string& line : Split(end, '\n')) {
    std::string shown = Shown(line);
    if (Trim(shown).empty()) continue;
    if (IsError(shown)) last_error = shown;
    last = std::move(shown);
  }
  return last_error.empty() ? last : last_error;
}

std::string DeathMessage(int code, const std::filesystem::path& log) {
  std::string how = StrCat("ended with exit code ", code);
  if (code > 128) {
    const int signal = code - 128;
    how = StrCat("died of signal ", signal, " (", strsignal(signal), ")",
                 signal == SIGKILL ? "; out of memory?" : "");
  }
  const std::string line = LastErrorLine(log);
  return StrCat("[process] ", how, line.empty() ? "" : StrCat("; last line: ", line),
                "; its log: ", log.string());
}

}  // namespace qualm
