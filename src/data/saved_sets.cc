// Reads state.json and dataset_dict.json, which say what a saved data set's files are. The rows
// themselves are in Arrow streams next to them.
#include "data/saved_sets.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "data/row_sets.h"
#include "io/json.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStateName = "state.json";
constexpr const char* kDictionaryName = "dataset_dict.json";

bool Exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// Whether a key holds a list that is not empty.
bool HasList(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_array() && !found->empty();
}

std::vector<std::string> DataFilesOf(const Json& state, const std::string& place) {
  std::vector<std::string> names;
  const Json& files = GetChild(state, "_data_files", place);
  if (!files.is_array()) ThrowBadInput(place, "a list in '_data_files'", files.type_name());
  for (const Json& file : files) {
    names.push_back(GetString(file, "filename", place));
    if (names.back().find('/') != std::string::npos) {
      ThrowBadInput(place, "names of files in the same folder", StrCat("'", names.back(), "'"));
    }
  }
  return names;
}

void AddSplit(const fs::path& folder, const std::string& name, RowSet& set) {
  const std::string place = (folder / kStateName).string();
  const Json state = ReadJsonFile(folder / kStateName);
  if (!state.is_object()) ThrowBadInput(place, "an object", state.type_name());
  if (HasList(state, "_indices_files") || HasList(state, "_indices_data_files")) {
    ThrowBadInput(place, "a data set without an index of its rows", "one with an index",
                  "save it again after dataset.flatten_indices()");
  }

  // The split is the files that the state lists.
  const std::vector<std::string> files = DataFilesOf(state, place);
  if (files.empty()) ThrowBadInput(place, "at least one file in '_data_files'", "none");
  RowSet::Split split;
  split.name = name.empty() ? GetString(state, "_split", place, kWholeSet) : name;
  split.path = (folder / WithShardStar(files[0])).string();
  split.format.reader = "arrow";

  // One pattern names all shards, in the order of their numbers.
  for (const std::string& file : files) {
    if (WithShardStar(file) == WithShardStar(files[0])) continue;
    ThrowBadInput(place, "shards like data-00000-of-00002.arrow", StrCat(files[0], " and ", file));
  }
  set.splits.push_back(std::move(split));
}

}  // namespace

bool IsSavedSet(const fs::path& folder) {
  return Exists(folder / kDictionaryName) ||
         (Exists(folder / kStateName) && Exists(folder / "dataset_info.json"));
}

void AddSavedSplits(const fs::path& folder, RowSet& set) {
  if (!Exists(folder / kDictionaryName)) return AddSplit(folder, "", set);
  const std::string place = (folder / kDictionaryName).string();
  const Json dictionary = ReadJsonFile(folder / kDictionaryName);
  const Json& splits = GetChild(dictionary, "splits", place);
  if (!splits.is_array()) ThrowBadInput(place, "a list in 'splits'", splits.type_name());

  // Each split is a data set in its own folder.
  for (const Json& name : splits) {
    const bool is_folder =
        name.is_string() && name.get<std::string>().find('/') == std::string::npos;
    if (!is_folder)
      ThrowBadInput(place, "names of folders in 'splits'",
                    name.dump(-1, ' ', false, Json::error_handler_t::replace));
    AddSplit(folder / name.get<std::string>(), name.get<std::string>(), set);
  }
}

}  // namespace qualm
