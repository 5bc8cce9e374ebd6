// Chooses how the scales and zero points of a layer are stored in its panels, and writes them. The
// rule: the narrowest coding in which every value is exact, because the product with the packed
// weight must have the bits of the product with the dequantized one.
#include "kernels/packed_constants.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "artefact/codebook.h"
#include "artefact/quantized_linear.h"
#include "base/error.h"
#include "tensor/panels.h"

namespace qualm {
namespace {

// The scheme's type for scales, as a coding of panel constants.
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

// If the second level's blocks of rows are whole panels, all rows of a panel share its numbers.
// Otherwise the scales are expanded to float32.
ConstantCoding CodingOfSecondLevel(const SecondLevel& level) {
  return static_cast<size_t>(level.group_rows) % kPanelLanes == 0 ? ConstantCoding::kSecondLevel
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
  return layer.scheme.zero_point == ZeroPointKind::kInteger ? ConstantCoding::kByte
                                                            : CodingOf(layer.scheme.scale_type);
}

// What a code of this number type is before scale and zero point are applied.
CodeValue ValueOf(const Scheme& scheme) {
  switch (scheme.type) {
    case NumberType::kInteger:
      return CodeValue::kWhole;
    case NumberType::kNf4:
    case NumberType::kMxfp4:
    case NumberType::kNvfp4:
      return CodeValue::kTable;
    case NumberType::kTable:
      return scheme.bits == 4 ? CodeValue::kTable : CodeValue::kWideTable;
    case NumberType::kFp8E4m3:
    case NumberType::kFp8E4m3Ieee:  // differs from kFp8E4m3 only in codes that are not numbers
      return CodeValue::kE4m3;
    case NumberType::kFp8E5m2:
      return CodeValue::kE5m2;
  }
  internal::CheckFailed("a number type", __FILE__, __LINE__);
}

// Whether a weight may be computed as one fused operation without changing its value. A 16-bit
// float has at most 11 significant bits and a zero point has 8, so their product is exact if it is
// finite; scaling by 2^-24 is exact if the scale is not tiny. With an offset the operation is fused
// by definition, so only the scaling matters. Where the code is the zero point, a negative scale
// gives +0 instead of -0; a difference that is rounded first cannot be fused.
bool IsFused(const QuantizedLinear& layer, const PackedForm& form) {
  if (form.value != CodeValue::kWhole || layer.second_level_scales) return false;
  if (!form.zero_is_offset) {
    const bool is_narrow =
        form.scale == ConstantCoding::kF16 || form.scale == ConstantCoding::kBF16;
    const bool is_whole =
        form.zero == ConstantCoding::kImplied || form.zero == ConstantCoding::kByte;
    if (!is_narrow || !is_whole || layer.value_form.rounds_difference) return false;
  }

  constexpr float kSmallest = 0x1.0p-90f, kLargest = std::numeric_limits<float>::max() / 255;
  return std::ranges::all_of(layer.scales, [](float scale) {
    const float size = std::abs(scale);
    return size == 0 || (size > kSmallest && size < kLargest);
  });
}

// Writes the value of one lane. Codings without a value per lane write nothing.
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
    // Stored by no lane: implied constants need no bytes, second-level ones are written as a
    // record.
    case ConstantCoding::kImplied:
    case ConstantCoding::kSecondLevel:
      return;
  }
}

// Writes one record of 16 second-level constants: the scale and zero that the panel shares, then
// one byte for each row. Lanes beyond the last row repeat it.
void PackSecondLevel(const SecondLevelValues& values, const SecondLevel& level, size_t groups,
                     size_t panel, size_t group, size_t last_row, uint8_t* to) {
  const size_t first_row = panel * kPanelLanes;
  const size_t block = first_row / static_cast<size_t>(level.group_rows) * groups + group;
  std::memcpy(to, &values.scales[block], sizeof(float));
  std::memcpy(to + sizeof(float), &values.zeros[block], sizeof(float));

  for (size_t lane = 0; lane < kPanelLanes; ++lane) {
    const size_t row = std::min(first_row + lane, last_row);
    to[2 * sizeof(float) + lane] = values.codes[row * groups + group];
  }
}

}  // namespace

PackedForm PackedFormOf(const QuantizedLinear& layer) {
  PackedForm form;
  form.bits = layer.BitsOfGroup(0);
  form.value = ValueOf(layer.scheme);
  form.group_size = layer.group_size();

  // The codings come first: the sizes of the records and the fused path follow from them.
  form.scale = ScaleCodingOf(layer);
  form.zero = ZeroCodingOf(layer);
  form.zero_is_offset = layer.scheme.zero_point == ZeroPointKind::kOffset;
  form.scale_record = BytesOf(form.scale);
  form.zero_record = BytesOf(form.zero);
  form.implied_zero = form.zero == ConstantCoding::kImplied ? layer.ZeroAt(0, 0) : 0;
  form.tensor_scale = layer.tensor_scale;
  form.tensor_scale_divides = layer.tensor_scale_divides;
  form.value_form = layer.value_form;
  form.fused = IsFused(layer, form);

  // 4-bit table codes index these 16 values; the kernels keep them in one or two registers.
  if (form.value == CodeValue::kTable) {
    for (size_t code = 0; code < form.table.size(); ++code) {
      form.table[code] = layer.ValueOf(static_cast<uint8_t>(code));
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

    // Second-level constants are written for the whole record; PackLane skips them below.
    if (form.scale == ConstantCoding::kSecondLevel) {
      PackSecondLevel(*layer.second_level_scales, *layer.scheme.second_level, groups, panel, group,
                      last_row, to);
    }
    if (form.zero == ConstantCoding::kSecondLevel) {
      PackSecondLevel(*layer.second_level_zeros, *layer.scheme.second_level, groups, panel, group,
                      last_row, zeros);
    }

    for (size_t lane = 0; lane < kPanelLanes; ++lane) {
      const size_t row = is_tensor ? 0 : std::min(panel * kPanelLanes + lane, last_row);
      // E4m3 bytes are stored without the tensor's scale; the kernels multiply it in.
      const float scale = form.scale == ConstantCoding::kE4m3 ? layer.scales[row * groups + group]
                                                              : layer.ScaleAt(row, group);
      PackLane(form.scale, scale, lane, to);
      PackLane(form.zero, layer.ZeroAt(row, group), lane, zeros);
    }
  }
}

}  // namespace qualm
