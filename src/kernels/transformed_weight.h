#pragma once
#include <memory>
#include <span>

#include "artefact/quantized_linear.h"
#include "tensor/linear.h"
namespace qualm {
class ThreadPool;
Matrix TransformInputs(std::span<const OnlineTransform> transforms, Span2D<const float> x,
                       ThreadPool& pool);
std::unique_ptr<LinearWeight> WithTransforms(std::unique_ptr<LinearWeight> inner,
                                             std::span<const OnlineTransform> transforms);
Matrix EffectiveWeight(const QuantizedLinear& layer);
}  // namespace qualm
