// The product of a layer whose inputs are rounded to codes first.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "artefact/activations.h"
#include "tensor/linear.h"

namespace qualm {

struct QuantizedLinear;

// Rounds one token's inputs as the layer does; inputs of float columns stay as they are. x [in].
// Requires layer.activations.
class LayerActivations {
 public:
  explicit LayerActivations(const QuantizedLinear& layer);
  void Round(std::span<float> x) const;

 private:
  ActivationQuantizer quantizer_;
  std::vector<uint32_t> float_columns_;
};

// y = x̂·Wᵀ with x̂ the rounded inputs as float32 and the inner weight's own product.
std::unique_ptr<LinearWeight> WithActivations(std::unique_ptr<LinearWeight> inner,
                                              const QuantizedLinear& layer);

}  // namespace qualm
