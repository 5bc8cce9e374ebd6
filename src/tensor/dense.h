// Dense weights kept in their stored type (f32, f16, bf16), in panels of output rows, and their
// product with float activations. See linear.h for the order of summation.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "tensor/linear.h"

namespace qualm {

struct Context;

// Copies `weight` into panels (F64 is rounded to F32). The view is not needed afterwards.
std::unique_ptr<LinearWeight> MakeDenseWeight(const WeightView& weight, const Context& context);

// A float32 weight whose memory can be written again, for searches that try many candidates.
class WritableWeight : public LinearWeight {
 public:
  // Calls write(row, values [in]) for every row, from several threads.
  virtual void Write(const std::function<void(size_t row, std::span<float> values)>& write,
                     const Context& context) = 0;
};
std::unique_ptr<WritableWeight> MakeWritableWeight(size_t out_features, size_t in_features);

}  // namespace qualm
