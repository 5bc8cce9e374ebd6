// An evaluation as another run or another program wrote it down: its scores and what is said of how
// they were made. Read from what `qualm eval --json` writes (docs/formats/evaluation.md), and from
// lm-evaluation-harness's files (evaluate/lm_eval_results.h). The files are untrusted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"

namespace qualm {

// One of the first items of a task, or one of the first windows of a text.
struct RecordedItem {
  uint64_t row = 0;
  std::string prompt_sha256;          // empty: not said
  std::optional<std::string> prompt;  // its beginning
  std::string continuations_sha256;   // likewise
  std::vector<std::string> continuations;
  std::vector<std::string> targets;  // numbers of choices, or texts
  std::vector<uint64_t> shot_rows;
  std::optional<std::vector<int64_t>> token_ids;  // the first ones
  uint64_t tokens = 0;                            // of all
  std::string token_hash;                         // over all
};

struct RecordedScore {
  std::string metric;
  std::string filter;  // empty: the task has one
  double value = std::numeric_limits<double>::quiet_NaN();
  double standard_error = std::numeric_limits<double>::quiet_NaN();
};

// One task or one text of one model.
struct EvaluationRecord {
  std::string name;  // "mmlu:anatomy@chatml", a text's path
  bool is_text = false;
  bool is_lm_eval = false;  // the task is asked as lm-evaluation-harness's file says
  // What is said, by the names of kFactRules (explain.cc). A fact that is not there is not known;
  // one that is known not to be is the text "none".
  std::map<std::string, Json> facts = {};
  std::vector<RecordedItem> items = {};
  std::vector<RecordedScore> scores = {};
};

inline constexpr const char* kNoSuchThing = "none";

// The name without what says how the task was asked: "mmlu:anatomy@chatml+turns" is "mmlu:anatomy".
std::string PlainTaskName(std::string_view name);

// All tasks, or all texts, of a file that `qualm eval --json` wrote; of older files without
// "protocols" the scores and what is said with them.
std::vector<EvaluationRecord> ReadEvaluations(const std::filesystem::path& file);

}  // namespace qualm
