#include "judge/conclusions.h"

#include <gtest/gtest.h>

namespace qualm {
namespace {

JudgedRow File(uint64_t bytes, double kl) {
  JudgedRow row;
  row.file_bytes = bytes;
  JudgedText& text = row.texts.emplace_back();
  text.scores.comparison.emplace();
  text.scores.comparison->kl_mean.value = kl;
  text.windows = {.weights = {1, 1}, .nll = {kl, 2 * kl}, .targets = {1, 1}, .kl = {kl, kl}};
  return row;
}

std::vector<bool> FrontOf(std::vector<JudgedRow> rows) {
  MarkFronts(rows);
  std::vector<bool> front;
  for (const JudgedRow& row : rows) front.push_back(row.texts[0].is_on_front);
  return front;
}

// On the front: nothing is as small and as near, and better in one of both.
TEST(Conclusions, TheFrontIsWhatNothingBeats) {
  EXPECT_EQ(FrontOf({File(100, 0.5), File(200, 0.1), File(150, 0.6), File(300, 0.1)}),
            (std::vector<bool>{true, true, false, false}));
  // Two that are equal in both stay.
  EXPECT_EQ(FrontOf({File(100, 0.5), File(100, 0.5), File(100, 0.4)}),
            (std::vector<bool>{false, false, true}));
  EXPECT_EQ(FrontOf({File(100, 0.5), File(100, 0.5)}), (std::vector<bool>{true, true}));

  // The reference and its noise floor are not files.
  JudgedRow floor = File(1, 0);
  floor.reading = JudgedReading::kNoiseFloor;
  EXPECT_EQ(FrontOf({floor, File(100, 0.5)}), (std::vector<bool>{false, true}));
}

JudgedTask Task(const std::string& model, const std::string& prompts, std::vector<int> right) {
  JudgedTask task;
  task.name = "quiz";
  task.score.metric = "acc";
  task.key.model = model;
  task.key.task = "quiz";
  task.key.prompt_hash = prompts;
  for (const int one : right) {
    task.items.push_back({.value = static_cast<double>(one), .is_right = one == 1});
  }
  return task;
}

// Tasks are paired where everything but the model is the same, and accuracies by McNemar's test.
TEST(Conclusions, TasksArePairedByTheirPrompts) {
  std::vector<JudgedRow> rows(3);
  rows[0].tasks = {Task("a", "p", {1, 1, 1, 0})};
  rows[1].tasks = {Task("b", "p", {0, 0, 1, 0})};
  rows[2].tasks = {Task("c", "other", {0, 0, 0, 0})};
  const std::vector<JudgedPair> pairs = PairsOf(rows);
  ASSERT_EQ(pairs.size(), 1U);
  EXPECT_EQ(pairs[0].second, 1U);
  EXPECT_EQ(pairs[0].measure, "acc");
  EXPECT_EQ(pairs[0].test.right_to_wrong, 2U);
  EXPECT_DOUBLE_EQ(pairs[0].test.p, 0.5);  // two coins on one side
}

// Holm: the smallest of m values of p counts m times. Rows with tokens of a tokenizer that differs
// and the noise floor take no part.
TEST(Conclusions, AllPairsAreOneFamily) {
  std::vector<JudgedRow> rows = {File(1, 0.1), File(2, 0.2), File(3, 0.3), File(4, 0.4)};
  rows[3].texts[0].has_own_tokens = true;
  rows.push_back(File(5, 0.5));
  rows[4].reading = JudgedReading::kNoiseFloor;
  const std::vector<JudgedPair> pairs = PairsOf(rows);
  ASSERT_EQ(pairs.size(), 6U);  // three pairs under two measures
  double smallest = 1, adjusted = 1;
  for (const JudgedPair& pair : pairs) {
    if (pair.test.p >= smallest) continue;
    smallest = pair.test.p;
    adjusted = pair.p_holm;
  }
  EXPECT_DOUBLE_EQ(adjusted, std::min(1.0, 6 * smallest));
}

}  // namespace
}  // namespace qualm
