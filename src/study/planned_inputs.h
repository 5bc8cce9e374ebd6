// Finds and hashes everything that a study names before anything is planned: models, recipes,
// texts, rows.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "data/named_corpora.h"
#include "study/graph.h"
#include "tasks/items.h"

namespace qualm {

// A model with the hashes that keys of stages are made of.
struct PlannedModel {
  std::string name, path, hash, tokenizer_hash;
};

// A test with its data; `pool` says which rows may be scored.
struct PlannedTest {
  const TestSpec* spec = nullptr;
  std::string data_hash;  // of the text, or of the task and its files
  RowPool pool = RowPool::kAll;
};

// A recipe, identified by its canonical text.
struct PlannedRecipe {
  std::string name, how, canonical_hash;  // how: a built-in name or a path
  bool needs_calibration = false;
};

std::string HashOfTexts(const std::vector<std::string>& texts);

// Everything is read in the constructor; afterwards the graph asks for hashes and paths. Text
// hashes are kept, since several stages name the same text.
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

  // The hash of the task's text, the files of a split, and the files of its examples if there are
  // any.
  std::string RowsHash(const std::string& name, const Task& task, const std::string& split,
                       size_t shots);
  std::string TextHash(const std::string& corpus, const std::string& field, CorpusUse use);
  // An absolute path if it is a file, else the name as it is.
  std::string CorpusPath(const std::string& corpus) const;
  // Whether a test scores the rows of "set:split", so that not all of them may be used for
  // calibration.
  bool IsScored(const std::string& split) const { return scored_.contains(split); }

 private:
  void ReadModels();
  static std::string TokenizerHash(const std::string& folder);
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
  std::set<std::string> calibrated_, scored_;  // "set:split"
  std::map<std::string, std::string> text_hashes_;
};

}  // namespace qualm
