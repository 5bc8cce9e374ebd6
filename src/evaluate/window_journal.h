// What perplexity runs found for each window, kept in a file as it comes: a run that is killed goes
// on behind the last whole window. Other contents than ours (another key, a damaged record) are
// dropped from there on, never used.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "evaluate/perplexity.h"

namespace qualm {

class WindowJournal {
 public:
  // `key` names the run: all that decides its numbers. Throws kFailed where the file cannot be
  // written.
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
