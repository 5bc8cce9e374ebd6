// The arithmetic of row_scores.h: both passes over the row subtract its peak first, so that exp
// neither overflows nor loses the largest terms.
#include "evaluate/row_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace qualm {

namespace {

// The largest logit and its first index.
struct Peak {
  double logit = -std::numeric_limits<double>::infinity();
  size_t index = 0;
};

Peak PeakOf(std::span<const float> logits) {
  Peak peak;
  for (size_t v = 0; v < logits.size(); ++v) {
    if (static_cast<double>(logits[v]) > peak.logit) peak = {static_cast<double>(logits[v]), v};
  }
  return peak;
}

// Fills exps with exp(logit - peak) and returns log Σ exp(logit).
double LogSumExp(std::span<const float> logits, double peak, std::span<double> exps) {
  double sum = 0;
  for (size_t v = 0; v < logits.size(); ++v) {
    exps[v] = std::exp(static_cast<double>(logits[v]) - peak);
    sum += exps[v];
  }
  return peak + std::log(sum);
}

}  // namespace

double NegativeLogLikelihood(std::span<const float> logits, TokenId target) {
  const size_t index = static_cast<size_t>(target);
  QUALM_CHECK(target >= 0 && index < logits.size());
  const double peak = PeakOf(logits).logit;
  double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit) - peak);
  return peak + std::log(sum) - static_cast<double>(logits[index]);
}

RowComparison RowComparer::Compare(std::span<const float> reference, std::span<const float> model,
                                   TokenId target) {
  const size_t vocab = reference.size();
  const size_t index = static_cast<size_t>(target);
  QUALM_CHECK(model.size() == vocab && target >= 0 && index < vocab);

  // Both rows' exponentials are kept, since they are read again below.
  reference_exp_.resize(vocab);
  model_exp_.resize(vocab);
  const Peak reference_peak = PeakOf(reference), model_peak = PeakOf(model);
  const double reference_norm = LogSumExp(reference, reference_peak.logit, reference_exp_);
  const double model_norm = LogSumExp(model, model_peak.logit, model_exp_);
  const double reference_scale = std::exp(reference_peak.logit - reference_norm);
  const double model_scale = std::exp(model_peak.logit - model_norm);

  // p and q are the exponentials divided by their sums.
  RowComparison result;
  double kl = 0;
  for (size_t v = 0; v < vocab; ++v) {
    const double p = reference_exp_[v] * reference_scale;
    const double q = model_exp_[v] * model_scale;
    const double log_ratio = (static_cast<double>(reference[v]) - reference_norm) -
                             (static_cast<double>(model[v]) - model_norm);
    kl += (p == 0 ? 0 : p * log_ratio) + (q - p);
  }

  // Rounding may leave -1e-17 for equal distributions; NaN passes through.
  result.kl = kl < 0 ? 0 : kl;
  result.nll = model_norm - static_cast<double>(model[index]);
  result.reference_nll = reference_norm - static_cast<double>(reference[index]);
  result.delta_p = (model_exp_[index] * model_scale) - (reference_exp_[index] * reference_scale);
  result.same_top1 = reference_peak.index == model_peak.index;
  return result;
}

}  // namespace qualm
