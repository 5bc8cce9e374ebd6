// The files that loading something opened: what decides, apart from options, what came of it. A
// loader reports them, so that nobody else keeps a list of what a model or a task consists of.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace qualm {

struct InputFile {
  std::string role;  // what the file is to its loader: "config.json", "glue-sst2/dev.tsv"
  std::string path;  // where it lies; of a text that is compiled in, empty
  std::string hash;  // of the content; empty: not asked for yet

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("role", self.role);
    visit("path", self.path);
    visit("hash", self.hash);
  }
};

class InputSet {
 public:
  // In the order in which they are added; a file that is there already is not added again.
  void Add(std::string role, const std::filesystem::path& path);
  // A text that is compiled in.
  void AddText(std::string role, std::string_view text);
  void Add(const InputSet& others);

  const std::vector<InputFile>& files() const { return files_; }
  const InputFile* Find(std::string_view role) const;  // null: none

  // Reads the files that have no hash yet. Throws kFailed for a file that cannot be read.
  void HashFiles();
  // Over the roles and contents of all files; not over the places where they lie.
  std::string Hash();
  // The first file of `others` that is not here under its role with the same content; null: all
  // are.
  const InputFile* FirstOther(InputSet& others);

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("files", self.files_);
  }

 private:
  std::vector<InputFile> files_;
};

}  // namespace qualm
