// Mixed precision without hand-written overrides: decides which layer gets how many bits, so that a
// budget is kept and the sum of the layers' errors is small.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/fields.h"
#include "io/yaml.h"
#include "tensor/matrix.h"

namespace qualm {

struct Context;
struct Scheme;

// The recipe's `allocate` key.
struct AllocationPlan {
  double target_bits = 4;  // mean stored bits per weight of the quantized layers, all counted
  std::vector<int> choices = {2, 3, 4, 5, 6, 8};  // rising

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("target_bits", self.target_bits, {.range = InRange(1, 16), .required = true});
    visit("choices", self.choices, {.range = InRange(2, 8), .expected = "bits in 2..8"});
  }
};

// {target_bits: 3.5, choices: [2, 3, 4, 8]}. Strict.
AllocationPlan ParseAllocation(const Yaml& yaml);

// One way to store a layer.
struct LayerChoice {
  int bits = 0;
  uint64_t bytes = 0;
  double error = 0;  // ‖X(W−Ŵ)ᵀ‖²/‖XWᵀ‖², W rounded to nearest
};

// The layer's choices: its scheme with each number of bits. weight [out, in], sample [rows, in].
std::vector<LayerChoice> MeasureChoices(Span2D<const float> weight, const Scheme& scheme,
                                        Span2D<const float> sample, const AllocationPlan& plan,
                                        const Context& context);

// For each layer the index of its choice. Σ bytes <= budget, and Σ error is small: starting from
// the cheapest choices, it always takes the step with the largest fall of error per byte that still
// fits, along the lower convex hull of each layer's (bytes, error); ties go to the lower index. The
// result is at most one step away from the minimum. Throws bad input if not even the cheapest
// choices fit.
std::vector<size_t> Allocate(std::span<const std::vector<LayerChoice>> layers, uint64_t budget);

}  // namespace qualm
