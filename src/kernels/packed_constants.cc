#include "kernels/packed_constants.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "artefact/codebook.h"
#include "artefact/quantized_linear.h"
#include "base/error.h"
#include "tensor/panels.h"

namespace qualm {
namespace {

ConstantCoding CodingOf(DType type) {
  switch (type) {
    case DType::kF16:
      return ConstantCoding::kF16;
    case DType::kBF16:
      return ConstantCoding::kBF16;
    default:
      return ConstantCoding::kF32;
  }
}

// All rows of a panel share the second level's numbers if blocks of rows are whole panels.
ConstantCoding CodingOfSecondLevel(const SecondLevel& level) {
  return static_cast<size_t>(level.group_rows) % kPanelRows == 0 ? ConstantCoding::kSecondLevel
                                                                 : ConstantCoding::kF32;
}

ConstantCoding ScaleCodingOf(const QuantizedLinear& layer) {
  if (layer.second_level_scales) return CodingOfSecondLevel(*layer.scheme.second_level);
  if (layer.scheme.type == NumberType::kMxfp4) return ConstantCoding::kPowerOfTwo;
  if (layer.scheme.type == NumberType::kNvfp4) return ConstantCoding::kE4m3;
  return CodingOf(layer.scheme.scale_type);
}

ConstantCoding ZeroCodingOf(const QuantizedLinear& layer) {
  if (layer.second_level_zeros) return CodingOfSecondLevel(*layer.scheme.second_level);
  if (layer.zeros.empty()) return ConstantCoding::kImplied;
  return layer.scheme.zero_point == ZeroPointKind::kFloat ? CodingOf(layer.scheme.scale_type)
                                                          : ConstantCoding::kByte;
}

CodeValue ValueOf(NumberType type) {
  switch (type) {
    case NumberType::kInteger:
      return CodeValue::kWhole;
    case NumberType::kNf4:
    case NumberType::kMxfp4:
    case NumberType::kNvfp4:
      return CodeValue::kTable;
    case NumberType::kFp8E4m3:
    case NumberType::kFp8E4m3Ieee:  // the same where they are numbers
      return CodeValue::kE4m3;
    case NumberType::kFp8E5m2:
      return CodeValue::kE5m2;
  }
  internal::CheckFailed("a number type", __FILE__, __LINE__);
}

// A 16-bit float has at most 11 significant bits and a zero point 8, so their product is exact if
// it is finite, and so are scales by 2^-24 if they are not tiny. Scales of 0 or below would give
// zeros of the other sign.
bool IsFused(const QuantizedLinear& layer, const PackedForm& form) {
  constexpr float kSmallest = 0x1.0p-90f, kLargest = std::numeric_limits<float>::max() / 255;
  const bool is_narrow = form.scale == ConstantCoding::kF16 || form.scale == ConstantCoding::kBF16;
  const bool is_whole = form.zero == ConstantCoding::kImplied || form.zero == ConstantCoding::kByte;
  return form.value == CodeValue::kWhole && is_narrow && is_whole &&
         std::ranges::all_of(layer.scales,
                             [](float scale) { return scale > kSmallest && scale < kLargest; });
}

// Writes one lane's value; the other codings have nothing of a lane's own.
void PackLane(ConstantCoding coding, float value, size_t lane, uint8_t* to) {
  switch (coding) {
    case ConstantCoding::kByte:
      to[lane] = static_cast<uint8_t>(value);
      return;
    case ConstantCoding::kF16:
      ConvertFromFloat(&value, DType::kF16, to + lane * 2, 1);
      return;
    case ConstantCoding::kBF16:
      ConvertFromFloat(&value, DType::kBF16, to + lane * 2, 1);
      return;
    case ConstantCoding::kF32:
      std::memcpy(to + lane * sizeof(float), &value, sizeof(float));
      return;
    case ConstantCoding::kPowerOfTwo:
      to[lane] = EncodeByteScale(NumberType::kMxfp4, value);
      return;
    case ConstantCoding::kE4m3:
      to[lane] = EncodeByteScale(NumberType::kNvfp4, value);
      return;
    case ConstantCoding::kImplied:
    case ConstantCoding::kSecondLevel:
      return;
  }
}

void PackSecondLevel(const SecondLevelValues& values, const SecondLevel& level, size_t groups,
                     size_t panel, size_t group, size_t last_row, uint8_t* to) {
  const size_t first_row = panel * kPanelRows;
  const size_t block = first_row / static_cast<size_t>(level.group_rows) * groups + group;
  std::memcpy(to, &values.scales[block], sizeof(float));
  std::memcpy(to + sizeof(float), &values.zeros[block], sizeof(float));
  for (size_t lane = 0; lane < kPanelRows; ++lane) {
    const size_t row = std::min(first_row + lane, last_row);
    to[2 * sizeof(float) + lane] = values.codes[row * groups + group];
  }
}

}  // namespace

PackedForm PackedFormOf(const QuantizedLinear& layer) {
  PackedForm form;
  form.bits = layer.BitsOfGroup(0);
  form.value = ValueOf(layer.scheme.type);
  form.group_size = layer.group_size();
  form.scale = ScaleCodingOf(layer);
  form.zero = ZeroCodingOf(layer);
  form.scale_record = BytesOf(form.scale);
  form.zero_record = BytesOf(form.zero);
  form.implied_zero = form.zero == ConstantCoding::kImplied ? layer.ZeroAt(0, 0) : 0;
  form.tensor_scale = layer.tensor_scale;
  form.fused = IsFused(layer, form);
  if (form.value == CodeValue::kTable) {
    const Codebook& book = Codebook::Of(layer.scheme.type);
    for (size_t code = 0; code < form.table.size(); ++code) {
      form.table[code] = book.Value(static_cast<uint8_t>(code));
    }
  }
  return form;
}

size_t RecordsOf(const QuantizedLinear& layer) {
  return layer.scheme.granularity == Granularity::kTensor ? 1 : layer.group_count();
}

void PackConstants(const QuantizedLinear& layer, const PackedForm& form, size_t panel,
                   uint8_t* to) {
  const size_t groups = RecordsOf(layer), last_row = layer.out_features - 1;
  const bool is_tensor = layer.scheme.granularity == Granularity::kTensor;
  for (size_t group = 0; group < groups; ++group, to += form.ConstantBytes()) {
    uint8_t* zeros = to + form.scale_record;
    if (form.scale == ConstantCoding::kSecondLevel) {
      PackSecondLevel(*layer.second_level_scales, *layer.scheme.second_level, groups, panel, group,
                      last_row, to);
    }
    if (form.zero == ConstantCoding::kSecondLevel) {
      PackSecondLevel(*layer.second_level_zeros, *layer.scheme.second_level, groups, panel, group,
                      last_row, zeros);
    }
    for (size_t lane = 0; lane < kPanelRows; ++lane) {
      const size_t row = is_tensor ? 0 : std::min(panel * kPanelRows + lane, last_row);
      // Byte scales are kept without the tensor's scale.
      const float scale = form.scale == ConstantCoding::kE4m3 ? layer.scales[row * groups + group]
                                                              : layer.ScaleAt(row, group);
      PackLane(form.scale, scale, lane, to);
      PackLane(form.zero, layer.ZeroAt(row, group), lane, zeros);
    }
  }
}

}  // namespace qualm
