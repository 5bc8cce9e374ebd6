#include "kernels/packed.h"

#include "artefact/quantized_linear.h"
#include "tensor/dense.h"

namespace qualm {
namespace {

// A dense weight that says where it comes from.
class DequantizedWeight final : public LinearWeight {
 public:
  DequantizedWeight(const QuantizedLinear& layer, ThreadPool& pool) {
    const Matrix w = layer.Dequantize();
    dense_ = MakeDenseWeight({w.data(), DType::kF32, w.rows(), w.cols()}, pool);
  }
  size_t out_features() const override { return dense_->out_features(); }
  size_t in_features() const override { return dense_->in_features(); }
  size_t weight_bytes() const override { return dense_->weight_bytes(); }
  std::string_view format() const override { return "dequantized-f32"; }
  void Multiply(Span2D<const float> x, Span2D<float> y, ThreadPool& pool) const override {
    dense_->Multiply(x, y, pool);
  }

 private:
  std::unique_ptr<LinearWeight> dense_;
};

}  // namespace

std::unique_ptr<LinearWeight> MakePackedWeight(const QuantizedLinear& layer, ThreadPool& pool) {
  return std::make_unique<DequantizedWeight>(layer, pool);
}

}  // namespace qualm
