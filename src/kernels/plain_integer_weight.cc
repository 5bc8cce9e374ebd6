// The integer product exactly as integer_weight.h defines it, one output after the other. It is the
// oracle of the fast kernels and serves the layers that they cannot pack.
#include <cmath>
#include <string>
#include <vector>

#include "artefact/activations.h"
#include "artefact/quantized_linear.h"
#include "base/context.h"
#include "base/strings.h"
#include "kernels/integer_weight.h"

namespace qualm {
namespace {

// Keeps the layer as it is; only the inputs are quantized, once for each token.
class PlainIntegerWeight final : public LinearWeight {
 public:
  explicit PlainIntegerWeight(const QuantizedLinear& layer)
      : layer_(layer),
        quantizer_(*layer.activations),
        format_(StrCat("plain-", layer.scheme.ShortName(), "*",
                       ActivationShortName(layer.activations->scheme))) {}

  size_t out_features() const override { return layer_.out_features; }
  size_t in_features() const override { return layer_.in_features; }
  size_t weight_bytes() const override { return layer_.StoredBytes(); }
  std::string_view format() const override { return format_; }

  void Multiply(Span2D<const float> x, Span2D<float> y, const Context& context) const override {
    context.pool.ParallelFor(x.rows(), [&](size_t t) {
      std::vector<uint8_t> codes(layer_.in_features);
      const GridPoint point = quantizer_.Quantize(x.row(t), codes);
      for (size_t r = 0; r < layer_.out_features; ++r) y(t, r) = point.scale * Sum(codes, point, r);
    });
  }

 private:
  // S of the definition for one output row: fused multiply-adds of exact integer sums, group by
  // group.
  float Sum(const std::vector<uint8_t>& codes, GridPoint point, size_t row) const {
    const auto input_zero = static_cast<int32_t>(point.zero);
    float sum = 0;

    for (size_t g = 0; g < layer_.group_count(); ++g) {
      const auto zero = static_cast<int32_t>(layer_.ZeroAt(row, g));
      const size_t first = g * layer_.group_size();
      const size_t last = std::min(layer_.in_features, first + layer_.group_size());

      int32_t dot = 0;
      for (size_t k = first; k < last; ++k) {
        dot += (int32_t{codes[k]} - input_zero) *
               (int32_t{layer_.codes[row * layer_.in_features + k]} - zero);
      }
      sum = std::fma(layer_.ScaleAt(row, g), static_cast<float>(dot), sum);
    }
    return sum;
  }

  QuantizedLinear layer_;
  ActivationQuantizer quantizer_;
  std::string format_;
};

}  // namespace

std::unique_ptr<LinearWeight> MakePlainIntegerWeight(const QuantizedLinear& layer) {
  return std::make_unique<PlainIntegerWeight>(layer);
}

}  // namespace qualm
