// Packs a layer of integer weights and multiplies it with integer inputs by the definition in
// integer_weight.h. The work is cut into tiles of 64 output rows and 64 tokens; int_dot.h has the
// inner loops.
#include "kernels/integer_weight.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "artefact/activations.h"
#include "artefact/quantized_linear.h"
#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "kernels/int_dot.h"

namespace qualm {
namespace {

constexpr size_t kBlockRows = kPanelLanes * kDotPanels;
constexpr size_t kStepBytes = kPanelLanes * kDotStep;
constexpr size_t kRoundInputs =
    512;                     // inputs multiplied at once; longer groups take several rounds
constexpr size_t kUnit = 8;  // inputs that a group's size must be a multiple of
constexpr size_t kLargestGroup = 33025;  // 255·255 of that many fit in 31 bits

size_t RoundUp(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

// The quantized inputs of one call: signed codes padded with zeros, and their sums by group.
struct IntegerInputs {
  std::vector<int8_t> codes;   // [tokens, stride], code − 128
  std::vector<int32_t> sums;   // [tokens, groups]: Σ (code − 128)
  std::vector<float> scales;   // [tokens]
  std::vector<int32_t> zeros;  // [tokens]: zero point − 128; 0 for symmetric 8-bit codes
};

// The packed layer. The constructor packs; each Multiply quantizes its inputs once (Quantize) and
// then fills tiles of the output in parallel (MultiplyTile, which calls AddGroup for each group).
// Codes of up to 4 bits are stored two in a byte and are unpacked tile by tile.
class IntegerWeight final : public LinearWeight {
 public:
  IntegerWeight(const QuantizedLinear& layer, const Context& context)
      : out_(layer.out_features),
        in_(layer.in_features),
        group_(std::min(layer.group_size(), in_)),
        groups_(layer.group_count()),
        // AMX reads tiles of 64 inputs, and may read a whole one at the end of a row.
        stride_(RoundUp(in_, 64)),
        blocks_((out_ + kBlockRows - 1) / kBlockRows),
        has_halves_(layer.scheme.bits <= 4),
        quantizer_(*layer.activations),
        format_(StrCat("int", layer.scheme.bits, "-dot-",
                       layer.scheme.granularity == Granularity::kGroup
                           ? StrCat("g", layer.scheme.group_size)
                           : std::string(NameOf(layer.scheme.granularity)),
                       layer.scheme.is_symmetric() ? "-sym" : "-asym", "*",
                       ActivationShortName(layer.activations->scheme))) {
    codes_ = AlignedArray<uint8_t>(blocks_ * kDotPanels * PanelBytes());
    scales_ = AlignedArray<float>(blocks_ * groups_ * kBlockRows);
    zeros_ = AlignedArray<uint8_t>(blocks_ * groups_ * kBlockRows);
    row_sums_ = AlignedArray<int32_t>(blocks_ * groups_ * kBlockRows);
    context.pool.ParallelFor(blocks_, [&](size_t block) { PackBlock(layer, block); });
  }

  size_t out_features() const override { return out_; }
  size_t in_features() const override { return in_; }
  size_t weight_bytes() const override {
    return codes_.size() + scales_.size() * sizeof(float) + zeros_.size() +
           row_sums_.size() * sizeof(int32_t);
  }
  std::string_view format() const override { return format_; }

  void Multiply(Span2D<const float> x, Span2D<float> y, const Context& context) const override {
    QUALM_CHECK(x.cols() == in_ && y.cols() == out_ && x.rows() == y.rows());
    if (x.rows() == 0) return;
    const IntegerInputs inputs = Quantize(x, context);
    const size_t tiles = (x.rows() + kDotMostTokens - 1) / kDotMostTokens;
    context.pool.ParallelFor(blocks_ * tiles, [&](size_t i) {
      const size_t first = i % tiles * kDotMostTokens;
      MultiplyTile(inputs, i / tiles, first, std::min(kDotMostTokens, x.rows() - first), y);
    });
  }

 private:
  size_t PanelBytes() const { return stride_ * kPanelLanes / (has_halves_ ? 2 : 1); }

  // Packs 64 output rows: their codes and their constants.
  void PackBlock(const QuantizedLinear& layer, size_t block) {
    std::vector<uint8_t> panel(stride_ * kPanelLanes);

    for (size_t p = 0; p < kDotPanels; ++p) {
      std::fill(panel.begin(), panel.end(), uint8_t{0});
      // First one code per byte, four inputs of a row side by side, as the dot products read them.
      for (size_t lane = 0; lane < kPanelLanes; ++lane) {
        const size_t row = block * kBlockRows + p * kPanelLanes + lane;
        PackConstants(layer, block, p * kPanelLanes + lane, row);
        if (row >= out_) continue;
        for (size_t k = 0; k < in_; ++k) {
          panel[k / kDotStep * kStepBytes + lane * kDotStep + k % kDotStep] =
              layer.codes[row * in_ + k];
        }
      }

      // Then, for narrow codes, step 2i + 1 moves into the high halves of step 2i.
      uint8_t* to = codes_.data() + (block * kDotPanels + p) * PanelBytes();
      if (!has_halves_) {
        std::ranges::copy(panel, to);
        continue;
      }
      for (size_t i = 0; i < panel.size() / 2; ++i) {
        const size_t at = i / kStepBytes * 2 * kStepBytes + i % kStepBytes;
        to[i] = static_cast<uint8_t>(panel[at] | (panel[at + kStepBytes] << 4));
      }
    }
  }

  // Scales, zero points and sums of one output row. Rows beyond the matrix get zeros, and their
  // results are never stored.
  void PackConstants(const QuantizedLinear& layer, size_t block, size_t lane, size_t row) {
    const bool exists = row < out_;
    const size_t scale_row = layer.scheme.granularity == Granularity::kTensor ? 0 : row;
    for (size_t g = 0; g < groups_; ++g) {
      const size_t at = (block * groups_ + g) * kBlockRows + lane;
      scales_[at] = exists ? layer.ScaleAt(scale_row, g) : 0.0f;
      zeros_[at] = exists ? static_cast<uint8_t>(layer.ZeroAt(scale_row, g)) : uint8_t{0};

      int32_t sum = 0;  // Σ (c − z)
      const size_t last = exists ? std::min(in_, (g + 1) * group_) : 0;
      for (size_t k = g * group_; k < last; ++k) {
        sum += int32_t{layer.codes[row * in_ + k]} - int32_t{zeros_[at]};
      }
      row_sums_[at] = sum;
    }
  }

  // Quantizes each token. Codes move to the signed range, because the dot product multiplies signed
  // inputs with unsigned weights.
  IntegerInputs Quantize(Span2D<const float> x, const Context& context) const {
    IntegerInputs inputs;
    inputs.codes.resize(x.rows() * stride_);
    inputs.sums.resize(x.rows() * groups_);
    inputs.scales.resize(x.rows());
    inputs.zeros.resize(x.rows());

    context.pool.ParallelFor(x.rows(), [&](size_t t) {
      std::vector<uint8_t> codes(in_);
      const GridPoint point = quantizer_.Quantize(x.row(t), codes);
      inputs.scales[t] = point.scale;
      inputs.zeros[t] = static_cast<int32_t>(point.zero) - 128;

      // Codes of inputs beyond the row stay 0, and so does what they would add.
      int8_t* to = inputs.codes.data() + t * stride_;
      for (size_t k = 0; k < in_; ++k) to[k] = static_cast<int8_t>(int32_t{codes[k]} - 128);

      // The correction for zero points of weights needs Σ x of each group.
      for (size_t g = 0; g < groups_; ++g) {
        int32_t sum = 0;
        for (size_t k = g * group_; k < std::min(in_, (g + 1) * group_); ++k) sum += to[k];
        inputs.sums[t * groups_ + g] = sum;
      }
    });
    return inputs;
  }

  // Tokens [first, first + tokens) times one block of 64 output rows.
  void MultiplyTile(const IntegerInputs& inputs, size_t block, size_t first, size_t tokens,
                    Span2D<float> y) const {
    alignas(64) float totals[kDotMostTokens * kBlockRows];
    alignas(64) int32_t sums[kDotMostTokens * kBlockRows];
    alignas(64) uint8_t unpacked[kDotPanels * kRoundInputs * kPanelLanes];
    std::fill_n(totals, tokens * kBlockRows, 0.0f);

    const uint8_t* const codes = codes_.data() + block * kDotPanels * PanelBytes();
    for (size_t g = 0; g < groups_; ++g) {
      std::fill_n(sums, tokens * kBlockRows, 0);
      // The last group may be filled up with zeros.
      const size_t end = g + 1 == groups_ ? stride_ : (g + 1) * group_;
      // Integer dot products over the whole group, kRoundInputs at a time so that the unpacked
      // codes stay in the innermost cache.
      for (size_t k = g * group_; k < end; k += kRoundInputs) {
        const size_t count = std::min(kRoundInputs, end - k), steps = count / kDotStep;
        const uint8_t* panels = codes + k * kPanelLanes / (has_halves_ ? 2 : 1);
        size_t panel_stride = PanelBytes();

        if (has_halves_) {
          for (size_t p = 0; p < kDotPanels; ++p) {
            UnpackHalves(panels + p * PanelBytes(), count * kPanelLanes / 2,
                         unpacked + p * kRoundInputs * kPanelLanes);
          }
          panels = unpacked;
          panel_stride = kRoundInputs * kPanelLanes;
        }

        IntDotInUse(tokens, steps)
            .function(inputs.codes.data() + first * stride_ + k, stride_, tokens, panels,
                      panel_stride, steps, sums);
      }
      AddGroup(inputs, block, g, first, tokens, sums, totals);
    }

    // The scale of the token comes last and is rounded once. Rows beyond the matrix are dropped.
    const size_t rows = std::min(kBlockRows, out_ - block * kBlockRows);
    for (size_t t = 0; t < tokens; ++t) {
      float* to = y.row(first + t).data() + block * kBlockRows;
      for (size_t l = 0; l < rows; ++l) {
        to[l] = inputs.scales[first + t] * totals[t * kBlockRows + l];
      }
    }
  }

  // Adds scale·(integer sum of group g) to the totals. With x = q − 128: Σ (q − ζ)(c − z) = Σ x·c −
  // z·Σ x − (ζ − 128)·Σ (c − z). The three parts may leave 32 bits but the result does not, so
  // unsigned numbers wrap around to it.
  void AddGroup(const IntegerInputs& inputs, size_t block, size_t g, size_t first, size_t tokens,
                const int32_t* sums, float* totals) const {
    const size_t at = (block * groups_ + g) * kBlockRows;
    const float* const scales = scales_.data() + at;
    const uint8_t* const zeros = zeros_.data() + at;
    const int32_t* const row_sums = row_sums_.data() + at;

    for (size_t t = 0; t < tokens; ++t) {
      const int32_t input_sum = inputs.sums[(first + t) * groups_ + g];
      const int32_t input_zero = inputs.zeros[first + t];
      const int32_t* const sum = sums + t * kBlockRows;
      float* const total = totals + t * kBlockRows;

      // Symmetric inputs need no correction for their zero point.
      if (input_zero == 0) {
        for (size_t l = 0; l < kBlockRows; ++l) {
          const uint32_t dot = uint32_t(sum[l]) - uint32_t{zeros[l]} * uint32_t(input_sum);
          total[l] = std::fma(scales[l], static_cast<float>(static_cast<int32_t>(dot)), total[l]);
        }
        continue;
      }

      for (size_t l = 0; l < kBlockRows; ++l) {
        const uint32_t dot = uint32_t(sum[l]) - uint32_t{zeros[l]} * uint32_t(input_sum) -
                             uint32_t(input_zero) * uint32_t(row_sums[l]);
        total[l] = std::fma(scales[l], static_cast<float>(static_cast<int32_t>(dot)), total[l]);
      }
    }
  }

  size_t out_, in_, group_, groups_, stride_, blocks_;
  bool has_halves_;  // two codes in a byte
  ActivationQuantizer quantizer_;
  std::string format_;
  AlignedArray<uint8_t> codes_;     // [block][panel][step][16][4], or half of that
  AlignedArray<float> scales_;      // [block][group][64]
  AlignedArray<uint8_t> zeros_;     // [block][group][64]
  AlignedArray<int32_t> row_sums_;  // [block][group][64]: Σ (c − z)
};

}  // namespace

bool IsIntegerProduct(const QuantizedLinear& layer) {
  if (!layer.activations || layer.scheme.type != NumberType::kInteger ||
      layer.scheme.zero_point == ZeroPointKind::kFloat ||
      layer.scheme.zero_point == ZeroPointKind::kOffset || layer.second_level_zeros) {
    return false;
  }
  // A sum of codes cannot round each weight.
  if (!layer.value_form.is_plain()) return false;

  const Scheme& inputs = layer.activations->scheme;
  return inputs.type == NumberType::kInteger && inputs.granularity != Granularity::kGroup &&
         layer.bits_per_group.empty() && layer.g_idx.empty() && !layer.outliers &&
         !layer.float_columns && std::min(layer.group_size(), layer.in_features) <= kLargestGroup;
}

std::unique_ptr<LinearWeight> MakeIntegerWeight(const QuantizedLinear& layer,
                                                const Context& context) {
  QUALM_CHECK(IsIntegerProduct(layer));
  const bool has_place = layer.group_count() == 1 || layer.group_size() % kUnit == 0;
  if (!has_place || layer.in_features == 0) return MakePlainIntegerWeight(layer);
  return std::make_unique<IntegerWeight>(layer, context);
}

}  // namespace qualm
