// A quantized layer comes in, a weight that multiplies goes out. This file packs the codes into
// panels, unpacks them for the generic panel product (tensor/panels.h), and chooses between the
// integer, the packed and the dequantized form. Layout of the panels: docs/formats/packed.md.
#include "kernels/packed.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "artefact/packed_linear.h"
#include "artefact/quantized_linear.h"
#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "kernels/activation_weight.h"
#include "kernels/few_kernels.h"
#include "kernels/integer_weight.h"
#include "kernels/packed_constants.h"
#include "kernels/panel_patches.h"
#include "kernels/transformed_weight.h"
#include "kernels/unpack_kernels.h"
#include "tensor/dense.h"
#include "tensor/panels.h"

namespace qualm {
namespace {

// The fallback for layers that have no packed form: a dense float32 weight whose format() says that
// it was dequantized.
class DequantizedWeight final : public LinearWeight {
 public:
  DequantizedWeight(const QuantizedLinear& layer, const Context& context) {
    const Matrix w = layer.Dequantize();
    dense_ = MakeDenseWeight({w.data(), DType::kF32, w.rows(), w.cols()}, context);
  }
  size_t out_features() const override { return dense_->out_features(); }
  size_t in_features() const override { return dense_->in_features(); }
  size_t weight_bytes() const override { return dense_->weight_bytes(); }
  std::string_view format() const override { return "dequantized-f32"; }
  void Multiply(Span2D<const float> x, Span2D<float> y, const Context& context) const override {
    dense_->Multiply(x, y, context);
  }

 private:
  std::unique_ptr<LinearWeight> dense_;
};

// A layer whose codes stay packed in panels of 16 output rows. The constructor packs codes and
// constants once. From then on MultiplyPanels drives the product: it calls MultiplyDirectly for a
// few tokens, if Direct() offers a kernel, and Unpack otherwise. Only Unpack knows about mixed
// bits, outliers and float columns.
class PackedWeight final : public LinearWeight, private PanelSource {
 public:
  // `packed` are the codes if the layer has none: PackedLinear::codes.
  PackedWeight(const QuantizedLinear& layer, std::span<const uint8_t> packed,
               const Context& context)
      : out_(layer.out_features),
        in_(layer.in_features),
        form_(PackedFormOf(layer)),
        group_of_column_(layer.g_idx),
        patches_(layer) {
    if (!group_of_column_.empty()) form_.group_of_column = group_of_column_.data();
    if (form_.value == CodeValue::kWideTable) {
      wide_table_ = layer.table;
      form_.wide_table = wide_table_.data();
    }
    SetGroupWidths(layer);
    format_ = FormatOf(layer);

    // The offsets of the groups are known now, so codes have their final size. With one scale for
    // the whole tensor, all panels share the constants of panel 0.
    codes_ = AlignedArray<uint32_t>(PanelCount(out_) * panel_words_);
    const bool shared = layer.scheme.granularity == Granularity::kTensor;
    const size_t panel_constants = RecordsOf(layer) * form_.ConstantBytes();
    constants_stride_ = shared ? 0 : panel_constants;
    constants_ = AlignedArray<uint8_t>((shared ? 1 : PanelCount(out_)) * panel_constants);

    context.pool.ParallelFor(PanelCount(out_), [&](size_t panel) {
      if (layer.codes.empty()) {
        MovePanelCodes(packed, panel);
      } else {
        PackPanelCodes(layer, panel);
      }
      if (!shared || panel == 0) {
        PackConstants(layer, form_, panel, constants_.data() + panel * constants_stride_);
      }
    });
  }

  size_t out_features() const override { return out_; }
  size_t in_features() const override { return in_; }
  size_t weight_bytes() const override {
    return codes_.size() * sizeof(uint32_t) + constants_.size() + patches_.bytes() +
           group_of_column_.size() * sizeof(uint32_t) + wide_table_.size() * sizeof(float);
  }
  std::string_view format() const override { return format_; }

  void Multiply(Span2D<const float> x, Span2D<float> y, const Context& context) const override {
    QUALM_CHECK(x.cols() == in_ && y.cols() == out_ && x.rows() == y.rows());
    MultiplyPanels(*this, x, y, context);
  }

 private:
  // The scheme's name, followed by everything that keeps the fastest kernels away. Weights that are
  // rounded at last name their type.
  static std::string FormatOf(const QuantizedLinear& layer) {
    std::string name = StrCat("packed-", layer.scheme.ShortName());
    if (!layer.bits_per_group.empty()) name += "+mixed-bits";
    if (!layer.g_idx.empty()) name += "+g_idx";
    if (layer.outliers) name += "+outliers";
    if (layer.float_columns) name += "+float-columns";
    if (!layer.value_form.is_plain()) name += StrCat("+", ToLower(NameOf(layer.value_form.type)));
    return name;
  }

