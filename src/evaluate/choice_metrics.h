// Scores of multiple-choice items: how the answer is picked, and means with their errors
// (PROTOCOLS, sections 2 and 6).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "evaluate/statistics.h"

namespace qualm {

// One choice of an item with its score, from which every metric picks.
struct ScoredChoice {
  double log_likelihood = 0;
  double unconditional = 0;  // of the continuation without a context; only for acc_pmi
  size_t tokens = 0;         // of the continuation
  std::string_view text;     // the choice, by whose length acc_norm and acc_bytes divide
};

// The answer that a metric gives to an item.
struct Pick {
  size_t choice = 0;         // the first of the best ones
  bool is_near_tie = false;  // the second best is within kNearTie of the best
};
inline constexpr double kNearTie = 1e-4;

// acc: the sum of log-probabilities; acc_norm: divided by the choice's code points; acc_bytes: by
// its UTF-8 bytes; acc_tokens: by the continuation's tokens; acc_pmi: minus the unconditional
// log-probability. An empty choice has the length 1. Requires: at least one choice, a known metric.
Pick PickChoice(std::string_view metric, std::span<const ScoredChoice> choices);

// Whether the metric is the share of items whose picked choice is right; "stereotype" picks like
// "acc".
bool IsPickMetric(std::string_view metric);

// What the metrics other than picks are computed from; they add up counts over items.
struct ChoiceOutcome {
  std::span<const double> probabilities;  // of the choices
  std::span<const uint8_t> right;         // 1 for right choices
  std::span<const std::string> ids;       // bias: "biased", "other", "unknown"
  size_t picked = 0;                      // by acc
};
// A metric as a function of sums over items, so that its error can be bootstrapped.
struct CountedChoiceMetric {
  const char* name;
  bool is_mean;
  std::vector<double> (*count)(const ChoiceOutcome& outcome);
  double (*value)(std::span<const double> sums);  // NaN if the value is not defined
};
// mc2 (Lin et al. 2022): the right choices' share of all choices' probability. bias_ambig,
// bias_disambig (Parrish et al. 2022, section 4): 2·biased/known - 1 of the picked choices that are
// not "unknown", in ambiguous contexts times 1 - accuracy; -1 to 1. f1, mcc: of picks
// among two choices, the second of which is the positive class, as scikit-learn has them. Requires:
// not a pick metric.
const CountedChoiceMetric& FindCountedChoiceMetric(std::string_view metric);

// The mean of zeros and ones, error sqrt(p(1-p)/(n-1)); NaN for n = 0, no error for n = 1.
Estimate ShareOf(std::span<const uint8_t> hits);
// The unweighted mean of estimates, with the error sqrt(Σ se²)/count.
Estimate MeanOf(std::span<const Estimate> estimates);

// Probabilities of the choices, softmax of their log-likelihoods.
std::vector<double> Probabilities(std::span<const ScoredChoice> choices);

// Over items, from their probabilities and right choices. brier: mean of Σ (p - [right])²; ece:
// expected calibration error of the likeliest choice over ten bins of equal width (Guo et al. 2017,
// section 2); its error is the deviation over 200 bootstrap samples of items with a fixed seed.
struct Calibration {
  Estimate brier, ece;
};
Calibration CalibrationOf(std::span<const std::vector<double>> probabilities,
                          std::span<const size_t> gold);

// Code points of UTF-8; a byte that begins no code point counts as one.
size_t CodePoints(std::string_view text);

}  // namespace qualm
