// Layers whose weights and inputs are both integers: the product is made of integer dot products.
//
// Definition. For a token with input codes q_k, zero point ζ and scale s_x, and an output row with
// codes c_k, and scale s_g and zero point z_g for each of its groups of inputs,
//     a_g = Σ_{k in g} (q_k − ζ)·(c_k − z_g)        exact, in 32-bit integers
//     S   = fma(s_g, float(a_g), S) from S = 0, over rising g
//     y   = s_x·S                                    rounded once
// It does not depend on the batch, the number of threads or the instruction set, and it is what
// calibration, evaluation and generation compute. The float product of the dequantized values
// differs from it by rounding only.
#pragma once

#include <memory>

#include "tensor/linear.h"

namespace qualm {

struct Context;
struct QuantizedLinear;

// Whether the layer is defined by integer dot products: integer weights without outliers, mixed
// bits or permuted groups, whole zero points, integer inputs per token or per tensor, and sums that
// 32 bits hold (at most 33025 inputs in a group).
bool IsIntegerProduct(const QuantizedLinear& layer);

// Requires IsIntegerProduct(layer). Input-side transforms are not applied. format() names the codes
// and what computes: "int4-dot-g128*int8-token".
std::unique_ptr<LinearWeight> MakeIntegerWeight(const QuantizedLinear& layer,
                                                const Context& context);

// The definition written down, slow: for tests, for verification, and for groups that the packed
// form cannot hold (sizes that are not a multiple of 8).
std::unique_ptr<LinearWeight> MakePlainIntegerWeight(const QuantizedLinear& layer);

}  // namespace qualm
