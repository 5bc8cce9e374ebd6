// Dense weights kept in their stored type (f32, f16, bf16), in panels of output rows, and their
// product with float activations. See linear.h for the order of summation.
#pragma once

#include <memory>

#include "tensor/linear.h"

namespace qualm {

// Copies `weight` into panels (F64 is rounded to F32). The view is not needed afterwards.
std::unique_ptr<LinearWeight> MakeDenseWeight(const WeightView& weight, ThreadPool& pool);

}  // namespace qualm
