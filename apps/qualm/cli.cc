// Output and flags that all subcommands share. Standard output is buffered and its first error is
// kept until FinishOutput, so that `qualm ... | head` ends quietly.
#include "cli.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "data/corpus.h"
#include "io/json_text.h"
#include "progress_display.h"
#include "tokenize/utf8.h"

namespace qualm::cli {

namespace {

int output_error = 0;  // errno of the first write that failed

// The width of a cell on the terminal, except for wide characters.
size_t CodePoints(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

}  // namespace

void WarnOfBytes(const Corpus& corpus, Progress& progress) {
  const uint64_t bytes = corpus.bytes_not_utf8();
  if (bytes == 0) return;
  progress.Warn(StrCat(corpus.name, ": ", bytes, " of ", corpus.size_bytes(),
                       " bytes are not UTF-8 and are read as U+FFFD; is this text, and in UTF-8?"));
}

void WarnOfBytes(std::string_view text, std::string_view place, Progress& progress) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t length = ValidCharacterLength(text.substr(at));
    if (length == 0) break;
    at += length;
  }
  if (at == text.size()) return;

  constexpr std::string_view kDigits = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(text[at]);
  progress.Warn(StrCat("[", place, "] expected UTF-8; got 0x", kDigits[byte >> 4],
                       kDigits[byte & 15], " at byte ", at,
                       "; bytes that are not UTF-8 are read as U+FFFD"));
}

// Several commands read data sets; the flag means the same everywhere.
void AddDataFlag(Arguments& arguments, std::string& folder) {
  arguments.Add("--data", folder,
                "Folder with the files of corpora given by name; default: QUALM_DATA, or data: in "
                "~/.config/qualm/config.yaml");
}

void AddJsonFlag(Arguments& arguments, Globals& globals) {
  arguments.Flag("--json", globals.json, "Print one JSON object on standard output");
}

std::unique_ptr<Progress> MakeProgress(const Globals& globals) {
  return MakeStderrProgress(globals.quiet);
}

void Print(std::string_view text) {
  if (output_error != 0) return;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) output_error = errno;
}

// Invalid UTF-8 (in texts of models) is replaced, so that readers of the JSON do not fail.
void PrintJson(const Json& value) {
  Print(JsonText(value));
  Print("\n");
}

// A closed pipe is how `head` ends; it needs no message.
bool FlushOutput() {
  if (std::fflush(stdout) != 0 && output_error == 0) output_error = errno;
  return output_error == 0;
}

bool FinishOutput() {
  if (FlushOutput()) return true;
  if (output_error != EPIPE) {
    std::fprintf(stderr, "qualm: [standard output] %s\n", std::strerror(output_error));
  }
  return false;
}

// Columns as wide as their widest cell, two spaces apart. `right` says which are aligned right.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows,
                        const std::vector<bool>& right) {
  // The widest cell of each column.
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    if (widths.size() < row.size()) widths.resize(row.size(), 0);
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], CodePoints(row[c]));
  }

  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      if (c > 0) line += "  ";
      const std::string padding(widths[c] - CodePoints(row[c]), ' ');
      line += c < right.size() && right[c] ? padding + row[c] : row[c] + padding;
    }

    // Trailing spaces would only disturb comparisons of outputs.
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace qualm::cli
