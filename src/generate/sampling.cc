// Greedy choice and nucleus sampling. Sums are in double and in a fixed order, so that a draw has
// the same result on every machine.
#include "generate/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/rng.h"

namespace qualm {
namespace {

TokenId Greedy(std::span<const float> logits) {
  return static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
}

}  // namespace

bool AreFinite(std::span<const float> logits) {
  // A product with 0 is 0 or NaN, so the loop has no branch and the sum is NaN if one logit is bad.
  float sum = 0;
  for (float logit : logits) sum += logit * 0;
  return std::isfinite(sum);
}

TokenId ChooseToken(std::span<const float> logits, const Sampling& sampling, Rng& random) {
  if (sampling.temperature > 0) return SampleToken(logits, sampling, random.Uniform());
  return Greedy(logits);
}

TokenId SampleToken(std::span<const float> logits, const Sampling& sampling, double uniform) {
  QUALM_CHECK(sampling.temperature > 0 && !logits.empty());

  // Likeliest first; equal ones in the order of their ids.
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return logits[a] > logits[b]; });

  // Tokens as likely as the last of the k stay, so that no id is preferred to an equal one.
  if (sampling.top_k > 0 && sampling.top_k < order.size()) {
    size_t most = sampling.top_k;
    const float least = logits[order[most - 1]];
    while (most < order.size() && logits[order[most]] == least) ++most;
    order.resize(most);
  }

  // Probabilities up to a common factor. The largest logit is subtracted so that none overflows.
  double largest = logits[order[0]], total = 0;
  std::vector<double> weights(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    weights[i] = std::exp((logits[order[i]] - largest) / sampling.temperature);
    total += weights[i];
  }

  size_t kept = 0;  // tokens of the nucleus
  double mass = 0;  // their weight
  while (kept < order.size() && (kept == 0 || mass < sampling.top_p * total)) {
    mass += weights[kept++];
  }

  // The likeliest has weight 1. From the end, because what is cut off is the least likely.
  while (kept > 1 && weights[kept - 1] < sampling.min_p) mass -= weights[--kept];

  // The token whose interval of [0, mass) holds the point. The last one takes what rounding leaves.
  double point = uniform * mass;
  for (size_t i = 0; i + 1 < kept; ++i) {
    point -= weights[i];
    if (point < 0) return static_cast<TokenId>(order[i]);
  }
  return static_cast<TokenId>(order[kept - 1]);
}

void PenalizeRepetition(std::span<const TokenId> seen, double penalty, std::span<float> logits) {
  std::vector<TokenId> ids(seen.begin(), seen.end());
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());

  for (TokenId id : ids) {
    float& logit = logits[static_cast<size_t>(id)];
    logit = static_cast<float>(logit > 0 ? logit / penalty : logit * penalty);
  }
}

}  // namespace qualm
