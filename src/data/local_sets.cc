// Makes data sets out of files and folders of the user's: readers by the files' endings, splits and
// subsets by their names.
#include "data/local_sets.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "data/row_sets.h"
#include "data/saved_sets.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;

struct Ending {
  const char* ending;
  const char* reader;
};
constexpr Ending kEndings[] = {
    {".csv", "csv"},         {".tsv", "quoted-tsv"}, {".json", "json"},
    {".jsonl", "jsonl"},     {".ndjson", "jsonl"},   {".txt", "lines"},
    {".parquet", "parquet"}, {".arrow", "arrow"},    {".feather", "arrow"}};
constexpr std::array<std::string_view, 6> kSplitWords = {"train", "validation", "valid",
                                                         "val",   "dev",        "test"};

// Without .gz or .zst.
std::string_view WithoutPacking(std::string_view name) {
  for (std::string_view ending : {".gz", ".zst"}) {
    if (name.ends_with(ending)) return name.substr(0, name.size() - ending.size());
  }
  return name;
}

bool IsDefinition(std::string_view name) {
  return name.ends_with(".yaml") || name.ends_with(".yml");
}

// In capital letters, too.
const Ending* EndingOf(std::string_view name) {
  const std::string lower = ToLower(WithoutPacking(name));
  const auto* found = std::ranges::find_if(
      kEndings, [&](const Ending& one) { return lower.ends_with(one.ending); });
  return found == std::end(kEndings) ? nullptr : found;
}

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The split's word in a file's name, between signs that are no letters; empty: none.
std::string SplitOf(std::string_view name) {
  for (std::string_view word : kSplitWords) {
    for (size_t at = name.find(word); at != std::string_view::npos; at = name.find(word, at + 1)) {
      const size_t end = at + word.size();
      const bool begins = at == 0 || !IsLetter(name[at - 1]);
      if (begins && (end == name.size() || !IsLetter(name[end]))) return std::string(word);
    }
  }
  return "";
}

RowSet NewSet(const std::string& path) {
  RowSet set;
  set.name = path;
  set.title = StrCat("a data set at ", path);
  set.citation = set.licence = "the user's own";
  set.source = path;
  return set;
}

RowFormat FormatOf(const Ending& ending) {
  RowFormat format;
  format.reader = ending.reader;
  return format;
}

class FolderReader {
 public:
  explicit FolderReader(const std::string& path) : set_(NewSet(path)), root_(fs::absolute(path)) {}

  RowSet Run() {
    for (const auto& entry : fs::recursive_directory_iterator(root_)) {
      if (entry.is_regular_file()) Take(fs::relative(entry.path(), root_));
    }
    if (files_.empty()) {
      ThrowBadInput(set_.name, "data files with train, validation, dev or test in their names",
                    "none");
    }

    // Subfolders are subsets, unless there is none but data/.
    std::set<std::string> subsets;
    for (const auto& [split, by_subset] : files_) {
      for (const auto& [subset, path] : by_subset) subsets.insert(subset);
    }
    const bool has_subsets = subsets.size() > 1 || !subsets.contains("");
    if (has_subsets) {
      subsets.erase("");
      set_.subsets.assign(subsets.begin(), subsets.end());
    }
    for (const auto& [split, by_subset] : files_) AddSplit(split, by_subset, has_subsets);
    return std::move(set_);
  }

 private:
  void Take(const fs::path& relative) {
    const std::string name = relative.filename().string();
    const Ending* ending = EndingOf(name);
    if (ending == nullptr) return;
    std::string subset = relative.has_parent_path() ? relative.begin()->string() : "";
    std::string split = SplitOf(name);
    if (split.empty() && relative.has_parent_path()) {  // train/part-1.jsonl
      split = SplitOf(relative.parent_path().filename().string());
      if (subset == relative.parent_path().string()) subset.clear();
    }

    if (split.empty()) return;
    if (subset == "data" || !SplitOf(subset).empty()) subset.clear();
    std::string path = (relative.parent_path() / WithShardStar(name)).string();
    if (!subset.empty()) path = "{subset}" + path.substr(subset.size());

    // A split is one file or one row of shards.
    std::string& known = files_[split][subset];
    if (!known.empty() && known != path) {
      ThrowBadInput(set_.name, StrCat("one file or one row of shards for split ", split),
                    StrCat(known, " and ", path));
    }
    known = path;
    readers_[split] = ending;
  }

