#include "kernels/transformed_weight.h"

#include <vector>

#include "base/thread_pool.h"
namespace qualm {
namespace {
void Apply(const OnlineTransform& t, std::span<float> row) {
  for (size_t c = 0; c < row.size(); ++c) {
    if (t.kind == OnlineTransform::Kind::kScale)
      row[c] /= t.factors[c];
    else
      row[c] -= t.factors[c];
  }
}
class Transformed final : public LinearWeight {
 public:
  Transformed(std::unique_ptr<LinearWeight> inner, std::span<const OnlineTransform> t)
      : inner_(std::move(inner)), transforms_(t.begin(), t.end()) {}
  size_t out_features() const override { return inner_->out_features(); }
  size_t in_features() const override { return inner_->in_features(); }
  size_t weight_bytes() const override { return inner_->weight_bytes(); }
  std::string_view format() const override { return "transformed"; }
  void Multiply(Span2D<const float> x, Span2D<float> y, ThreadPool& pool) const override {
    inner_->Multiply(TransformInputs(transforms_, x, pool), y, pool);
    for (const auto& t : transforms_) {
      if (t.side != OnlineTransform::Side::kOutput) continue;
      for (size_t r = 0; r < y.rows(); ++r) Apply(t, y.row(r));
    }
  }

 private:
  std::unique_ptr<LinearWeight> inner_;
  std::vector<OnlineTransform> transforms_;
};
}  // namespace
Matrix TransformInputs(std::span<const OnlineTransform> transforms, Span2D<const float> x,
                       ThreadPool& pool) {
  Matrix result = Matrix::CopyOf(x);
  for (const auto& t : transforms) {
    if (t.side != OnlineTransform::Side::kInput) continue;
    pool.ParallelFor(x.rows(), [&](size_t r) { Apply(t, result.row(r)); });
  }
  return result;
}
std::unique_ptr<LinearWeight> WithTransforms(std::unique_ptr<LinearWeight> inner,
                                             std::span<const OnlineTransform> transforms) {
  if (transforms.empty()) return inner;
  return std::make_unique<Transformed>(std::move(inner), transforms);
}
Matrix EffectiveWeight(const QuantizedLinear& layer) {
  Matrix w = layer.Dequantize();
  for (const auto& t : layer.transforms)
    if (t.kind == OnlineTransform::Kind::kScale && t.side == OnlineTransform::Side::kInput)
      for (size_t r = 0; r < w.rows(); ++r) Apply(t, w.row(r));
  return w;
}
}  // namespace qualm
