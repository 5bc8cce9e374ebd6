// Outcomes of stages as JSON, and the checks that their columns fit together. Reports index these
// columns without further checks.
#include "study/stage_outcome.h"

#include <algorithm>

#include "base/error_place.h"
#include "base/strings.h"
#include "io/json_fields.h"

namespace qualm {
namespace {

// Every column has a value for each item, and clusters are numbered from 0, below the number of
// items.
void CheckColumns(const std::vector<uint64_t>& cluster, std::initializer_list<size_t> lengths) {
  const size_t n = cluster.size();
  for (size_t length : lengths) {
    if (length != n) {
      ThrowExpected(StrCat("columns of ", n, " items"), StrCat("one of ", length));
    }
  }
  if (n == 0) ThrowExpected("columns of at least one item", "none");
  const uint64_t largest = *std::ranges::max_element(cluster);
  if (largest >= n) {
    ThrowExpected(StrCat("clusters below ", n), StrCat(largest));
  }
}

}  // namespace

void WindowColumns::Validate() const { CheckColumns(cluster, {loss.size(), weight.size()}); }

void RowColumns::Validate() const {
  CheckColumns(cluster, {value.size(), right.size(), near_tie.size(), picked.size(), gold.size()});
  if (!log_likelihoods.empty()) CheckColumns(cluster, {log_likelihoods.size()});
}

// A stage that failed has no outcome, which is written as null.
Json ToJson(const StageOutcome& outcome) {
  return std::visit(
      [](const auto& of_kind) -> Json {
        if constexpr (std::same_as<decltype(of_kind), const std::monostate&>) {
          return nullptr;
        } else {
          return FieldsJson(of_kind);
        }
      },
      outcome);
}

// The inputs say which struct the outcome is; fields that are missing or unknown are refused.
StageOutcome StageOutcomeFromJson(const StageInputs& inputs, const Json& json,
                                  std::string_view place) {
  // Only tests have two kinds of outcomes.
  switch (KindOf(inputs)) {
    case StageKind::kCalibrate:
      return FieldsFrom<CalibrateOutcome>(json, place);
    case StageKind::kQuantize:
      return FieldsFrom<QuantizeOutcome>(json, place);
    case StageKind::kEvaluate:
      if (std::get<EvaluateInputs>(inputs).kind == TestKind::kText) {
        return FieldsFrom<TextOutcome>(json, place);
      }
      return FieldsFrom<RowsOutcome>(json, place);
    case StageKind::kMeasure:
      return FieldsFrom<MeasureOutcome>(json, place);
  }
  QUALM_CHECK(false);
  return {};
}

}  // namespace qualm
