#include "kernels/packed.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "artefact/quantized_linear.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "kernels/activation_weight.h"
#include "kernels/few_kernels.h"
#include "kernels/integer_weight.h"
#include "kernels/transformed_weight.h"
#include "kernels/unpack_kernels.h"
#include "tensor/dense.h"
#include "tensor/panels.h"

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

// The constants of all groups as effective floats: [out, groups], or one for the whole tensor.
struct EffectiveConstants {
  size_t rows, groups;
  std::vector<float> scales, zeros;

  explicit EffectiveConstants(const QuantizedLinear& layer) {
    const bool one = layer.scheme.granularity == Granularity::kTensor;
    rows = one ? 1 : layer.out_features;
    groups = one ? 1 : layer.group_count();
    for (size_t row = 0; row < rows; ++row) {
      for (size_t group = 0; group < groups; ++group) {
        scales.push_back(layer.ScaleAt(row, group));
        zeros.push_back(layer.ZeroAt(row, group));
      }
    }
  }
};

PackedForm FormOf(const QuantizedLinear& layer, const EffectiveConstants& constants) {
  PackedForm form;
  form.bits = layer.scheme.bits;
  form.group_size = layer.group_size();
  form.stored_zero = StoredZero::kByte;
  if (layer.scheme.zero_point == ZeroPointKind::kNone) {
    form.stored_zero = StoredZero::kImplied;
    form.implied_zero = static_cast<float>(1 << (form.bits - 1));
  } else if (layer.scheme.zero_point == ZeroPointKind::kFloat) {
    form.stored_zero = StoredZero::kFloat;
  }
  // Scales that come out of a second level are no longer exact in the scheme's type.
  const DType narrow = layer.scheme.scale_type;
  const auto exact = [&](float value) { return RoundTo(value, narrow) == value; };
  const bool is_float = form.stored_zero == StoredZero::kFloat;
  form.scale_type = std::ranges::all_of(constants.scales, exact) &&
                            (!is_float || std::ranges::all_of(constants.zeros, exact))
                        ? narrow
                        : DType::kF32;
  form.scale_bytes = SizeOf(form.scale_type);
  form.zero_bytes = form.stored_zero == StoredZero::kByte ? 1 : is_float ? form.scale_bytes : 0;
  // A 16-bit float has at most 11 significant bits and a zero point 8, so their product is exact if
  // it is finite, and so are scales by 2^-24 if they are not tiny. Scales of 0 or below would give
  // zeros of the other sign.
  constexpr float kSmallest = 0x1.0p-90f, kLargest = std::numeric_limits<float>::max() / 255;
  form.fused =
      form.scale_type != DType::kF32 && !is_float &&
      std::ranges::all_of(constants.scales, [](float s) { return s > kSmallest && s < kLargest; });
  return form;
}

class PackedWeight final : public LinearWeight, private PanelSource {
 public:
  PackedWeight(const QuantizedLinear& layer, ThreadPool& pool)
      : out_(layer.out_features), in_(layer.in_features) {
    const EffectiveConstants constants(layer);
    form_ = FormOf(layer, constants);
    format_ = StrCat("packed-", layer.scheme.ShortName());
    codes_ = AlignedArray<uint32_t>(PanelCount(out_) * PanelWords());
    const bool shared = layer.scheme.granularity == Granularity::kTensor;
    const size_t panel_constants = constants.groups * form_.ConstantBytes();
    constants_stride_ = shared ? 0 : panel_constants;
    constants_ = AlignedArray<uint8_t>((shared ? 1 : PanelCount(out_)) * panel_constants);
    pool.ParallelFor(PanelCount(out_), [&](size_t panel) {
      PackPanelCodes(layer, panel);
      if (!shared || panel == 0) PackPanelConstants(constants, panel);
    });
  }

  size_t out_features() const override { return out_; }
  size_t in_features() const override { return in_; }
  size_t weight_bytes() const override {
    return codes_.size() * sizeof(uint32_t) + constants_.size();
  }
  std::string_view format() const override { return format_; }

  void Multiply(Span2D<const float> x, Span2D<float> y, ThreadPool& pool) const override {
    QUALM_CHECK(x.cols() == in_ && y.cols() == out_ && x.rows() == y.rows());
    MultiplyPanels(*this, x, y, pool);
  }

 private:
  size_t PanelWords() const {
    return (in_ + kChunk - 1) / kChunk * static_cast<size_t>(form_.bits) * kPanelRows;
  }

