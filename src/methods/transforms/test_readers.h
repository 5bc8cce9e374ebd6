// Linear layers that read one input with correlated channels, for the tests of transforms.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "methods/activation_plan.h"
#include "methods/test_support.h"
#include "methods/transforms.h"
#include "support/test_context.h"

namespace qualm::testing {

// Owns the weights and statistics that a view of them refers to.
struct TestReaders {
  TestReaders(size_t layers, size_t out, size_t in, size_t tokens, uint64_t seed)
      : inputs(Toy(1, in, tokens, seed).inputs) {
    for (size_t i = 0; i < layers; ++i) weights.push_back(Toy(out, in, 1, seed + 1 + i).weight);
    scheme = Groups(4, 0);
    scheme.range_includes_zero = false;
  }

  // The readers as a transform sees it; this object must outlive the view.
  InputReaders View() {
    // Statistics over all inputs, with every row in the sample.
    TestContext context(1);
    Collector collector(inputs.cols(), inputs.rows(),
                        {.channel_statistics = true, .sample_rows = inputs.rows()});
    collector.Add(inputs, context);
    stats = collector.Take();

    InputReaders readers;
    for (const Matrix& weight : weights) {
      TransformLinear linear;
      linear.name = "toy";
      linear.weight = weight;
      linear.scheme = &scheme;
      if (activations) linear.activations = &*activations;
      readers.linears.push_back(linear);
    }

    readers.stats = &stats;
    readers.can_fold = true;
    return readers;
  }

  Matrix inputs;
  std::vector<Matrix> weights;
  Scheme scheme;
  std::optional<ActivationPlan> activations;
  LayerStats stats;
};

// Asymmetric rounding to nearest with 2^bits − 1 steps over the whole range of `values`, in double.
inline std::vector<double> RoundRange(const std::vector<double>& values, int bits) {
  const auto [low, high] = std::ranges::minmax(values);
  const int last = (1 << bits) - 1;
  const double scale = (high - low) / last, zero = std::nearbyint(-low / scale);
  std::vector<double> rounded;
  for (double v : values) {
    const double code = std::clamp(std::nearbyint(v / scale) + zero, 0.0, double(last));
    rounded.push_back(scale * (code - zero));
  }
  return rounded;
}

}  // namespace qualm::testing
