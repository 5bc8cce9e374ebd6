// Why two scores differ: compares how they were made, in the order in which things are decided,
// from the task to the metric. The first difference is the likeliest cause; the later ones often
// follow from it. Nothing is computed again: what is compared is what the two runs wrote down.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "evaluate/evaluation_record.h"
#include "evaluate/text_difference.h"
#include "io/json.h"

namespace qualm {

// In the order in which they are compared.
enum class Aspect {
  kTask,
  kRows,
  kPrompts,
  kBos,
  kChatTemplate,
  kSystem,
  kShots,
  kNormalization,
  kFilters,
  kWindows,
  kTokens,
  kModel,
  kMetric,
};
const char* AspectName(Aspect aspect);

struct ProtocolDifference {
  Aspect aspect = Aspect::kTask;
  std::string what;                         // "examples", "prompt of row 3"
  Json first, second;                       // values, or hashes of texts
  std::optional<TextDifference> text = {};  // where both texts are known
};

// What could not be compared because a side does not say it.
struct UnknownFact {
  Aspect aspect = Aspect::kTask;
  std::string what;
  bool is_in_first = false, is_in_second = false;
};

// One metric of both; a filter where the task has several.
struct ScorePair {
  std::string metric, filter;
  RecordedScore first, second;
};

struct Explanation {
  std::string first, second;  // names of the task or text
  std::vector<ScorePair> scores;
  std::vector<ProtocolDifference> differences;  // the first one is the cause that is named
  std::vector<UnknownFact> unknown;
};

Explanation Explain(const EvaluationRecord& first, const EvaluationRecord& second);

// Tasks or texts that belong together: those with the same name, then those that are the same task
// asked in another way, and at last a single one with a single one.
struct RecordPairs {
  std::vector<std::pair<const EvaluationRecord*, const EvaluationRecord*>> pairs;
  std::vector<std::string> only_in_first, only_in_second;
};
// The result points into the arguments.
RecordPairs PairRecords(const std::vector<EvaluationRecord>& first,
                        const std::vector<EvaluationRecord>& second);

}  // namespace qualm
