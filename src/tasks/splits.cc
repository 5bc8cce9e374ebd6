// Reads --split and --fewshot-split, and decides which splits a task's items are made of.
#include "tasks/splits.h"

#include <charconv>

#include "base/error.h"
#include "base/strings.h"
#include "data/row_sets.h"
#include "tasks/items.h"
#include "tasks/lm_eval_data.h"
#include "tasks/lm_eval_items.h"

namespace qualm {
namespace {

// The data set's name of a split that the task's format may know by another one.
std::string OurSplit(const Task& task, const std::string& name) {
  if (!task.lm_eval) return name;
  for (const auto& [theirs, ours] : task.lm_eval->splits) {
    if (theirs == name) return ours;
  }
  return name;
}

// "+option-dev[:3]"; empty where the split is the task's own, whole.
std::string VariantOf(std::string_view option, const NamedSplit& split, const std::string& own) {
  if (split.name == own && split.rows == 0) return "";
  const std::string part = split.rows == 0 ? "" : StrCat("[:", split.rows, "]");
  return StrCat("+", option, "-", split.name, part);
}

}  // namespace

NamedSplit ParseSplit(const std::string& text, std::string_view place) {
  NamedSplit split;
  const size_t open = text.find('[');
  split.name = text.substr(0, open);
  if (open == std::string::npos) return split;

  const std::string_view slice = std::string_view(text).substr(open);
  const bool is_slice = slice.starts_with("[:") && slice.ends_with(']') && slice.size() > 3;
  const char* begin = slice.data() + 2;
  const char* end = slice.data() + slice.size() - 1;
  const auto result = is_slice ? std::from_chars(begin, end, split.rows) : std::from_chars_result{};
  if (!is_slice || result.ec != std::errc() || result.ptr != end || split.rows == 0) {
    ThrowBadInput(place, "a split, or its first N rows as SPLIT[:N]", StrCat("'", text, "'"));
  }
  return split;
}

NamedSplit ScoredSplit(const Task& task, const ItemOptions& options) {
  if (options.split.empty()) return {task.split};
  NamedSplit split = ParseSplit(options.split, "--split");
  split.name = OurSplit(task, split.name);
  (void)FindRowSet(task.data_set, task.name).FindSplit(split.name, "--split");
  return split;
}

NamedSplit ShotSplit(const Task& task, const ItemOptions& options) {
  NamedSplit split = {task.shot_split};
  if (!options.shot_split.empty()) {
    split = ParseSplit(options.shot_split, "--fewshot-split");
    split.name = OurSplit(task, split.name);
    (void)FindRowSet(task.data_set, task.name).FindSplit(split.name, "--fewshot-split");
  }
  if (split.name.empty()) {
    const std::string named = task.lm_eval ? task.lm_eval->shots.missing_split : "";
    ThrowBadInput("--shots",
                  StrCat("0: task ", task.name, " has no split for examples",
                         named.empty() ? "" : StrCat("; its file names ", named)),
                  StrCat(options.shots.value_or(task.default_shots)),
                  named.empty() ? "" : "--fewshot-split names one that there is");
  }
  // Where a file of the harness takes examples from the scored rows, these are cut alike.
  if (options.shot_split.empty() && task.lm_eval && split.name == task.split) {
    return ScoredSplit(task, options);
  }
  // Tasks of the harness may leave the scored row out; what their files say is done as it is there.
  const bool leaves_out = task.lm_eval && task.lm_eval->shots.leaves_out_scored;
  if (!options.shot_split.empty() && !leaves_out && split.name == ScoredSplit(task, options).name) {
    ThrowBadInput("--fewshot-split", "shots from another split than the scored one", split.name,
                  "a shot from the split under test is leakage");
  }
  return split;
}

size_t ShotsOf(const Task& task, const ItemOptions& options) {
  return IsRolling(task) ? 0 : options.shots.value_or(task.default_shots);
}

bool HasShotRows(const Task& task, const ItemOptions& options) {
  const bool has_samples = task.lm_eval && task.lm_eval->shots.has_samples;
  return ShotsOf(task, options) > 0 && !has_samples;
}

std::vector<NamedSplit> SplitsOf(const Task& task, const ItemOptions& options) {
  std::vector<NamedSplit> splits = {ScoredSplit(task, options)};
  if (HasShotRows(task, options)) splits.push_back(ShotSplit(task, options));
  return splits;
}

std::string SplitVariant(const Task& task, const ItemOptions& options) {
  std::string variant = VariantOf("split", ScoredSplit(task, options), task.split);
  if (options.shot_split.empty() || !HasShotRows(task, options)) return variant;
  return variant + VariantOf("fewshot-split", ShotSplit(task, options), task.shot_split);
}

}  // namespace qualm