  void PackPanelCodes(const QuantizedLinear& layer, size_t panel) {
    const auto bits = static_cast<size_t>(form_.bits);
    uint32_t* words = codes_.data() + panel * PanelWords();
    std::fill_n(words, PanelWords(), 0u);
    const size_t valid = std::min(kPanelRows, out_ - panel * kPanelRows);
    for (size_t lane = 0; lane < valid; ++lane) {
      const uint8_t* codes = layer.codes.data() + (panel * kPanelRows + lane) * in_;
      for (size_t k = 0; k < in_; ++k) {
        const size_t first = k % kChunk * bits, shift = first % 32;
        uint32_t* word = words + (k / kChunk * bits + first / 32) * kPanelRows + lane;
        word[0] |= uint32_t{codes[k]} << shift;
        if (shift + bits > 32) word[kPanelRows] |= uint32_t{codes[k]} >> (32 - shift);
      }
    }
  }

  void PackPanelConstants(const EffectiveConstants& constants, size_t panel) {
    uint8_t* to = constants_.data() + panel * constants_stride_;
    const size_t scale_bytes = form_.scale_bytes;
    for (size_t group = 0; group < constants.groups; ++group, to += form_.ConstantBytes()) {
      for (size_t lane = 0; lane < kPanelRows; ++lane) {
        // Lanes beyond the last row repeat it; a tensor has one row for all.
        const size_t row = std::min(panel * kPanelRows + lane, constants.rows - 1);
        const size_t index = row * constants.groups + group;
        ConvertFromFloat(&constants.scales[index], form_.scale_type, to + lane * scale_bytes, 1);
        uint8_t* zeros = to + kPanelRows * scale_bytes;
        if (form_.stored_zero == StoredZero::kByte) {
          zeros[lane] = static_cast<uint8_t>(constants.zeros[index]);
        } else if (form_.stored_zero == StoredZero::kFloat) {
          ConvertFromFloat(&constants.zeros[index], form_.scale_type, zeros + lane * scale_bytes,
                           1);
        }
      }
    }
  }

  void Unpack(size_t panel, size_t k_begin, size_t depth, float* to) const override {
    UnpackFunctionInUse(form_.bits)(form_, codes_.data() + panel * PanelWords(),
                                    constants_.data() + panel * constants_stride_, k_begin, depth,
                                    to);
  }

  DirectForm Direct() const override {
    const bool whole_chunks = form_.group_size % kChunk == 0 || form_.group_size >= in_;
    const bool has_kernel = FewFunctionInUse(form_.bits) != nullptr;
    if (!form_.fused || !whole_chunks || !has_kernel) return {};
    return {.most_rows = MostFewRowsInUse(form_.bits), .panels = kPanelsOfFew};
  }

  void MultiplyDirectly(size_t first_panel, size_t panel_count, const float* x,
                        Span2D<float> y) const override {
    FewProduct product;
    product.form = &form_;
    product.codes = codes_.data() + first_panel * PanelWords();
    product.codes_stride = PanelWords();
    product.constants = constants_.data() + first_panel * constants_stride_;
    product.constants_stride = constants_stride_;
    product.panel_count = panel_count;
    product.in_features = in_;
    product.rows = y.rows();
    product.x = x;
    product.y = y.data();
    product.y_stride = y.stride();
    product.columns = y.cols();
    FewFunctionInUse(form_.bits)(product);
  }

  size_t out_, in_;
  PackedForm form_;
  std::string format_;
  AlignedArray<uint32_t> codes_;     // [panel][chunk][bits][16]
  size_t constants_stride_ = 0;      // bytes from panel to panel; 0: all panels share one
  AlignedArray<uint8_t> constants_;  // [panel][group]: 16 scales, then 16 zero points
};

bool HasPackedForm(const QuantizedLinear& layer) {
  return layer.scheme.type == NumberType::kInteger && layer.bits_per_group.empty() &&
         layer.g_idx.empty() && !layer.outliers && !layer.float_columns;
}

}  // namespace

std::unique_ptr<LinearWeight> MakePackedWeight(const QuantizedLinear& layer, ThreadPool& pool) {
  std::unique_ptr<LinearWeight> weight;
  if (IsIntegerProduct(layer)) {
    return WithTransforms(MakeIntegerWeight(layer, pool), layer.transforms);
  }
  if (!HasPackedForm(layer) || layer.in_features == 0) {
    weight = std::make_unique<DequantizedWeight>(layer, pool);
  } else {
    weight = std::make_unique<PackedWeight>(layer, pool);
  }
  if (layer.activations) weight = WithActivations(std::move(weight), layer);
  return WithTransforms(std::move(weight), layer.transforms);
}

}  // namespace qualm
