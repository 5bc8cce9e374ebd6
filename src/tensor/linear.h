// The product of a linear layer, y = x·Wᵀ, whatever form W is kept in. The dense form is here
// (dense.h); packed low-bit forms are in kernels/.
//
// One definition of the sum for all forms, all batch sizes, all thread counts and all instruction
// sets (DESIGN: determinism). With w the weight as float32 (for a quantized weight: the dequantized
// value, rounded once to float32),
//     y[m,n] = ((S_0 + S_1) + S_2) + ...        S_b = fma chain from 0 over k in block b, rising k,
//     block b = k in [b·kReductionBlock, (b+1)·kReductionBlock)
// so every path gives the same bits as the obvious loop, and a low-bit product equals the dense
// product with the dequantized weights exactly.
#pragma once

#include <cstddef>
#include <string_view>

#include "tensor/matrix.h"

namespace qualm {

struct Context;

inline constexpr size_t kReductionBlock = 256;

// A weight that can be multiplied, whatever form it is stored in. A decoder knows nothing else of
// its weights.
class LinearWeight {
 public:
  virtual ~LinearWeight() = default;
  virtual size_t out_features() const = 0;
  virtual size_t in_features() const = 0;
  virtual size_t weight_bytes() const = 0;      // bytes read from memory to use the weight once
  virtual std::string_view format() const = 0;  // "dense-bf16", "packed-int4-g128"

  // y = x·Wᵀ. x [tokens, in], y [tokens, out]; y's rows may be any memory but must not overlap x.
  // Any number of tokens, also 0.
  virtual void Multiply(Span2D<const float> x, Span2D<float> y, const Context& context) const = 0;
};

}  // namespace qualm
