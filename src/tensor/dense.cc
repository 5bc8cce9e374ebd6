// Dense weights in panels of 16 output rows, interleaved by k. A stored matrix comes in, a
// LinearWeight goes out that keeps the stored type (f32, f16 or bf16) and converts it inside the
// product.
#include "tensor/dense.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "tensor/panel_kernels.h"
#include "tensor/panels.h"

namespace qualm {
namespace {

// A weight that is packed once and never changes. MultiplyPanels reads float32 panels where they
// are (FloatPanels) and asks Unpack for the 16-bit types.
class DenseWeight final : public LinearWeight, private PanelSource {
 public:
  DenseWeight(const WeightView& weight, const Context& context)
      : out_(weight.rows),
        in_(weight.cols),
        type_(weight.type == DType::kF64 ? DType::kF32 : weight.type),
        format_(StrCat("dense-", ToLower(NameOf(type_)))),
        panels_(PanelCount(out_) * in_ * kPanelLanes * SizeOf(type_)) {
    QUALM_CHECK(IsFloat(weight.type));
    context.pool.ParallelFor(PanelCount(out_), [&](size_t panel) { Pack(weight, panel); });
  }

  size_t out_features() const override { return out_; }
  size_t in_features() const override { return in_; }
  size_t weight_bytes() const override { return panels_.size(); }
  std::string_view format() const override { return format_; }

  void Multiply(Span2D<const float> x, Span2D<float> y, const Context& context) const override {
    QUALM_CHECK(x.cols() == in_ && y.cols() == out_ && x.rows() == y.rows());
    MultiplyPanels(*this, x, y, context);
  }

 private:
  size_t PanelBytes() const { return in_ * kPanelLanes * SizeOf(type_); }

  // Interleaves 16 rows of the stored matrix into one panel.
  void Pack(const WeightView& weight, size_t panel) {
    const auto* from = static_cast<const unsigned char*>(weight.data) +
                       panel * kPanelLanes * in_ * SizeOf(weight.type);
    unsigned char* to = panels_.data() + panel * PanelBytes();

    const size_t lanes = std::min(kPanelLanes, out_ - panel * kPanelLanes);
    if (lanes < kPanelLanes) std::memset(to, 0, PanelBytes());

    // Only float64 changes its type; 16-bit floats are copied as bits.
    switch (weight.type) {
      case DType::kF64:
        return PackAs<double>(from, lanes, reinterpret_cast<float*>(to));
      case DType::kF32:
        return PackAs<float>(from, lanes, reinterpret_cast<float*>(to));
      default:  // 16 bits: copied without conversion
        return PackAs<uint16_t>(from, lanes, reinterpret_cast<uint16_t*>(to));
    }
  }

  // Interleaves the rows that start at `from`, which may be unaligned (a mapped file).
  template <typename From, typename To>
  void PackAs(const unsigned char* from, size_t lanes, To* to) const {
    for (size_t k = 0; k < in_; ++k, to += kPanelLanes) {
      for (size_t lane = 0; lane < lanes; ++lane) {
        From element;
        std::memcpy(&element, from + (lane * in_ + k) * sizeof(From), sizeof(From));
        to[lane] = static_cast<To>(element);
      }
    }
  }

  const float* FloatPanels() const override {
    return type_ == DType::kF32 ? reinterpret_cast<const float*>(panels_.data()) : nullptr;
  }

  void Unpack(size_t panel, size_t k_begin, size_t depth, float* to) const override {
    const unsigned char* from =
        panels_.data() + panel * PanelBytes() + k_begin * kPanelLanes * SizeOf(type_);
    const auto* bits = reinterpret_cast<const uint16_t*>(from);

    const ConvertKernels& convert = ConvertKernelsInUse();
    const auto to_float = type_ == DType::kF16 ? convert.half : convert.bfloat16;
    to_float(bits, to, depth * kPanelLanes);
  }

  size_t out_, in_;
  DType type_;
  std::string format_;
  AlignedArray<unsigned char> panels_;
};

// A float32 weight that Write can fill again and again without a new allocation, because a search
// for the best quantization multiplies with hundreds of candidates.
class FloatPanelWeight final : public WritableWeight, private PanelSource {
 public:
  FloatPanelWeight(size_t out, size_t in)
      : out_(out), in_(in), panels_(PanelCount(out) * in * kPanelLanes) {}

  size_t out_features() const override { return out_; }
  size_t in_features() const override { return in_; }
  size_t weight_bytes() const override { return panels_.size() * sizeof(float); }
  std::string_view format() const override { return "dense-f32"; }

  void Multiply(Span2D<const float> x, Span2D<float> y, const Context& context) const override {
    QUALM_CHECK(x.cols() == in_ && y.cols() == out_ && x.rows() == y.rows());
    MultiplyPanels(*this, x, y, context);
  }

  void Write(const std::function<void(size_t row, std::span<float> values)>& write,
             const Context& context) override {
    context.pool.ParallelFor(PanelCount(out_), [&](size_t panel) {
      const size_t lanes = std::min(kPanelLanes, out_ - panel * kPanelLanes);
      // The caller writes whole rows, so a panel's rows are collected before they are interleaved.
      thread_local std::vector<float> rows;
      rows.assign(kPanelLanes * in_, 0.0f);
      for (size_t lane = 0; lane < lanes; ++lane) {
        write(panel * kPanelLanes + lane, std::span(rows).subspan(lane * in_, in_));
      }

      float* to = panels_.data() + panel * in_ * kPanelLanes;
      for (size_t k = 0; k < in_; ++k) {
        for (size_t lane = 0; lane < kPanelLanes; ++lane) *to++ = rows[lane * in_ + k];
      }
    });
  }

 private:
  const float* FloatPanels() const override { return panels_.data(); }
  void Unpack(size_t panel, size_t k_begin, size_t depth, float* to) const override {
    std::copy_n(panels_.data() + (panel * in_ + k_begin) * kPanelLanes, depth * kPanelLanes, to);
  }

  size_t out_, in_;
  AlignedArray<float> panels_;
};

}  // namespace

std::unique_ptr<LinearWeight> MakeDenseWeight(const WeightView& weight, const Context& context) {
  return std::make_unique<DenseWeight>(weight, context);
}

std::unique_ptr<WritableWeight> MakeWritableWeight(size_t out_features, size_t in_features) {
  return std::make_unique<FloatPanelWeight>(out_features, in_features);
}

}  // namespace qualm
