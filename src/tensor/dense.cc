// Dense weights in panels of 16 output rows, interleaved by k, in their stored type.
#include "tensor/dense.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "tensor/panel_kernels.h"
#include "tensor/panels.h"

namespace qualm {
namespace {

class DenseWeight final : public LinearWeight, private PanelSource {
 public:
  DenseWeight(const WeightView& weight, ThreadPool& pool)
      : out_(weight.rows),
        in_(weight.cols),
        type_(weight.type == DType::kF64 ? DType::kF32 : weight.type),
        format_(StrCat("dense-", ToLower(NameOf(type_)))),
        panels_(PanelCount(out_) * in_ * kPanelRows * SizeOf(type_)) {
    QUALM_CHECK(IsFloat(weight.type));
    pool.ParallelFor(PanelCount(out_), [&](size_t panel) { Pack(weight, panel); });
  }

  size_t out_features() const override { return out_; }
  size_t in_features() const override { return in_; }
  size_t weight_bytes() const override { return panels_.size(); }
  std::string_view format() const override { return format_; }

  void Multiply(Span2D<const float> x, Span2D<float> y, ThreadPool& pool) const override {
    QUALM_CHECK(x.cols() == in_ && y.cols() == out_ && x.rows() == y.rows());
    MultiplyPanels(*this, x, y, pool);
  }

 private:
  size_t PanelBytes() const { return in_ * kPanelRows * SizeOf(type_); }

  void Pack(const WeightView& weight, size_t panel) {
    const auto* from = static_cast<const unsigned char*>(weight.data);
    unsigned char* to = panels_.data() + panel * PanelBytes();
    size_t size = SizeOf(type_), source_size = SizeOf(weight.type);
    std::memset(to, 0, PanelBytes());
    for (size_t lane = 0; lane < std::min(kPanelRows, out_ - panel * kPanelRows); ++lane) {
      for (size_t k = 0; k < in_; ++k) {
        const unsigned char* element = from + ((panel * kPanelRows + lane) * in_ + k) * source_size;
        unsigned char* slot = to + (k * kPanelRows + lane) * size;
        if (weight.type == DType::kF64) {
          float value;
          ConvertToFloat(weight.type, element, &value, 1);
          std::memcpy(slot, &value, size);
        } else {
          std::memcpy(slot, element, size);
        }
      }
    }
  }

  const float* FloatPanels() const override {
    return type_ == DType::kF32 ? reinterpret_cast<const float*>(panels_.data()) : nullptr;
  }

  void Unpack(size_t panel, size_t k_begin, size_t depth, float* to) const override {
    const unsigned char* from =
        panels_.data() + panel * PanelBytes() + k_begin * kPanelRows * SizeOf(type_);
    const auto* bits = reinterpret_cast<const uint16_t*>(from);
    const ConvertKernels& convert = ConvertKernelsInUse();
    (type_ == DType::kF16 ? convert.half : convert.bfloat16)(bits, to, depth * kPanelRows);
  }

  size_t out_, in_;
  DType type_;
  std::string format_;
  AlignedArray<unsigned char> panels_;
};

}  // namespace

std::unique_ptr<LinearWeight> MakeDenseWeight(const WeightView& weight, ThreadPool& pool) {
  return std::make_unique<DenseWeight>(weight, pool);
}

}  // namespace qualm
