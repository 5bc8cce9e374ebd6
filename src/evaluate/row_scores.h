// Reduces one row of logits to numbers: the target's negative log-likelihood, and how two models'
// distributions at the same position differ. Everything is in double, with natural logarithms.
#pragma once

#include <span>
#include <vector>

#include "tokenize/tokenizer.h"

namespace qualm {

// -log softmax(logits)[target]. NaN if a logit is NaN. Requires: target is inside the row.
double NegativeLogLikelihood(std::span<const float> logits, TokenId target);

// How the model differs from the reference at one position.
struct RowComparison {
  double nll = 0;  // of the model
  double reference_nll = 0;
  double kl = 0;           // KL(reference ‖ model) in nats, over the whole vocabulary
  double delta_p = 0;      // p_model(target) - p_reference(target)
  bool same_top1 = false;  // equal argmax; of equal logits the lowest id counts
};

// Compares the two rows [vocab]. The divergence is summed as
// Σ_v  p_v·(log p_v - log q_v) + q_v - p_v,
// p the reference, q the model: the added terms cancel over the vocabulary, but each summand is now
// non-negative and, to first order, the sum does not depend on the rounding of the two normalisers,
// so that values near 1e-12 are still meaningful.
class RowComparer {
 public:
  RowComparison Compare(std::span<const float> reference, std::span<const float> model,
                        TokenId target);

 private:
  std::vector<double> reference_exp_, model_exp_;  // reused from row to row
};

}  // namespace qualm
