// Learns which files this process opens for their content, from the functions that open them. It
// does not ask the loaders: what they report is compared with what is learned here.
#pragma once

#include <filesystem>
#include <set>
#include <string>

namespace qualm {

// Called by every function that opens a file to read its content.
void NoteOpened(const std::filesystem::path& path);

// Collects what any thread of this process opens while it lives. Several may live at once; each has
// what was opened since it was made.
class OpenedFiles {
 public:
  OpenedFiles();
  ~OpenedFiles();
  OpenedFiles(const OpenedFiles&) = delete;
  OpenedFiles& operator=(const OpenedFiles&) = delete;

  // Absolute and without "." and "..", whatever way they were named.
  std::set<std::string> paths() const;
  static std::string Spelled(const std::filesystem::path& path);

 private:
  friend void NoteOpened(const std::filesystem::path& path);
  std::set<std::string> paths_;
};

}  // namespace qualm
