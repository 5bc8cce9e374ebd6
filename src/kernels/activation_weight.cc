// Rounds the inputs of a layer before an inner weight multiplies them. What comes out is the
// product that the quantized activations define, whatever form the inner weight has.
#include "kernels/activation_weight.h"

#include <string>
#include <utility>

#include "artefact/quantized_linear.h"
#include "base/context.h"
#include "base/strings.h"

namespace qualm {
namespace {

// Wraps a weight: Multiply rounds a copy of the inputs, token by token, and passes it on.
class ActivationWeight final : public LinearWeight {
 public:
  ActivationWeight(std::unique_ptr<LinearWeight> inner, const QuantizedLinear& layer)
      : inner_(std::move(inner)),
        activations_(layer),
        format_(StrCat(inner_->format(), "*rounded-",
                       ActivationShortName(layer.activations->scheme))) {}

  size_t out_features() const override { return inner_->out_features(); }
  size_t in_features() const override { return inner_->in_features(); }
  size_t weight_bytes() const override { return inner_->weight_bytes(); }
  std::string_view format() const override { return format_; }

  void Multiply(Span2D<const float> x, Span2D<float> y, const Context& context) const override {
    Matrix rounded = Matrix::CopyOf(x);
    context.pool.ParallelFor(x.rows(), [&](size_t t) { activations_.Round(rounded.row(t)); });
    inner_->Multiply(rounded, y, context);
  }

 private:
  std::unique_ptr<LinearWeight> inner_;
  LayerActivations activations_;
  std::string format_;
};

}  // namespace

LayerActivations::LayerActivations(const QuantizedLinear& layer) : quantizer_(*layer.activations) {
  if (layer.float_columns) float_columns_ = layer.float_columns->column;
}

void LayerActivations::Round(std::span<float> x) const {
  // Float columns take no part in the rounding: they must not widen the range of the other inputs,
  // and they keep their values.
  std::vector<float> kept;
  for (uint32_t c : float_columns_) {
    kept.push_back(x[c]);
    x[c] = 0;  // a zero widens no range
  }

  quantizer_.Round(x, x);
  for (size_t i = 0; i < float_columns_.size(); ++i) x[float_columns_[i]] = kept[i];
}

std::unique_ptr<LinearWeight> WithActivations(std::unique_ptr<LinearWeight> inner,
                                              const QuantizedLinear& layer) {
  return std::make_unique<ActivationWeight>(std::move(inner), layer);
}

}  // namespace qualm
