// The files of lm-evaluation-harness (0.4.13): results_DATE.json, and with --log_samples next to it
// samples_TASK_DATE.jsonl with a line for every item and filter. Untrusted.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "evaluate/evaluation_record.h"

namespace qualm {

class LmEvalResults {
 public:
  explicit LmEvalResults(const std::filesystem::path& file);
  ~LmEvalResults();
  LmEvalResults(const LmEvalResults&) = delete;
  LmEvalResults& operator=(const LmEvalResults&) = delete;

  // In the order of the file, groups included.
  std::vector<std::string> Tasks() const;

  // What the results say of a task. Throws bad input for an unknown one.
  EvaluationRecord Record(const std::string& task) const;

  // The file of the task's items next to the results, by its name; empty: it is not there.
  std::filesystem::path SamplesOf(const std::string& task) const;

  // Adds hashes over all items of such a file, its first items, and those whose rows are `wanted`.
  // Of an item that was read through several filters, the first one's line counts.
  void AddSamples(const std::filesystem::path& samples, std::span<const uint64_t> wanted,
                  EvaluationRecord& record) const;

 private:
  struct Content;
  std::unique_ptr<const Content> content_;
};

// The name that the harness has for a task of ours: "mmlu-lm-eval:anatomy@chatml" is
// "mmlu_anatomy".
std::string LmEvalTaskName(std::string_view ours);

}  // namespace qualm
