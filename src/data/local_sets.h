// Data sets of the user's own, by path: a file, or a folder laid out as Hugging Face does.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/rows.h"

namespace qualm {

struct RowSet;

// Files that are one split, in their order.
struct LocalSplit {
  std::string name;
  std::vector<std::string> files;  // whole paths; stars stand for all files that fit
  RowFormat format;
};

// Whether a data set's name is a path: it has a slash or ends like a data file.
bool IsLocalSet(std::string_view name);

// Files by their ending: .csv, .tsv (quoted like csv), .json, .jsonl, .ndjson, .txt (lines),
// .parquet, .arrow, .feather, each also with .gz or .zst at the end. A file is the split "all". In
// a folder a file's name says its split: train, validation, valid, val, dev or test between other
// signs
// ("data/test-00000-of-00002.parquet", "my.train.jsonl"); shards are one split. Files in subfolders
// other than data/ make the subset of the subfolder's name; all subsets have the same files.
// Folders that datasets' save_to_disk wrote have the splits that they say. A .yaml file describes a
// data set as those of datasets/ do (reader, encoding, columns, splits); its paths are relative to
// it. Throws bad input for a path that is not there and a folder without such files. The set lives
// as long as the program.
const RowSet& FindLocalSet(const std::string& path);

// Makes a set of files that are named one by one, and returns the name under which FindRowSet knows
// it from then on: `name`, which has a slash. A set of that name is replaced. A file that begins
// like a JSON array is read as one, whatever its reader.
std::string DefineLocalSet(const std::string& name, std::vector<LocalSplit> splits);

}  // namespace qualm
