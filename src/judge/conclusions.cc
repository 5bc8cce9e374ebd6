// Works on rows alone, whatever they were made from.
#include "judge/conclusions.h"

#include <algorithm>

#include "analysis/loss_table.h"
#include "evaluate/comparison.h"

namespace qualm {
namespace {

// Among the files with a comparison on that text.
void MarkFront(std::vector<JudgedRow>& rows, size_t text) {
  std::vector<JudgedRow*> files;
  for (JudgedRow& row : rows) {
    if (row.is_file() && text < row.texts.size() && row.texts[text].scores.comparison) {
      files.push_back(&row);
    }
  }
  const auto kl = [&](const JudgedRow* row) {
    return row->texts[text].scores.comparison->kl_mean.value;
  };
  for (JudgedRow* row : files) {
    row->texts[text].is_on_front = std::ranges::none_of(files, [&](const JudgedRow* other) {
      const bool is_as_good = other->file_bytes <= row->file_bytes && kl(other) <= kl(row);
      return is_as_good && (other->file_bytes < row->file_bytes || kl(other) < kl(row));
    });
  }
}

void AddTextPairs(const std::vector<JudgedRow>& rows, size_t a, size_t b,
                  std::vector<JudgedPair>& pairs) {
  const std::vector<JudgedText>&first = rows[a].texts, &second = rows[b].texts;
  for (size_t t = 0; t < std::min(first.size(), second.size()); ++t) {
    if (first[t].has_own_tokens || second[t].has_own_tokens) continue;
    const PairedWindows &one = first[t].windows, &other = second[t].windows;
    pairs.push_back({a, b, "log ppl", first[t].scores.name, TestLogPerplexity(one, other)});
    if (one.kl.empty() || other.kl.empty()) continue;
    pairs.push_back({a, b, "KL", first[t].scores.name, TestKl(one, other)});
  }
}

// Whether the items' values say no more than right or wrong.
bool IsAccuracy(const JudgedTask& task) {
  return std::ranges::all_of(
      task.items, [](const ItemOutcome& item) { return item.value == (item.is_right ? 1 : 0); });
}

void AddTaskPairs(const std::vector<JudgedRow>& rows, size_t a, size_t b,
                  std::vector<JudgedPair>& pairs) {
  for (const JudgedTask& first : rows[a].tasks) {
    for (const JudgedTask& second : rows[b].tasks) {
      EvaluationKey wanted = first.key;
      wanted.model = second.key.model;
      if (second.key != wanted) continue;
      const PairedComparison paired = ComparePaired(first.items, second.items);
      pairs.push_back({a, b, first.score.metric, first.name,
                       TestItems(paired, IsAccuracy(first) && IsAccuracy(second))});
    }
  }
}

}  // namespace

void MarkFronts(std::vector<JudgedRow>& rows) {
  size_t texts = 0;
  for (const JudgedRow& row : rows) texts = std::max(texts, row.texts.size());
  for (size_t t = 0; t < texts; ++t) MarkFront(rows, t);
}

std::vector<JudgedPair> PairsOf(const std::vector<JudgedRow>& rows) {
  std::vector<JudgedPair> pairs;
  for (size_t a = 0; a < rows.size(); ++a) {
    if (rows[a].reading == JudgedReading::kNoiseFloor) continue;
    for (size_t b = a + 1; b < rows.size(); ++b) {
      if (rows[b].reading == JudgedReading::kNoiseFloor) continue;
      AddTextPairs(rows, a, b, pairs);
      AddTaskPairs(rows, a, b, pairs);
    }
  }
  std::vector<double> p;
  for (const JudgedPair& pair : pairs) p.push_back(pair.test.p);
  p = HolmAdjusted(p);
  for (size_t i = 0; i < p.size(); ++i) pairs[i].p_holm = p[i];
  return pairs;
}

}  // namespace qualm
