#include "kernels/activation_weight.h"

#include <string>
#include <utility>

#include "base/strings.h"
#include "base/thread_pool.h"

namespace qualm {
namespace {

class ActivationWeight final : public LinearWeight {
 public:
  ActivationWeight(std::unique_ptr<LinearWeight> inner, const ActivationGrid& activations)
      : inner_(std::move(inner)),
        quantizer_(activations),
        format_(StrCat(inner_->format(), "*rounded-", ActivationShortName(activations.scheme))) {}

  size_t out_features() const override { return inner_->out_features(); }
  size_t in_features() const override { return inner_->in_features(); }
  size_t weight_bytes() const override { return inner_->weight_bytes(); }
  std::string_view format() const override { return format_; }

  void Multiply(Span2D<const float> x, Span2D<float> y, ThreadPool& pool) const override {
    Matrix rounded = Matrix::Uninitialized(x.rows(), x.cols());
    pool.ParallelFor(x.rows(), [&](size_t t) { quantizer_.Round(x.row(t), rounded.row(t)); });
    inner_->Multiply(rounded, y, pool);
  }

 private:
  std::unique_ptr<LinearWeight> inner_;
  ActivationQuantizer quantizer_;
  std::string format_;
};

}  // namespace

std::unique_ptr<LinearWeight> WithActivations(std::unique_ptr<LinearWeight> inner,
                                              const ActivationGrid& activations) {
  return std::make_unique<ActivationWeight>(std::move(inner), activations);
}

}  // namespace qualm
