// The results of perplexity runs by window, written to a file as they come: a run that was killed
// continues after the last whole window. A file with another key is emptied; a damaged record and
// everything after it are dropped, never used.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "evaluate/perplexity.h"

namespace qualm {

// Used by one process: construct (reads what is there), Find before scoring a window, Put after it.
class WindowJournal {
 public:
  // `key` identifies everything that decides the run's numbers. Throws kFailed if the file cannot
  // be written.
  WindowJournal(std::filesystem::path file, std::string_view key);
  ~WindowJournal();
  WindowJournal(const WindowJournal&) = delete;
  WindowJournal& operator=(const WindowJournal&) = delete;

  size_t size() const { return rows_.size(); }
  std::optional<WindowRows> Find(size_t text, size_t window) const;
  void Put(size_t text, size_t window, const WindowRows& rows);

 private:
  void Append(std::string_view record);

  std::filesystem::path file_;
  int fd_ = -1;
  std::map<std::pair<size_t, size_t>, WindowRows> rows_;
};

}  // namespace qualm
