// All checks of a layer that was read from a file, in one function for each part of the layer. A
// layer that passes Validate can be used by every kernel without further checks.
#include <algorithm>
#include <cmath>
#include <limits>

#include "artefact/codebook.h"
#include "artefact/packed_linear.h"
#include "artefact/quantized_linear.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "tensor/rotation.h"

namespace qualm {
namespace {

bool IsRoundedTo(float value, DType type) { return RoundTo(value, type) == value; }

// Whether the scale is exactly a value that the file can hold.
bool IsStoredScale(float scale, const Scheme& scheme) {
  if (!HasByteScales(scheme.type)) return IsRoundedTo(scale, scheme.scale_type);
  // Bytes are checked by a round trip.
  return DecodeByteScale(scheme.type, EncodeByteScale(scheme.type, scale)) == scale;
}

void RequireCount(std::string_view what, size_t expected, size_t got) {
  if (expected != got) {
    ThrowExpected(StrCat(expected, " ", what), StrCat(got));
  }
}

// rows·cols, both read from a file; the product must not overflow.
size_t CheckedProduct(size_t rows, size_t cols) {
  if (cols != 0 && rows > std::numeric_limits<size_t>::max() / cols) {
    ThrowExpected("a matrix that fits into memory", StrCat(rows, " x ", cols));
  }
  return rows * cols;
}

size_t ScaleCount(const QuantizedLinear& q) {
  return q.scheme.granularity == Granularity::kTensor ? 1 : q.out_features * q.group_count();
}

// The scheme, and what only weights must satisfy.
void ValidateScheme(const QuantizedLinear& q) {
  q.scheme.Validate();
  // A format has a fixed width.
  if (q.scheme.type != NumberType::kInteger && !q.bits_per_group.empty()) {
    ThrowExpected("bits_per_group with integers only", NameOf(q.scheme.type));
  }

  // Only nvfp4 has a scale for the whole tensor.
  const bool has_tensor_scale = q.scheme.type == NumberType::kNvfp4;
  if (!std::isfinite(q.tensor_scale) || q.tensor_scale <= 0 ||
      (!has_tensor_scale && q.tensor_scale != 1)) {
    ThrowExpected(has_tensor_scale ? "a finite positive tensor_scale" : "tensor_scale 1",
                  StrCat(q.tensor_scale));
  }
  if (q.tensor_scale_divides && !has_tensor_scale) {
    ThrowExpected("no tensor scale that divides", NameOf(q.scheme.type));
  }
  if (q.scheme.granularity == Granularity::kToken || q.scheme.dynamic) {
    ThrowExpected("a static scheme per tensor, channel or group",
                  q.scheme.dynamic ? "a dynamic one" : "one per token", "weights have no tokens");
  }
}

// The values of a layer's own table.
void ValidateTable(const QuantizedLinear& q) {
  const bool has_table = q.scheme.type == NumberType::kTable;
  RequireCount("values of the table", has_table ? size_t{1} << q.scheme.bits : 0, q.table.size());
  for (const float value : q.table) {
    if (!std::isfinite(value)) ThrowExpected("finite values of the table", StrCat(value));
  }
}

// What happens to a weight after scale and zero point.
void ValidateValueForm(const QuantizedLinear& q) {
  const ValueForm& form = q.value_form;
  if (form.type != DType::kF32 && form.type != DType::kF16 && form.type != DType::kBF16) {
    ThrowExpected("a value type F32, F16 or BF16", NameOf(form.type));
  }
  if (!std::isfinite(form.factor) || form.factor == 0) {
    ThrowExpected("a finite factor of the values other than 0", StrCat(form.factor));
  }
  if (form.rounds_difference && q.scheme.zero_point == ZeroPointKind::kOffset) {
    ThrowExpected("a zero point, whose difference is rounded", NameOf(q.scheme.zero_point));
  }
}

// Bits of groups, and the permutation of columns.
void ValidateGroups(const QuantizedLinear& q) {
  const size_t groups = q.group_count();
  if (!q.bits_per_group.empty()) {
    RequireCount("entries of bits_per_group", groups, q.bits_per_group.size());
    for (uint8_t bits : q.bits_per_group) {
      if (bits < 1 || bits > 8) ThrowExpected("bits_per_group in 1..8", StrCat(int{bits}));
    }
  }

  // Without a permutation the groups follow from the sizes.
  if (q.g_idx.empty()) return;
  RequireCount("entries of g_idx", q.in_features, q.g_idx.size());
  // Permuted columns fill the same groups: each group has its size, and the last one has the rest.
  std::vector<size_t> members(groups, 0);
  for (uint32_t group : q.g_idx) {
    if (group >= groups) {
      ThrowExpected(StrCat("g_idx below ", groups), StrCat(group));
    }
    ++members[group];
  }

  for (size_t group = 0; group < groups; ++group) {
    const size_t expected = std::min(q.group_size(), q.in_features - group * q.group_size());
    if (members[group] != expected) {
      ThrowExpected(StrCat(expected, " columns of group ", group), StrCat(members[group]));
    }
  }
}

// Every code is in the range of its group's bits, and is a number of its format.
void ValidateCodes(const QuantizedLinear& q) {
  RequireCount("codes", CheckedProduct(q.out_features, q.in_features), q.codes.size());

  // The largest code of each column is found once for all rows.
  std::vector<uint8_t> largest(q.in_features);
  for (size_t col = 0; col < q.in_features; ++col) {
    largest[col] = static_cast<uint8_t>((1 << q.BitsOfGroup(q.GroupOfColumn(col))) - 1);
  }

  // Formats have codes that mean NaN, which no weight may have.
  const bool is_format =
      q.scheme.type != NumberType::kInteger && q.scheme.type != NumberType::kTable;
  const Codebook* book = is_format ? &Codebook::Of(q.scheme.type) : nullptr;

  for (size_t row = 0; row < q.out_features; ++row) {
    for (size_t col = 0; col < q.in_features; ++col) {
      const uint8_t code = q.codes[row * q.in_features + col];
      if (code > largest[col]) {
        ThrowExpected(StrCat("codes up to ", int{largest[col]}), StrCat(int{code}),
                      StrCat("at row ", row, ", column ", col));
      }
      if (book != nullptr && std::isnan(book->Value(code))) {
        ThrowExpected(StrCat("codes that are numbers of ", NameOf(q.scheme.type)),
                      StrCat(int{code}), StrCat("at row ", row, ", column ", col));
      }
    }
  }
}

// Whether packed codes of one width need no closer look: every code of that width is a number, or
// there is none that means NaN. NaNs are the largest magnitudes of the 8-bit floats.
bool HasOnlyNumbers(const Scheme& scheme, std::span<const uint8_t> packed) {
  if (scheme.type == NumberType::kInteger || scheme.type == NumberType::kTable) return true;
  const Codebook& book = Codebook::Of(scheme.type);
  if (book.bits() != 8) return true;  // the formats of 4 bits have numbers only

  uint8_t first = 0;
  while (first < 128 && !std::isnan(book.Value(first))) ++first;
  uint8_t has_nan = 0;  // without a branch, so that the loop takes many codes at once
  for (const uint8_t code : packed) has_nan |= static_cast<uint8_t>((code & 0x7f) >= first);
  return has_nan == 0;
}

// Sizes and values of a second level.
void ValidateSecondLevel(const QuantizedLinear& q, const SecondLevelValues& values,
                         std::string_view what) {
  if (!q.scheme.second_level) {
    ThrowExpected(StrCat("no second level of ", what), "one", "the scheme does not name it");
  }
  const SecondLevel& level = *q.scheme.second_level;
  // One code for each row and group; one scale and zero for each block of rows.
  const size_t groups = q.group_count();
  const auto group_rows = static_cast<size_t>(level.group_rows);
  const size_t blocks = q.out_features / group_rows + (q.out_features % group_rows != 0 ? 1 : 0);
  RequireCount(StrCat("second level codes of ", what), q.out_features * groups,
               values.codes.size());
  RequireCount(StrCat("second level scales of ", what), blocks * groups, values.scales.size());
  RequireCount(StrCat("second level zeros of ", what), blocks * groups, values.zeros.size());

  // Codes must fit their width.
  for (uint8_t code : values.codes) {
    if (code >> level.bits != 0) {
      ThrowExpected(StrCat("second level codes of ", level.bits, " bits"), StrCat(int{code}));
    }
  }

  // Scales and zeros must be exact in their stored type.
  for (const std::vector<float>* list : {&values.scales, &values.zeros}) {
    for (float value : *list) {
      if (!std::isfinite(value) || !IsRoundedTo(value, q.scheme.scale_type)) {
        ThrowExpected(
            StrCat("finite second level values that are exact in ", NameOf(q.scheme.scale_type)),
            StrCat(value));
      }
    }
  }
}

// Scales must be exact in their stored type; otherwise writing the layer would change it. They may
// be negative (AutoRound), or 0 where a library let them underflow.
void ValidateScales(const QuantizedLinear& q) {
  if (q.second_level_scales) {
    ValidateSecondLevel(q, *q.second_level_scales, "scales");
    RequireCount("scales beside their second level", 0, q.scales.size());
    return;
  }

  // Without a second level every group has its scale.
  RequireCount("scales", ScaleCount(q), q.scales.size());
  for (float scale : q.scales) {
    if (!std::isfinite(scale) || !IsStoredScale(scale, q.scheme)) {
      ThrowExpected(StrCat("finite scales that are exact in ",
                           HasByteScales(q.scheme.type) ? "a byte" : NameOf(q.scheme.scale_type)),
                    StrCat(scale));
    }
  }
}

// Zero points: none, whole numbers in the range of the codes, or floats exact in their type.
void ValidateZeros(const QuantizedLinear& q) {
  const ZeroPointKind kind = q.scheme.zero_point;
  if (q.second_level_zeros) {
    ValidateSecondLevel(q, *q.second_level_zeros, "zeros");
    if (kind != ZeroPointKind::kFloat) {
      ThrowExpected("float zero points with a second level", NameOf(kind));
    }
    RequireCount("zeros beside their second level", 0, q.zeros.size());
    return;
  }

  // One zero point for each scale, or none.
  RequireCount("zeros", kind == ZeroPointKind::kNone ? 0 : ScaleCount(q), q.zeros.size());
  const size_t groups = q.scheme.granularity == Granularity::kTensor ? 1 : q.group_count();
  // A whole zero point is a code of its group.
  for (size_t i = 0; i < q.zeros.size(); ++i) {
    const float zero = q.zeros[i];
    if (kind == ZeroPointKind::kInteger) {
      const int largest = (1 << q.BitsOfGroup(i % groups)) - 1;
      if (!(zero >= 0 && zero <= static_cast<float>(largest)) || zero != std::trunc(zero)) {
        ThrowExpected(StrCat("whole zero points in 0..", largest), StrCat(zero));
      }
    } else if (!std::isfinite(zero) || !IsRoundedTo(zero, q.scheme.scale_type)) {
      ThrowExpected(
          StrCat("finite zero points or offsets that are exact in ", NameOf(q.scheme.scale_type)),
          StrCat(zero));
    }
  }
}

// Outliers in compressed rows: row starts rise to the number of entries, columns rise in a row.
void ValidateOutliers(const QuantizedLinear& q) {
  const Outliers& outliers = *q.outliers;
  RequireCount("row starts of outliers", q.out_features + 1, outliers.row_start.size());
  RequireCount("values of outliers", outliers.column.size(), outliers.value.size());
  // The row starts must span all entries, before they are used as indices.
  if (outliers.row_start.front() != 0 || outliers.row_start.back() != outliers.column.size()) {
    ThrowExpected(StrCat("row starts of outliers from 0 to ", outliers.column.size()),
                  StrCat(outliers.row_start.front(), " to ", outliers.row_start.back()));
  }

  // Within a row, every column occurs once, in order.
  for (size_t row = 0; row < q.out_features; ++row) {
    const uint32_t first = outliers.row_start[row], end = outliers.row_start[row + 1];
    if (end < first || end > outliers.column.size()) {
      ThrowExpected("rising row starts of outliers", StrCat(first, " then ", end),
                    StrCat("at row ", row));
    }
    for (uint32_t i = first; i < end; ++i) {
      if (outliers.column[i] >= q.in_features ||
          (i > first && outliers.column[i] <= outliers.column[i - 1])) {
        ThrowExpected(StrCat("rising outlier columns below ", q.in_features),
                      StrCat(outliers.column[i]), StrCat("at row ", row));
      }
      if (!std::isfinite(ToFloat(outliers.value[i]))) {
        ThrowExpected("finite outliers", StrCat(ToFloat(outliers.value[i])),
                      StrCat("at row ", row));
      }
    }
  }
}

// Columns in higher precision: rising, and finite.
void ValidateFloatColumns(const QuantizedLinear& q) {
  const FloatColumns& columns = *q.float_columns;
  RequireCount("values of float columns", CheckedProduct(q.out_features, columns.column.size()),
               columns.value.size());

  // A column that occurs twice would have two values.
  for (size_t i = 0; i < columns.column.size(); ++i) {
    if (columns.column[i] >= q.in_features ||
        (i > 0 && columns.column[i] <= columns.column[i - 1])) {
      ThrowExpected(StrCat("rising float columns below ", q.in_features),
                    StrCat(columns.column[i]));
    }
  }

  // The values replace weights, so they must be numbers.
  for (Half value : columns.value) {
    if (std::isfinite(ToFloat(value))) continue;
    ThrowExpected("finite float columns", StrCat(ToFloat(value)));
  }
}

// Checks the two Kronecker factors, which are stored one after the other.
void ValidateKronecker(const OnlineTransform& transform, size_t size) {
  RequireCount("Kronecker sizes", 2, transform.dims.size());
  // Divide instead of multiplying, so that hostile sizes cannot overflow.
  size_t product = 1, values = 0;
  for (uint32_t dim : transform.dims) {
    if (dim == 0 || dim > size || product > size / dim) {
      ThrowExpected(StrCat("Kronecker sizes with the product ", size), StrCat(dim));
    }
    product *= dim;
    values += size_t{dim} * dim;
  }

  if (product != size) {
    ThrowExpected(StrCat("Kronecker sizes with the product ", size), StrCat(product));
  }
  RequireCount("Kronecker factors", values, transform.factors.size());
}

// The factors of a transform, and what its kind requires.
void ValidateTransform(const QuantizedLinear& q, const OnlineTransform& transform) {
  const size_t size =
      transform.side == OnlineTransform::Side::kInput ? q.in_features : q.out_features;

  for (float factor : transform.factors) {
    if (!std::isfinite(factor)) ThrowExpected("finite transform factors", StrCat(factor));
  }

  // How many factors and sizes there must be depends on the kind.
  switch (transform.kind) {
    case OnlineTransform::Kind::kScale:
      RequireCount("transform factors", size, transform.factors.size());
      if (std::ranges::find(transform.factors, 0.0f) != transform.factors.end()) {
        ThrowExpected("scale factors other than 0", "0", "inputs are divided by them");
      }
      return;
    case OnlineTransform::Kind::kShift:
      RequireCount("transform factors", size, transform.factors.size());
      return;
    case OnlineTransform::Kind::kHadamard:
      RequireCount("Hadamard block size", 1, transform.dims.size());
      if (!HasHadamard(transform.dims[0]) || size % transform.dims[0] != 0) {
        ThrowExpected(StrCat("a size of Hadamard matrices that divides ", size),
                      StrCat(transform.dims[0]),
                      StrCat("the largest one is ", LargestHadamardBlock(size)));
      }
      RequireCount("transform factors", 0, transform.factors.size());
      return;
    case OnlineTransform::Kind::kKronecker:
      ValidateKronecker(transform, size);
      return;
    case OnlineTransform::Kind::kMatrix:
      RequireCount("sides of the matrix", 1, transform.dims.size());
      if (transform.dims[0] == 0 || size % transform.dims[0] != 0) {
        ThrowExpected(StrCat("a side that divides ", size), StrCat(transform.dims[0]));
      }
      RequireCount("numbers of the matrix", size_t{transform.dims[0]} * transform.dims[0],
                   transform.factors.size());
      return;
  }
  ThrowExpected("a known kind of transform", StrCat(static_cast<int>(transform.kind)));
}

}  // namespace

void ValidateAllButCodes(const QuantizedLinear& layer) {
  // Shapes come first, because all other checks compare with them.
  ValidateScheme(layer);
  if (layer.out_features == 0 || layer.in_features == 0) {
    ThrowExpected("at least one input and one output",
                  StrCat(layer.out_features, " x ", layer.in_features));
  }
  // The counts below cannot overflow if this one does not.
  (void)CheckedProduct(layer.out_features, layer.in_features);

  ValidateTable(layer);
  ValidateValueForm(layer);
  ValidateGroups(layer);
  ValidateScales(layer);
  ValidateZeros(layer);

  if (layer.outliers) ValidateOutliers(layer);
  if (layer.float_columns) ValidateFloatColumns(layer);
  for (const OnlineTransform& transform : layer.transforms) ValidateTransform(layer, transform);
}

void QuantizedLinear::Validate() const {
  ValidateAllButCodes(*this);
  ValidateCodes(*this);
}

void PackedLinear::Validate() const {
  ValidateAllButCodes(layer);
  RequireCount("bits per group with packed codes", 0, layer.bits_per_group.size());
  const size_t row_bytes = PackedRowBytes(layer.in_features, layer.scheme.bits);
  RequireCount("bytes of packed codes", CheckedProduct(layer.out_features, row_bytes),
               codes.size());
  // The slow check names the place of a code that is not a number.
  if (!HasOnlyNumbers(layer.scheme, codes)) ValidateCodes(Unpacked());
}

}  // namespace qualm
