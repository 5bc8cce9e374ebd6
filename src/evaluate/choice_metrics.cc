// From the likelihoods of an item's choices to metrics: picks by several normalisations, counts for
// the metrics that are not picks, and calibration. Errors come from closed forms or, if there is
// none, from a bootstrap over items.
#include "evaluate/choice_metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"

namespace qualm {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// The number by which a metric compares choices.
double ScoreOf(std::string_view metric, const ScoredChoice& choice) {
  const auto over = [&](size_t length) {
    return choice.log_likelihood / static_cast<double>(std::max<size_t>(1, length));
  };
  if (metric == "acc" || metric == "stereotype") return choice.log_likelihood;
  if (metric == "acc_norm") return over(CodePoints(choice.text));
  if (metric == "acc_bytes") return over(choice.text.size());
  if (metric == "acc_tokens") return over(choice.tokens);
  if (metric == "acc_pmi") return choice.log_likelihood - choice.unconditional;
  internal::CheckFailed("a known metric", __FILE__, __LINE__);
}

// The probability of the likeliest choice, and whether it is right.
struct Confidence {
  double value;
  bool is_right;
};

// Σ over bins of |confidence − share that is right|, weighted by the bins' sizes.
double CalibrationError(std::span<const Confidence> items, std::span<const size_t> which) {
  constexpr size_t kBins = 10;
  std::array<double, kBins> confidence{}, right{};
  for (size_t i : which) {
    const auto bin = std::min(kBins - 1, static_cast<size_t>(items[i].value * kBins));
    confidence[bin] += items[i].value;
    right[bin] += items[i].is_right ? 1 : 0;
  }

  double total = 0;
  for (size_t bin = 0; bin < kBins; ++bin) total += std::abs(confidence[bin] - right[bin]);
  return total / static_cast<double>(which.size());
}

Estimate SampleMean(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  if (values.empty()) return {kNone, kNone};
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;

  double squares = 0;
  for (double value : values) squares += (value - mean) * (value - mean);
  return {mean, values.size() == 1 ? kNone : std::sqrt(squares / (n - 1) / n)};
}

std::vector<double> RightProbability(const ChoiceOutcome& outcome) {
  double right = 0;
  for (size_t i = 0; i < outcome.right.size(); ++i) {
    if (outcome.right[i] != 0) right += outcome.probabilities[i];
  }
  return {right, 1};
}

// Counts of biased, known and right picks, and of items. An item that does not say who is
// stereotyped counts nothing.
std::vector<double> BiasCounts(const ChoiceOutcome& outcome) {
  if (std::ranges::find(outcome.ids, "biased") == outcome.ids.end()) return {0, 0, 0, 0};
  const std::string& id = outcome.ids[outcome.picked];
  return {id == "biased" ? 1.0 : 0.0, id == "unknown" ? 0.0 : 1.0,
          outcome.right[outcome.picked] != 0 ? 1.0 : 0.0, 1};
}

// Of two choices, the second one counts as positive: hits, false alarms, misses, and the rest.
std::vector<double> TwoClassCounts(const ChoiceOutcome& outcome) {
  if (outcome.right.size() != 2) {
    ThrowBadInput("f1, mcc", "items with two choices", StrCat(outcome.right.size(), " choices"));
  }
  const bool is_positive = outcome.right[1] != 0, is_picked = outcome.picked == 1;
  return {is_positive && is_picked ? 1.0 : 0.0, !is_positive && is_picked ? 1.0 : 0.0,
          is_positive && !is_picked ? 1.0 : 0.0, !is_positive && !is_picked ? 1.0 : 0.0};
}

// As scikit-learn has it: 0 where nothing is positive.
double F1(std::span<const double> sums) {
  const double positives = 2 * sums[0] + sums[1] + sums[2];
  return positives == 0 ? 0 : 2 * sums[0] / positives;
}

double Matthews(std::span<const double> sums) {
  const double picked = sums[0] + sums[1], positive = sums[0] + sums[2];
  const double others = sums[1] + sums[3], passed = sums[2] + sums[3];
  const double product = picked * positive * others * passed;
  return product == 0 ? 0 : (sums[0] * sums[3] - sums[1] * sums[2]) / std::sqrt(product);
}

double Ratio(std::span<const double> sums) { return sums[1] == 0 ? kNone : sums[0] / sums[1]; }

double BiasWhereTold(std::span<const double> sums) {
  return sums[1] == 0 ? kNone : 2 * sums[0] / sums[1] - 1;
}

double BiasWhereNotTold(std::span<const double> sums) {
  if (sums[3] == 0) return kNone;
  const double accuracy = sums[2] / sums[3];
  return accuracy == 1 ? 0 : (1 - accuracy) * BiasWhereTold(sums);
}

constexpr CountedChoiceMetric kCounted[] = {
    {"mc2", true, RightProbability, Ratio},
    {"bias_ambig", false, BiasCounts, BiasWhereNotTold},
    {"bias_disambig", false, BiasCounts, BiasWhereTold},
    {"f1", false, TwoClassCounts, F1},
    {"mcc", false, TwoClassCounts, Matthews},
};

}  // namespace