  void AddSplit(const std::string& split, const std::map<std::string, std::string>& by_subset,
                bool has_subsets) {
    const std::string& path = by_subset.begin()->second;
    for (const auto& [subset, other] : by_subset) {
      if (other == path && subset.empty() != has_subsets) continue;
      ThrowBadInput(set_.name, StrCat("the same files of split ", split, " in every subset"),
                    StrCat(path, " and ", other));
    }

    RowSet::Split made;
    made.name = split;
    made.path = (root_ / path).string();
    made.format = FormatOf(*readers_[split]);
    set_.splits.push_back(std::move(made));
  }

  RowSet set_;
  fs::path root_;
  std::map<std::string, std::map<std::string, std::string>> files_;  // by split and subset
  std::map<std::string, const Ending*> readers_;
};

// A set that a file of the user's describes. Its paths are relative to that file.
RowSet ReadDefinition(const std::string& path) {
  RowSet set = ParseRowSet(ReadFile(path), path, /*is_users=*/true);
  const fs::path folder = fs::absolute(path).parent_path();
  for (RowSet::Split& split : set.splits) {
    split.path = (folder / split.path).string();
    if (!split.beside.empty()) split.beside = (folder / split.beside).string();
  }
  set.definition.Add(fs::path(path).filename().string(), path);
  return set;
}

RowSet MakeLocalSet(const std::string& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    if (!IsSavedSet(path)) return FolderReader(path).Run();
    RowSet set = NewSet(path);
    AddSavedSplits(fs::absolute(path), set);
    return set;
  }
  if (!fs::exists(path, ignored)) ThrowBadInput(path, "a data file or folder", "none");
  if (IsDefinition(path)) return ReadDefinition(path);

  const Ending* ending = EndingOf(path);
  if (ending == nullptr) {
    std::vector<std::string> known;
    for (const Ending& one : kEndings) known.emplace_back(one.ending);
    ThrowBadInput(path, StrCat("a file that ends in ", Join(known, ", ")), "another one");
  }

  RowSet set = NewSet(path);
  RowSet::Split split;
  split.name = kWholeSet;
  split.path = fs::absolute(path).string();
  split.format = FormatOf(*ending);
  set.splits.push_back(std::move(split));
  return set;
}

// Sets live as long as the program.
struct KnownSets {
  std::mutex mutex;
  std::map<std::string, std::unique_ptr<const RowSet>> by_name;
  std::vector<std::unique_ptr<const RowSet>> replaced;
};

KnownSets& AllKnown() {
  static KnownSets known;
  return known;
}

// False for a file that is not there: reading it says so.
bool BeginsJsonArray(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return false;
  std::ifstream file(path);
  char first = '\0';
  return static_cast<bool>(file >> first) && first == '[';
}

}  // namespace

bool IsLocalSet(std::string_view name) {
  return name.find('/') != std::string_view::npos || EndingOf(name) != nullptr ||
         IsDefinition(name);
}

const RowSet& FindLocalSet(const std::string& path) {
  KnownSets& known = AllKnown();
  const std::lock_guard lock(known.mutex);
  std::unique_ptr<const RowSet>& set = known.by_name[path];
  if (!set) set = std::make_unique<const RowSet>(MakeLocalSet(path));
  return *set;
}

std::string DefineLocalSet(const std::string& name, std::vector<LocalSplit> splits) {
  RowSet set = NewSet(name);
  for (LocalSplit& local : splits) {
    RowSet::Split split;
    split.name = local.name;
    split.path = local.files.at(0);
    split.more_paths.assign(local.files.begin() + 1, local.files.end());
    split.format = std::move(local.format);
    if (split.format.reader == "jsonl" && BeginsJsonArray(split.path)) split.format.reader = "json";
    set.splits.push_back(std::move(split));
  }

  KnownSets& known = AllKnown();
  const std::lock_guard lock(known.mutex);
  std::unique_ptr<const RowSet>& old = known.by_name[name];
  // Others may still hold the set that was there.
  if (old) known.replaced.push_back(std::move(old));
  old = std::make_unique<const RowSet>(std::move(set));
  return name;
}

}  // namespace qualm
