// Items of tasks in the format of lm-evaluation-harness: what its ConfigurableTask makes of rows.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/python_random.h"
#include "tasks/items.h"
#include "tasks/lm_eval_task.h"

namespace qualm {

// Makes items one after another; the rows of a split in their order give the harness's examples,
// because one generator draws for all of them. `rows` are the scored ones (all of the split, also
// those that are not asked): their fields are the columns that doc_to_... values may name.
class LmEvalItemMaker {
 public:
  // The task must outlive the maker. `shot_rows`: where examples are taken from, as LmEvalRows
  // gives them; not used where the file has samples. Throws bad input where there are too few.
  LmEvalItemMaker(const Task& task, const std::vector<SourcedRow>& rows,
                  std::vector<SourcedRow> shot_rows, size_t shots, uint64_t seed);

  // `place` says which row it is, for messages.
  TaskItem Make(const SourcedRow& row, const std::string& place);

  // Of the rows made so far, those with an example that is equal to the row.
  size_t own_examples() const { return own_examples_; }

 private:
  void AddTexts(const TaskRow& row, TaskItem& item) const;
  void AddChoices(const TaskRow& row, TaskItem& item) const;
  void AddGold(const Json& target, TaskItem& item) const;
  void AddReferences(const TaskRow& row, TaskItem& item) const;
  std::shared_ptr<const Shots> ShotsFor(const SourcedRow& row, const std::string& place);
  std::vector<size_t> Chosen(const Json& scored, const std::string& place);
  void AddShot(const Json& fields, const std::string& place, Shots& shots) const;
  std::optional<std::string> AnswerOf(const TaskRow& row) const;

  const Task& task_;
  const LmEvalFormat& format_;
  std::vector<std::string> columns_;  // sorted
  std::vector<SourcedRow> pool_;
  size_t count_;
  uint64_t seed_;
  PythonRandom random_;
  std::string subset_;        // that `random_` and `open_` belong to
  std::vector<size_t> open_;  // of the pool: its rows in that subset
  bool has_subset_ = false;
  size_t own_examples_ = 0;
};

}  // namespace qualm
