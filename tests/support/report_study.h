// A study whose numbers are chosen, not computed, so that a test of the report can say by hand what
// each place of it must show. Tables and analyses are filled directly; only what a section reads
// from a stage's record is written to a folder.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "analysis/study_analysis.h"
#include "base/strings.h"
#include "report/sections.h"
#include "study/work_folder.h"
#include "support/stage_records.h"
#include "support/temporary_folder.h"

namespace qualm::testing {

// A result of three seeds and four clusters, two of its seeds agreeing.
inline Inference Chosen(double value, double low, double high, double p) {
  Inference one;
  one.value = value;
  one.standard_error = 0.5;
  one.df = 6;
  one.low = low;
  one.high = high;
  one.p = p;
  one.effect_size = 0.25;
  one.detectable = 0.125;
  one.seeds = 3;
  one.clusters = 4;
  one.seed_deviation = 0.0625;
  one.seeds_agreeing = 2;
  return one;
}

// How often `part` occurs in `text`.
inline size_t CountOf(std::string_view text, std::string_view part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

class ReportStudy : public ::testing::Test {
 protected:
  ReportStudy() : work_(folder_.path()) {
    plan_.spec.name = "made-up";
    plan_.spec.version = 3;
    plan_.spec.title = {"A made-up study", "虚构研究"};
    plan_.spec.question = {"Is it so?", "是这样吗？"};
    plan_.spec.models = {"m"};
    plan_.spec.seeds = 3;
    plan_.version = "1.2.3";
    plan_.instruction_set = "avx2";
    table_.plan = &plan_;
  }

  ReportData Data() const { return {plan_, table_, analysis_, work_}; }

  void AddTextTest(const std::string& name) {
    TestSpec test;
    test.name = name;
    test.corpus = "corpus of " + name;
    test.about = {"books", "stories", "text", "en"};
    plan_.spec.tests.push_back(test);
  }
  void AddTaskTest(const std::string& name, const std::string& family) {
    TestSpec test;
    test.name = name;
    test.task = "task of " + name;
    test.about = {"exams", "physics", family, "zh"};
    plan_.spec.tests.push_back(test);
  }

  // A condition on one test, with one seed for each mean excess loss. Texts have losses in nats,
  // tasks in shares.
  Cell& AddGroup(const std::string& recipe, const std::string& calibration, const std::string& test,
                 const std::vector<double>& excess = {0}) {
    Cell group;
    group.model = "m";
    group.recipe = recipe;
    group.calibration = calibration;
    group.test = test;
    for (const TestSpec& one : plan_.spec.tests) {
      if (one.name == test) group.is_text = !one.is_task();
    }
    group.is_share = !group.is_text;
    group.metric = group.is_text ? "ppl" : "acc";
    group.items = 40;
    group.loss = group.excess = LossTable(std::vector<double>(4, 10));
    for (size_t seed = 0; seed < excess.size(); ++seed) {
      group.seeds.push_back(seed);
      group.loss.AddSeed(std::vector<double>(4, 10));
      group.excess.AddSeed(std::vector<double>(4, 10 * excess[seed]));
      group.scores.push_back(0.5);
    }
    group.float_score = 0.75;
    group.baseline = NAN;
    group.kl = 0.0123;
    group.kl_error = 0.001;
    group.same_top1 = 0.9;
    group.right_to_wrong = 1.5;
    group.wrong_to_right = 0.5;
    group.near_ties = 2;
    group.overlap = 0.05;
    group.bits = recipe == "float" ? NAN : 3.25;
    group.model_bits = 4.5;
    group.decode_tokens_per_s = NAN;
    group.evaluate_keys = {EvaluateKey(recipe, calibration, test)};
    table_.cells.push_back(std::move(group));
    return table_.cells.back();
  }

  // The same with its summary against the float model.
  CellSummary& AddCell(const std::string& recipe, const std::string& calibration,
                       const std::string& test, const Inference& excess, double p_holm = 0.5) {
    AddGroup(recipe, calibration, test, {excess.value, excess.value, excess.value});
    CellSummary summary;
    summary.cell = table_.cells.size() - 1;
    summary.excess = excess;
    summary.p_holm = p_holm;
    summary.score = 0.5;
    summary.score_deviation = 0.01;
    analysis_.cells.push_back(summary);
    return analysis_.cells.back();
  }

  static std::string EvaluateKey(const std::string& recipe, const std::string& calibration,
                                 const std::string& test) {
    return StrCat("e.", recipe, ".", calibration, ".", test);
  }

  void WriteRecord(const std::string& key, StageOutcome outcome) const {
    work_.WriteRecord(RecordOf(key, std::move(outcome)));
  }

  TemporaryFolder folder_;
  WorkFolder work_;
  StudyPlan plan_;
  StudyTable table_;
  StudyAnalysis analysis_;
};

}  // namespace qualm::testing
