// What a quantized layer means (its dequantized weight), and how many bytes it takes. The checks of
// a layer that was read from a file are in quantized_linear_checks.cc.
#include "artefact/quantized_linear.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "artefact/codebook.h"

namespace qualm {
namespace {

size_t CeilDivide(size_t a, size_t b) { return a / b + (a % b != 0 ? 1 : 0); }

// scale·(code - zero) of the second level.
float SecondLevelValue(const SecondLevelValues& values, size_t row, size_t group, size_t groups,
                       int group_rows) {
  const size_t block = row / static_cast<size_t>(group_rows) * groups + group;
  return values.scales[block] *
         (static_cast<float>(values.codes[row * groups + group]) - values.zeros[block]);
}

uint64_t SecondLevelBytes(const QuantizedLinear& q, const SecondLevelValues& values) {
  return q.out_features * PackedRowBytes(q.group_count(), q.scheme.second_level->bits) +
         (values.scales.size() + values.zeros.size()) * SizeOf(q.scheme.scale_type);
}

// Zero points of integers take the width of the widest group in every row.
uint64_t ZeroBytes(const QuantizedLinear& q) {
  if (q.zeros.empty()) return 0;
  if (q.scheme.zero_point != ZeroPointKind::kInteger) {  // floats: zero points or offsets
    return q.zeros.size() * SizeOf(q.scheme.scale_type);
  }

  // A single zero point takes a byte.
  if (q.scheme.granularity == Granularity::kTensor) return 1;
  int bits = 0;
  for (size_t group = 0; group < q.group_count(); ++group) {
    bits = std::max(bits, q.BitsOfGroup(group));
  }
  return q.out_features * PackedRowBytes(q.group_count(), bits);
}

}  // namespace

float QuantizedLinear::ScaleAt(size_t row, size_t group) const {
  if (second_level_scales) {
    return SecondLevelValue(*second_level_scales, row, group, group_count(),
                            scheme.second_level->group_rows);
  }
  const float scale =
      scheme.granularity == Granularity::kTensor ? scales[0] : scales[row * group_count() + group];
  return tensor_scale_divides ? scale / tensor_scale : scale * tensor_scale;  // exact if it is 1
}

float QuantizedLinear::ValueOf(uint8_t code) const {
  if (scheme.type == NumberType::kInteger) return static_cast<float>(code);
  return scheme.type == NumberType::kTable ? table[code] : Codebook::Of(scheme.type).Value(code);
}

float QuantizedLinear::ZeroAt(size_t row, size_t group) const {
  if (second_level_zeros) {
    return SecondLevelValue(*second_level_zeros, row, group, group_count(),
                            scheme.second_level->group_rows);
  }
  if (scheme.type != NumberType::kInteger && zeros.empty()) return 0;
  // The implied zero point is the middle of the codes.
  if (zeros.empty()) return static_cast<float>(1 << (BitsOfGroup(group) - 1));
  return scheme.granularity == Granularity::kTensor ? zeros[0] : zeros[row * group_count() + group];
}

void QuantizedLinear::DequantizeRow(size_t row, std::span<float> out) const {
  QUALM_CHECK(row < out_features && out.size() == in_features);
  const uint8_t* code = codes.data() + row * in_features;

  // The scales and zero points of the row, one for each group.
  const size_t size = group_size(), groups = group_count();
  std::vector<float> scale(groups), zero(groups);
  for (size_t group = 0; group < groups; ++group) {
    scale[group] = ScaleAt(row, group);
    zero[group] = ZeroAt(row, group);
  }

  // What each code stands for.
  std::array<float, 256> values{};
  const size_t codes_count = table.empty() ? values.size() : table.size();
  for (size_t q = 0; q < codes_count; ++q) values[q] = ValueOf(static_cast<uint8_t>(q));
  const bool has_offset = scheme.zero_point == ZeroPointKind::kOffset;

  // Groups follow one another unless the columns were permuted.
  for (size_t group = 0, col = 0; col < in_features; ++col) {
    if (!g_idx.empty()) {
      group = g_idx[col];
    } else if (col == (group + 1) * size) {
      ++group;
    }
    const float value = values[code[col]];
    if (has_offset) {
      out[col] = value_form.Of(std::fma(scale[group], value, zero[group]));
      continue;
    }
    float difference = value - zero[group];  // without a zero point it subtracts 0
    if (value_form.rounds_difference) difference = RoundTo(difference, value_form.type);
    out[col] = value_form.Of(scale[group] * difference);
  }

  // Weights in higher precision replace what the codes gave.
  if (outliers) {
    for (uint32_t i = outliers->row_start[row]; i < outliers->row_start[row + 1]; ++i) {
      out[outliers->column[i]] = ToFloat(outliers->value[i]);
    }
  }

  // Columns in higher precision come last, so they win over outliers.
  if (!float_columns) return;
  const size_t count = float_columns->column.size();
  for (size_t i = 0; i < count; ++i) {
    out[float_columns->column[i]] = ToFloat(float_columns->value[row * count + i]);
  }
}

Matrix QuantizedLinear::Dequantize() const {
  Matrix weight = Matrix::Uninitialized(out_features, in_features);
  for (size_t row = 0; row < out_features; ++row) DequantizeRow(row, weight.row(row));
  return weight;
}

uint64_t QuantizedLinear::StoredBytes() const {
  uint64_t row_bits = 0;
  for (size_t group = 0; group < group_count(); ++group) {
    // g_idx keeps the sizes of the groups, so it does not matter here.
    const size_t columns = std::min(group_size(), in_features - group * group_size());
    row_bits += columns * static_cast<size_t>(BitsOfGroup(group));
  }

  // Codes are packed row by row.
  uint64_t bytes = out_features * CeilDivide(row_bits, 8);

  // Then scales and zero points, in their stored types.
  bytes += scales.size() * StoredScaleBytes(scheme) + ZeroBytes(*this);
  if (scheme.type == NumberType::kNvfp4) bytes += sizeof(tensor_scale);
  bytes += table.size() * sizeof(float);

  // Everything else is stored as it is in memory.
  bytes += bits_per_group.size() + g_idx.size() * sizeof(uint32_t);
  if (second_level_scales) bytes += SecondLevelBytes(*this, *second_level_scales);
  if (second_level_zeros) bytes += SecondLevelBytes(*this, *second_level_zeros);
  if (outliers) {
    bytes += (outliers->row_start.size() + outliers->column.size()) * sizeof(uint32_t) +
             outliers->value.size() * sizeof(Half);
  }
  if (float_columns) {
    bytes += float_columns->column.size() * sizeof(uint32_t) +
             float_columns->value.size() * sizeof(Half);
  }

  for (const OnlineTransform& transform : transforms) {
    bytes += sizeof(transform.seed) + transform.dims.size() * sizeof(uint32_t) +
             transform.factors.size() * sizeof(float);
  }
  return bytes;
}

double QuantizedLinear::BitsPerWeight() const {
  const double weights = static_cast<double>(out_features) * static_cast<double>(in_features);
  return weights == 0 ? 0 : 8 * static_cast<double>(StoredBytes()) / weights;
}

EnumNames NamesOfEnum(OnlineTransform::Kind) {
  static constexpr std::array<std::string_view, 5> kNames = {"scale", "shift", "hadamard",
                                                             "kronecker", "matrix"};
  return {"transform", kNames};
}

EnumNames NamesOfEnum(OnlineTransform::Side) {
  static constexpr std::array<std::string_view, 2> kNames = {"input", "output"};
  return {"side", kNames};
}

}  // namespace qualm
