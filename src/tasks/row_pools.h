// Which rows may be calibrated on and which scored, where both are wanted of the same files; and
// how two tasks are found to read the same rows although they name them differently.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/row_sets.h"
#include "tasks/task.h"

namespace qualm {

// Where no split is free, the rows of one are parted once by a seeded hash: some to calibrate on,
// the others to score (PROTOCOLS, section 7).
enum class RowPool : uint8_t { kAll, kCalibration, kScored };

// The rows of a split of a task's data set, all subsets, whatever their files are called.
struct RowsIdentity {
  std::string name;      // "boolq:val", for messages
  std::string built_in;  // the name of a set that is compiled in; empty: the user's own
  // A hash of the reader, the subsets and the texts of their files, in order: where it is equal,
  // rows of the same number are the same. Empty: some file is missing.
  std::string content;
  std::vector<std::string> texts;  // hashes of the files' texts, unpacked; empty ones are left out

  // Whether rows of one number are the same row in both.
  bool IsSameAs(const RowsIdentity& other) const;
  // Whether some file is in both.
  bool SharesAFileWith(const RowsIdentity& other) const;
};

// Reads all files of the split. Throws bad input for a split that the set does not have.
RowsIdentity IdentifyRows(const Task& task, const std::string& split,
                          const std::filesystem::path& data_folder);

// What the pools of these rows are drawn by: the name of a set that is compiled in, for all of its
// splits, or the content of the user's files.
std::string PoolNameOf(const Task& task, const std::string& split,
                       const std::filesystem::path& data_folder);

// The pool of a row by its subset and number: the same for every task on rows of this pool name.
RowPool PoolOf(const SourcedRow& row, std::string_view pool_name, uint64_t seed,
               double calibration_share);

}  // namespace qualm
