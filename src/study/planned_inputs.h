// What a study names, found and hashed before anything is planned: models, recipes, texts, rows.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "data/named_corpora.h"
#include "study/graph.h"
#include "tasks/items.h"

namespace qualm {

struct PlannedModel {
  std::string name, path, hash;
  InputSet files;            // checkpoint and tokenizer, with their hashes
  InputSet tokenizer_files;  // those of the tokenizer alone
};

struct PlannedTest {
  const TestSpec* spec = nullptr;
  InputSet files;  // of the text, or of the task
  RowPool pool = RowPool::kAll;
};

struct PlannedRecipe {
  std::string name, how, canonical_hash;  // how: a built-in name or a path
  bool needs_calibration = false;
};

class PlannedInputs {
 public:
  // Throws bad input for what is not there; with skip_missing tests and calibration sets whose data
  // is not at hand are left out, and skipped() says so.
  PlannedInputs(StudySpec spec, const PlanOptions& options, Progress& progress);
  PlannedInputs(const PlannedInputs&) = delete;
  PlannedInputs& operator=(const PlannedInputs&) = delete;

  // With recipes by their own names and without what was left out.
  const StudySpec& spec() const { return spec_; }
  const std::vector<PlannedModel>& models() const { return models_; }
  const std::vector<PlannedRecipe>& recipes() const { return recipes_; }
  const std::vector<PlannedTest>& tests() const { return tests_; }
  const std::vector<std::string>& skipped() const { return skipped_; }

  // Reads the corpus when it is first asked for: a text that cannot be read is found here.
  const InputSet& CorpusFiles(const std::string& corpus, const std::string& field, CorpusUse use);
  // Absolute where it is a file, else the name as it is.
  std::string CorpusPath(const std::string& corpus) const;
  // Whether the rows of "set:split" are scored by a test, so that not all may be calibrated on.
  bool IsScored(const std::string& split) const { return scored_.contains(split); }

 private:
  void ReadModels();
  void ReadRecipes();
  void DropMissingSets();
  std::string MissingFileOf(const CalibrationSpec& set) const;
  void FindPools();
  void ReadTests();
  bool ReadTask(const TestSpec& spec, PlannedTest& test);

  StudySpec spec_;
  const PlanOptions& options_;
  Progress& progress_;
  std::vector<PlannedModel> models_;
  std::vector<PlannedRecipe> recipes_;
  std::vector<PlannedTest> tests_;  // point into spec_
  std::vector<std::string> skipped_;
  std::set<std::string> calibrated_, scored_;     // "set:split"
  std::map<std::string, InputSet> corpus_files_;  // by path, field and use
};

}  // namespace qualm
