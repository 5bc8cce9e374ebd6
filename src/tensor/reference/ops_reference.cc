// The definitions of norms, activations and rotation in double, as plain formulas. The tests of
// ops.h compare with them.
#include "tensor/reference/ops_reference.h"

#include <cmath>
#include <numbers>

namespace qualm::reference {

std::vector<double> Norm(std::span<const float> x, const NormParameters& parameters,
                         std::span<const float> weight, std::span<const float> bias) {
  // An RMS norm is a layer norm whose mean is taken as 0.
  const auto n = static_cast<double>(x.size());
  double mean = 0;
  if (parameters.kind == NormKind::kLayer) {
    for (float v : x) mean += v / n;
  }
  double variance = 0;
  for (float v : x) variance += (v - mean) * (v - mean) / n;

  // The weight may be stored as w - offset; without a weight the factor is 1.
  std::vector<double> out;
  for (size_t i = 0; i < x.size(); ++i) {
    const double normalized = (x[i] - mean) / std::sqrt(variance + parameters.eps);
    const double factor = weight.empty() ? 1 : double{parameters.weight_offset} + double{weight[i]};
    out.push_back(normalized * factor + (bias.empty() ? 0 : bias[i]));
  }
  return out;
}

double ActivationOf(Activation activation, double x) {
  switch (activation) {
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGeluTanh: {
      // (1 + tanh(u))/2 = 1/(1 + exp(-2u)) does not cancel where tanh(u) is close to -1.
      const double u = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
      return x / (1 + std::exp(-2 * u));
    }
    case Activation::kGeluErf:
      return x / 2 * std::erfc(-x / std::numbers::sqrt2);
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kRelu2:
      return x > 0 ? x * x : 0;
  }
  return NAN;
}

// Turns each pair of a head by its angle; values that belong to no pair stay.
std::vector<double> Rotated(std::span<const float> head, std::span<const float> cosine,
                            std::span<const float> sine, RotaryLayout layout) {
  std::vector<double> out(head.begin(), head.end());
  for (size_t i = 0; i < cosine.size(); ++i) {
    const size_t first = layout == RotaryLayout::kHalf ? i : 2 * i;
    const size_t second = layout == RotaryLayout::kHalf ? i + cosine.size() : 2 * i + 1;
    const double a = head[first], b = head[second], c = cosine[i], s = sine[i];
    out[first] = a * c - b * s;
    out[second] = b * c + a * s;
  }
  return out;
}

}  // namespace qualm::reference
