// Splits as options name them: which rows are scored, and which are examples.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tasks/task.h"

namespace qualm {

struct ItemOptions;

// A split as an option names it: "train[:400]" is the first 400 rows of "train".
struct NamedSplit {
  std::string name;
  size_t rows = 0;  // 0: all
};
// Throws bad input at `place` for a text that is not of that form.
NamedSplit ParseSplit(const std::string& text, std::string_view place);

// The splits that the options say, else the task's, by the data set's names. Throws bad input for
// splits that the data set does not have, and for examples from the scored split.
NamedSplit ScoredSplit(const Task& task, const ItemOptions& options);
NamedSplit ShotSplit(const Task& task, const ItemOptions& options);

// How many examples a prompt gets: as many as are asked for, else the task's number. A text that is
// scored by itself has none.
size_t ShotsOf(const Task& task, const ItemOptions& options);
// Whether examples are asked for that come from rows, not from the task's file.
bool HasShotRows(const Task& task, const ItemOptions& options);
// The splits whose files are read.
std::vector<NamedSplit> SplitsOf(const Task& task, const ItemOptions& options);

// What splits other than the task's own add to the name of a result: "+split-train[:400]",
// "+fewshot-split-dev". Empty where the rows are the task's own.
std::string SplitVariant(const Task& task, const ItemOptions& options);

}  // namespace qualm