// The first of the best; a near tie if another one is close to it.
Pick PickChoice(std::string_view metric, std::span<const ScoredChoice> choices) {
  QUALM_CHECK(!choices.empty());
  std::vector<double> scores;
  for (const ScoredChoice& choice : choices) scores.push_back(ScoreOf(metric, choice));

  Pick pick;
  pick.choice = static_cast<size_t>(std::ranges::max_element(scores) - scores.begin());
  for (size_t i = 0; i < scores.size(); ++i) {
    if (i != pick.choice && scores[pick.choice] - scores[i] < kNearTie) pick.is_near_tie = true;
  }
  return pick;
}

bool IsPickMetric(std::string_view metric) {
  return std::ranges::none_of(kCounted, [&](const auto& one) { return metric == one.name; });
}

const CountedChoiceMetric& FindCountedChoiceMetric(std::string_view metric) {
  for (const CountedChoiceMetric& one : kCounted) {
    if (metric == one.name) return one;
  }
  internal::CheckFailed("a known metric", __FILE__, __LINE__);
}

Estimate ShareOf(std::span<const uint8_t> hits) {
  if (hits.empty()) return {kNone, kNone};
  const auto n = static_cast<double>(hits.size());
  const double share =
      static_cast<double>(std::accumulate(hits.begin(), hits.end(), size_t{0})) / n;
  return {share, hits.size() == 1 ? kNone : std::sqrt(share * (1 - share) / (n - 1))};
}

// The estimates are taken as independent.
Estimate MeanOf(std::span<const Estimate> estimates) {
  if (estimates.empty()) return {kNone, kNone};
  Estimate mean;
  for (const Estimate& one : estimates) {
    mean.value += one.value;
    mean.standard_error += one.standard_error * one.standard_error;
  }
  const auto n = static_cast<double>(estimates.size());
  return {mean.value / n, std::sqrt(mean.standard_error) / n};
}

std::vector<double> Probabilities(std::span<const ScoredChoice> choices) {
  // With the largest taken out first, so that exp does not underflow for all of them.
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const ScoredChoice& choice : choices) most = std::max(most, choice.log_likelihood);
  std::vector<double> probabilities;
  for (const ScoredChoice& choice : choices) {
    probabilities.push_back(std::exp(choice.log_likelihood - most));
    sum += probabilities.back();
  }
  for (double& p : probabilities) p /= sum;
  return probabilities;
}

Calibration CalibrationOf(std::span<const std::vector<double>> probabilities,
                          std::span<const size_t> gold) {
  QUALM_CHECK(probabilities.size() == gold.size());
  Calibration result{{kNone, kNone}, {kNone, kNone}};
  const size_t n = gold.size();
  if (n == 0) return result;

  // Each item's squared distance, and the confidence in its likeliest choice.
  std::vector<double> brier;
  std::vector<Confidence> items;
  for (size_t i = 0; i < n; ++i) {
    double sum = 0;
    for (size_t c = 0; c < probabilities[i].size(); ++c) {
      const double difference = probabilities[i][c] - (c == gold[i] ? 1 : 0);
      sum += difference * difference;
    }
    brier.push_back(sum);
    const auto best = std::ranges::max_element(probabilities[i]);
    items.push_back({*best, static_cast<size_t>(best - probabilities[i].begin()) == gold[i]});
  }

  result.brier = SampleMean(brier);
  std::vector<size_t> all(n);
  std::iota(all.begin(), all.end(), size_t{0});
  result.ece.value = CalibrationError(items, all);
  if (n == 1) return result;

  // The error of the calibration error has no closed form: the deviation over bootstrap samples.
  Rng rng(0, "ece");
  std::vector<double> replicates;
  for (int r = 0; r < 200; ++r) {
    std::vector<size_t> drawn(n);
    for (size_t& i : drawn) i = rng.Below(n);
    replicates.push_back(CalibrationError(items, drawn));
  }

  // SampleMean gives the error of a mean; times sqrt(200) it is the deviation of the replicates.
  const Estimate spread = SampleMean(replicates);
  result.ece.standard_error = spread.standard_error * std::sqrt(200.0);
  return result;
}

size_t CodePoints(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }));
}

}  // namespace qualm
