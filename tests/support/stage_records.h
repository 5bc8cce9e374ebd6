// Records of stages with outcomes that a test chooses.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "study/stage_outcome.h"
#include "study/work_folder.h"

namespace qualm::testing {

inline StageInputs InputsOf(StageKind kind) {
  switch (kind) {
    case StageKind::kCalibrate:
      return CalibrateInputs{};
    case StageKind::kQuantize:
      return QuantizeInputs{};
    case StageKind::kEvaluate:
      return EvaluateInputs{};
    case StageKind::kMeasure:
      return MeasureInputs{};
  }
  return {};
}

// The inputs of a stage that such an outcome may come of.
inline StageInputs InputsOf(const StageOutcome& outcome) {
  if (std::holds_alternative<CalibrateOutcome>(outcome)) return CalibrateInputs{};
  if (std::holds_alternative<QuantizeOutcome>(outcome)) return QuantizeInputs{};
  if (std::holds_alternative<MeasureOutcome>(outcome)) return MeasureInputs{};
  EvaluateInputs inputs;
  inputs.model_hash = "abc";
  if (std::holds_alternative<RowsOutcome>(outcome)) inputs.kind = TestKind::kTask;
  return inputs;
}

// A stage without an outcome has failed.
inline StageRecord RecordOf(const std::string& key, StageOutcome outcome) {
  StageRecord record;
  record.key = key;
  record.label = StrCat("stage ", key);
  record.status = std::holds_alternative<std::monostate>(outcome) ? "failed" : "done";
  record.inputs = InputsOf(outcome);
  record.outcome = std::move(outcome);
  return record;
}

inline TextOutcome TextOf(const std::vector<double>& losses, const std::vector<double>& weights,
                          const std::vector<uint64_t>& clusters) {
  TextOutcome text;
  text.protocol = "gptq";
  text.windows = losses.size();
  text.ppl.value = 12.5;
  text.ppl.standard_error = 0.25;
  text.items.loss = losses;
  text.items.weight = weights;
  text.items.cluster = clusters;
  return text;
}

// Values above one half count as right; the first choice is the right one.
inline RowsOutcome RowsOf(const std::vector<double>& values,
                          const std::vector<uint64_t>& clusters) {
  RowsOutcome rows;
  rows.task = "sst2";
  rows.metric = "acc";
  rows.rows = values.size();
  for (double value : values) rows.items.right.push_back(value > 0.5 ? 1 : 0);
  rows.items.value = values;
  rows.items.near_tie.assign(values.size(), 0);
  rows.items.picked.assign(values.size(), 0);
  rows.items.gold.assign(values.size(), 0);
  rows.items.cluster = clusters;
  ScoreOutcome other, main;
  other.metric = "acc_norm";
  other.value = 0.9;
  main.metric = "acc";
  main.value = 0.5;
  main.standard_error = 0.1;
  main.baseline = 0.25;
  rows.scores = {other, main};
  return rows;
}

}  // namespace qualm::testing