  // Finds where the codes of each group begin in a panel. Groups with different bits are packed one
  // after the other, each as if it were a small panel.
  void SetGroupWidths(const QuantizedLinear& layer) {
    const auto words = [](size_t inputs, int bits) {
      return (inputs + kChunkInputs - 1) / kChunkInputs * static_cast<size_t>(bits) * kPanelLanes;
    };

    group_bits_ = layer.bits_per_group;
    for (size_t group = 0; group < group_bits_.size(); ++group) {
      const size_t inputs = std::min(form_.group_size, in_ - group * form_.group_size);
      group_words_.push_back(panel_words_);
      panel_words_ += words(inputs, group_bits_[group]);
    }
    if (group_bits_.empty()) panel_words_ = words(in_, form_.bits);
  }

  // Fills the codes of one panel; lanes beyond the last output row stay 0.
  void PackPanelCodes(const QuantizedLinear& layer, size_t panel) {
    uint32_t* words = codes_.data() + panel * panel_words_;
    std::fill_n(words, panel_words_, 0u);

    const size_t valid = std::min(kPanelLanes, out_ - panel * kPanelLanes);
    for (size_t lane = 0; lane < valid; ++lane) {
      const uint8_t* codes = layer.codes.data() + (panel * kPanelLanes + lane) * in_;
      if (group_bits_.empty()) PackLane({codes, in_}, form_.bits, words + lane);

      // Groups with different bits start at different offsets.
      for (size_t group = 0; group < group_bits_.size(); ++group) {
        const size_t begin = group * form_.group_size;
        const size_t count = std::min(form_.group_size, in_ - begin);
        PackLane({codes + begin, count}, group_bits_[group], words + group_words_[group] + lane);
      }
    }
  }

  // The same from rows of packed codes. The words of a lane are the words of its row's bit string;
  // only the last chunk may end inside a word.
  void MovePanelCodes(std::span<const uint8_t> packed, size_t panel) {
    uint32_t* words = codes_.data() + panel * panel_words_;
    const size_t row_bytes = PackedRowBytes(in_, form_.bits);
    const size_t whole_words = row_bytes / sizeof(uint32_t);
    const size_t lanes = std::min(kPanelLanes, out_ - panel * kPanelLanes);
    const uint8_t* rows = packed.data() + panel * kPanelLanes * row_bytes;
    if (lanes < kPanelLanes) std::fill_n(words, panel_words_, 0u);

    // A cache line of every row at a time: each line is read once and each line of the panel is
    // written once.
    for (size_t first = 0; first < whole_words; first += kPanelLanes) {
      const size_t count = std::min(kPanelLanes, whole_words - first);
      for (size_t lane = 0; lane < lanes; ++lane) {
        uint32_t line[kPanelLanes];
        std::memcpy(line, rows + lane * row_bytes + first * sizeof(uint32_t),
                    count * sizeof(uint32_t));
        for (size_t i = 0; i < count; ++i) words[(first + i) * kPanelLanes + lane] = line[i];
      }
    }

    // The bytes that fill no word, and the words of the last chunk beyond the row.
    for (size_t word = whole_words; word < panel_words_ / kPanelLanes; ++word) {
      const size_t begin = word * sizeof(uint32_t);
      const size_t count = begin < row_bytes ? row_bytes - begin : 0;
      for (size_t lane = 0; lane < lanes; ++lane) {
        uint32_t value = 0;
        if (count > 0) std::memcpy(&value, rows + lane * row_bytes + begin, count);
        words[word * kPanelLanes + lane] = value;
      }
    }
  }

  // Writes one row's codes as a bit string into every 16th word, starting at `words`.
  static void PackLane(std::span<const uint8_t> codes, int code_bits, uint32_t* words) {
    const auto bits = static_cast<size_t>(code_bits);
    for (size_t k = 0; k < codes.size(); ++k) {
      const size_t first = k % kChunkInputs * bits, shift = first % 32;
      uint32_t* word = words + (k / kChunkInputs * bits + first / 32) * kPanelLanes;
      word[0] |= uint32_t{codes[k]} << shift;
      // A code may cross from one word into the next word of the same lane.
      if (shift + bits > 32) word[kPanelLanes] |= uint32_t{codes[k]} >> (32 - shift);
    }
  }

  // PanelSource: dequantizes a part of one panel, then lets the patches overwrite it.
  void Unpack(size_t panel, size_t k_begin, size_t depth, float* to) const override {
    const uint32_t* codes = codes_.data() + panel * panel_words_;
    const uint8_t* constants = constants_.data() + panel * constants_stride_;
    if (group_bits_.empty()) {
      UnpackFunctionInUse(form_.bits, form_.value)(form_, codes, constants, k_begin, depth, to);
    } else {
      UnpackMixed(codes, constants, k_begin, depth, to);
    }
    if (!patches_.empty()) patches_.Apply(panel, k_begin, depth, to);
  }

