// Parts rows between calibration and scoring. Rows are known by what their files hold, so that the
// same file under two names, in two folders or packed is parted in the same way.
#include "tasks/row_pools.h"

#include <algorithm>

#include "base/rng.h"
#include "base/strings.h"
#include "data/local_sets.h"
#include "io/hash.h"

namespace qualm {

bool RowsIdentity::IsSameAs(const RowsIdentity& other) const {
  return name == other.name || (!content.empty() && content == other.content);
}

bool RowsIdentity::SharesAFileWith(const RowsIdentity& other) const {
  return std::ranges::any_of(texts, [&](const std::string& text) {
    return std::ranges::find(other.texts, text) != other.texts.end();
  });
}

RowsIdentity IdentifyRows(const Task& task, const std::string& split,
                          const std::filesystem::path& data_folder) {
  const RowSet& set = FindRowSet(task.data_set, task.name);
  const RowSet::Split& found = set.FindSplit(split, task.name);
  RowsIdentity rows;
  rows.name = StrCat(task.data_set, ":", found.name);
  if (!IsLocalSet(task.data_set)) rows.built_in = task.data_set;

  // What decides which row has which number and subset.
  Hasher content;
  content.Add(found.format.reader);
  content.Add(found.format.records);
  content.Add(found.format.columns.empty() ? "" : "no header");
  for (const std::string& subset : set.subsets) content.Add(subset);

  bool is_whole = true;
  for (const std::string& file : FilesOf(set, found, data_folder)) {
    std::error_code ignored;
    if (!std::filesystem::exists(PathOnDisk(data_folder, file), ignored)) {
      is_whole = false;
      continue;
    }
    const std::string text = ReadDataFile(data_folder, file);
    const std::string hash = HashBytes(text);
    content.Add(hash);
    if (!text.empty()) rows.texts.push_back(hash);
  }
  if (is_whole) rows.content = content.Hex();
  return rows;
}

std::string PoolNameOf(const Task& task, const std::string& split,
                       const std::filesystem::path& data_folder) {
  if (!IsLocalSet(task.data_set)) return task.data_set;
  return IdentifyRows(task, split, data_folder).content;
}

RowPool PoolOf(const SourcedRow& row, std::string_view pool_name, uint64_t seed,
               double calibration_share) {
  Rng rng(seed, StrCat("pool ", pool_name, " ", row.subset, " ", row.index));
  return rng.Uniform() < calibration_share ? RowPool::kCalibration : RowPool::kScored;
}

}  // namespace qualm
