// Finds and hashes everything that a study names before anything is planned: models, recipes,
// texts, rows.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "data/named_corpora.h"
#include "study/graph.h"
#include "study/shared_rows.h"
#include "tasks/items.h"

namespace qualm {

// A model with the hashes that keys of stages are made of.
struct PlannedModel {
  std::string name, path, hash;
  InputSet files;            // that running it opens, with their hashes
  InputSet source_files;     // that quantizing it reads or copies
  InputSet tokenizer_files;  // of the tokenizer alone
};

// A test with its data; `rows` says which of them may be scored.
struct PlannedTest {
  const TestSpec* spec = nullptr;
  InputSet files;  // of the text, or of the task
  PooledRows rows;
  bool is_generated = false;  // a task that is answered with a text
};

// A recipe, identified by its canonical text.
struct PlannedRecipe {
  std::string name, how, canonical_hash;  // how: a built-in name or a path
  bool needs_calibration = false;
};

class PlannedInputs {
 public:
  // Throws bad input for anything that is missing; with skip_missing, tests and calibration sets
  // without their data are left out, and skipped() names them.
  PlannedInputs(StudySpec spec, const PlanOptions& options, Progress& progress);
  PlannedInputs(const PlannedInputs&) = delete;
  PlannedInputs& operator=(const PlannedInputs&) = delete;

  // The spec with the recipes' own names and without what was left out.
  const StudySpec& spec() const { return spec_; }
  const std::vector<PlannedModel>& models() const { return models_; }
  const std::vector<PlannedRecipe>& recipes() const { return recipes_; }
  const std::vector<PlannedTest>& tests() const { return tests_; }
  const std::vector<std::string>& skipped() const { return skipped_; }

  // Reads the corpus when it is first asked for: a text that cannot be read is found here.
  const InputSet& CorpusFiles(const std::string& corpus, const std::string& field, CorpusUse use);
  // Absolute where it is a file, else the name as it is.
  std::string CorpusPath(const std::string& corpus) const;
  // The same for a task, which may also be a subset of one, or built in.
  std::string TaskPath(const std::string& task) const;
  // The same for a chat template, which may also have a built-in name or none.
  std::string TemplatePath(const std::string& chat_template) const;
  // The rows of the task's set that may be used in that way: not all of them where the study uses
  // the same rows in the other way as well.
  PooledRows PooledRowsOf(RowPool use, const Task& task, const std::string& split) const;

 private:
  void ReadModels();
  void ReadRecipes();
  void DropMissingSets();
  std::string MissingFileOf(const CalibrationSpec& set) const;
  void FindPools();
  const RowsIdentity& RowsOf(const Task& task, const std::string& split);
  void ReadTests();
  bool ReadTask(const TestSpec& spec, PlannedTest& test);

  StudySpec spec_;
  const PlanOptions& options_;
  Progress& progress_;
  std::vector<PlannedModel> models_;
  std::vector<PlannedRecipe> recipes_;
  std::vector<PlannedTest> tests_;  // point into spec_
  std::vector<std::string> skipped_;
  SharedRows shared_rows_;
  std::map<std::string, RowsIdentity> row_identities_;  // by "set:split"
  std::map<std::string, InputSet> corpus_files_;        // by path, field and use
};

}  // namespace qualm