  // Unpacks group by group, because the number of bits changes from one group to the next.
  void UnpackMixed(const uint32_t* codes, const uint8_t* constants, size_t k_begin, size_t depth,
                   float* to) const {
    PackedForm form = form_;

    for (size_t k = k_begin; k < k_begin + depth;) {
      const size_t group = k / form.group_size, begin = group * form.group_size;
      const size_t end = std::min(begin + form.group_size, k_begin + depth);

      // Each group is a panel in miniature: its bits and its zero point replace the common ones.
      form.bits = group_bits_[group];
      if (form.zero == ConstantCoding::kImplied) {
        form.implied_zero = static_cast<float>(1 << (form.bits - 1));
      }

      UnpackFunctionInUse(form.bits, form.value)(
          form, codes + group_words_[group], constants + group * form.ConstantBytes(), k - begin,
          end - k, to + (k - k_begin) * kPanelLanes);
      k = end;
    }
  }

  // PanelSource: a kernel that keeps weights in registers exists only for groups of whole chunks
  // (for table codes: half chunks) and without anything to patch in.
  DirectForm Direct() const override {
    const size_t unit = form_.value == CodeValue::kTable ? kChunkInputs / 2 : kChunkInputs;
    const bool whole_units = form_.group_size % unit == 0 || form_.group_size >= in_;
    if (!whole_units || !patches_.empty() || !group_bits_.empty()) return {};
    return {.most_rows = FewKernelInUse(form_).most_rows, .panels = kPanelsOfFew};
  }

  // PanelSource: hands the panels to the kernel that Direct() has promised.
  void MultiplyDirectly(size_t first_panel, size_t panel_count, const float* x,
                        Span2D<float> y) const override {
    FewProduct product;
    product.form = &form_;
    product.codes = codes_.data() + first_panel * panel_words_;
    product.codes_stride = panel_words_;
    product.constants = constants_.data() + first_panel * constants_stride_;
    product.constants_stride = constants_stride_;
    product.panel_count = panel_count;
    product.in_features = in_;
    product.rows = y.rows();
    product.x = x;
    product.y = y.data();
    product.y_stride = y.stride();
    product.columns = y.cols();
    FewKernelInUse(form_).function(product);
  }

  size_t out_, in_;
  PackedForm form_;
  std::vector<uint32_t> group_of_column_;  // [in], or empty if groups follow one another
  std::vector<float> wide_table_;          // what the form points to; empty without such a table
  std::vector<uint8_t> group_bits_;        // [groups], or empty if all have form_.bits
  std::vector<size_t> group_words_;        // where each group's codes begin in a panel; also empty
  size_t panel_words_ = 0;
  PanelPatches patches_;
  std::string format_;
  AlignedArray<uint32_t> codes_;     // [panel][chunk][bits][16]
  size_t constants_stride_ = 0;      // bytes from panel to panel; 0: all panels share one
  AlignedArray<uint8_t> constants_;  // [panel][group]: 16 scales, then 16 zero points
};

// Groups with different bits are packed one by one, which requires that each is made of whole
// chunks.
bool HasPackedForm(const QuantizedLinear& layer) {
  const bool is_mixed = !layer.bits_per_group.empty();
  return !is_mixed || (layer.g_idx.empty() &&
                       (layer.group_size() % kChunkInputs == 0 || layer.group_count() == 1));
}

// Inputs are transformed first and rounded afterwards, so the rounding is the inner wrapper.
std::unique_ptr<LinearWeight> WithInputs(std::unique_ptr<LinearWeight> weight,
                                         const QuantizedLinear& layer) {
  if (layer.activations) weight = WithActivations(std::move(weight), layer);
  return WithTransforms(std::move(weight), layer.transforms);
}

}  // namespace

std::unique_ptr<LinearWeight> MakePackedWeight(const PackedLinear& packed, const Context& context) {
  if (IsIntegerProduct(packed.layer)) return MakePackedWeight(packed.Unpacked(), context);
  return WithInputs(std::make_unique<PackedWeight>(packed.layer, packed.codes, context),
                    packed.layer);
}

std::unique_ptr<LinearWeight> MakePackedWeight(const QuantizedLinear& layer,
                                               const Context& context) {
  std::unique_ptr<LinearWeight> weight;
  // Integer weights round their inputs themselves, so they take no activation wrapper.
  if (IsIntegerProduct(layer)) {
    return WithTransforms(MakeIntegerWeight(layer, context), layer.transforms);
  }

  if (!HasPackedForm(layer) || layer.in_features == 0) {
    weight = std::make_unique<DequantizedWeight>(layer, context);
  } else {
    weight = std::make_unique<PackedWeight>(layer, std::span<const uint8_t>(), context);
  }
  return WithInputs(std::move(weight), layer);
}

}  // namespace qualm
