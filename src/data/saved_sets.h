// Folders that Hugging Face's datasets library writes with save_to_disk.
#pragma once

#include <filesystem>

namespace qualm {

struct RowSet;

// Whether the folder holds a saved data set, or a saved dictionary of them.
bool IsSavedSet(const std::filesystem::path& folder);

// Adds the folder's splits to the set. A data set saved alone is the split that it says, else
// "all". Throws bad input for one whose rows are chosen by an index (datasets' flatten_indices()
// makes them plain) and for files that are not numbered shards.
void AddSavedSplits(const std::filesystem::path& folder, RowSet& set);

}  // namespace qualm
