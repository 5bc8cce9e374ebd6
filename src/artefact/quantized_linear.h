// One quantized linear layer as it is shipped: codes, scales and everything else that its effective
// float weights depend on. What is measured is Dequantize() of this, and nothing else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "artefact/activations.h"
#include "artefact/scheme.h"
#include "tensor/matrix.h"

namespace qualm {

// Entries kept in higher precision, replacing the dense value. Rows of W in compressed form:
// the entries of row r are [row_start[r], row_start[r+1]), columns rising inside a row.
struct Outliers {
  std::vector<uint32_t> row_start;  // out + 1
  std::vector<uint32_t> column;
  std::vector<Half> value;
};

// Columns of W (inputs of the layer) kept in higher precision, replacing the dense values. If the
// layer rounds its inputs, these inputs are not rounded and do not count for the range of the rest.
struct FloatColumns {
  std::vector<uint32_t> column;  // rising
  std::vector<Half> value;       // [out, columns] row-major
};

// An operation on the layer's input (or output) that could not be folded into another layer.
// kScale: x_j /= factors[j]. Rotations keep seed and kind, and their factors if a seed alone would
// not rebuild them on another machine. kMatrix: every n neighbouring values become x·M/√n, with M
// [n, n] as a file of another tool stores it.
struct OnlineTransform {
  enum class Kind : uint8_t { kScale, kShift, kHadamard, kKronecker, kMatrix };
  enum class Side : uint8_t { kInput, kOutput };
  Kind kind = Kind::kScale;
  Side side = Side::kInput;
  uint64_t seed = 0;
  std::vector<uint32_t> dims;  // Kronecker factors' sizes, Hadamard block size
  std::vector<float> factors;  // in a file of tensors; a record says only how many

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("kind", self.kind);
    visit("side", self.side, {.expected = "side input or output"});
    visit("seed", self.seed, {.is_seed = true});
    visit("dims", self.dims);
    visit.Shown("factors", [&] { return self.factors.size(); });
  }
};

EnumNames NamesOfEnum(OnlineTransform::Kind);
EnumNames NamesOfEnum(OnlineTransform::Side);

// Second-level parameters of scales or zeros: value = scale·(code - zero) per (row block, group).
struct SecondLevelValues {
  std::vector<uint8_t> codes;  // [out, groups] row-major
  std::vector<float> scales;   // [ceil(out / group_rows), groups]
  std::vector<float> zeros;    // [ceil(out / group_rows), groups]
};

// What the library that a file comes from does to each weight after scale and zero point. A layer
// of our own has none of it.
struct ValueForm {
  float factor = 1;          // multiplies the weight (bitsandbytes' int8: 1/127)
  DType type = DType::kF32;  // at last the weight is rounded to it: kF32, kF16 or kBF16
  // code − zero is rounded to `type` as well, before the scale (HQQ).
  bool rounds_difference = false;
  // A weight of −0 becomes 0 (AutoRound, whose scales may be negative).
  bool drops_zero_sign = false;

  bool operator==(const ValueForm&) const = default;
  bool is_plain() const { return *this == ValueForm(); }
  // The weight whose value by scale and zero point is `scaled`.
  float Of(float scaled) const {
    const float value = RoundTo(factor == 1 ? scaled : scaled * factor, type);
    return drops_zero_sign ? value + 0.0f : value;
  }

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("factor", self.factor, {.optional = true, .is_written = self.factor != 1});
    visit("type", self.type, {.expected = "F32, F16 or BF16"});
    visit("rounds_difference", self.rounds_difference,
          {.optional = true, .is_written = self.rounds_difference});
    visit("drops_zero_sign", self.drops_zero_sign,
          {.optional = true, .is_written = self.drops_zero_sign});
  }
};

// The layer. Codes are unpacked here, one in a byte; files and kernels have their own packed forms.
struct QuantizedLinear {
  size_t out_features = 0;
  size_t in_features = 0;
  Scheme scheme;
  // Unpacked codes, [out, in] row-major, one byte each. The file and the kernels pack them.
  std::vector<uint8_t> codes;
  // [out, groups] row-major (kTensor: one value), already rounded to scheme.scale_type. Empty if
  // second_level_scales replaces it; read through ScaleAt.
  std::vector<float> scales;
  // The same shape; empty for kNone, and if second_level_zeros replaces it; read through ZeroAt.
  // Integer zero points are whole floats here, float ones and offsets are rounded to scale_type.
  std::vector<float> zeros;
  std::vector<float> table;             // kTable: the value of each code, [2^bits]
  float tensor_scale = 1;               // nvfp4: multiplies every scale; 1 for other types
  bool tensor_scale_divides = false;    // it divides instead (compressed-tensors)
  std::vector<uint8_t> bits_per_group;  // [groups]; empty if all have scheme.bits
  // The group of each column, if columns were permuted when groups were formed; if empty, the group
  // of column c is c / group_size.
  std::vector<uint32_t> g_idx;
  std::optional<SecondLevelValues> second_level_scales, second_level_zeros;
  std::optional<Outliers> outliers;
  std::optional<FloatColumns> float_columns;
  std::vector<OnlineTransform> transforms;
  // How the inputs are rounded, after the input-side transforms; empty if they stay float.
  std::optional<ActivationGrid> activations;
  ValueForm value_form;

  size_t group_size() const { return scheme.GroupSize(in_features); }
  size_t group_count() const { return scheme.GroupCount(in_features); }
  size_t GroupOfColumn(size_t column) const {
    return g_idx.empty() ? column / group_size() : g_idx[column];
  }
  int BitsOfGroup(size_t group) const {
    return bits_per_group.empty() ? scheme.bits : bits_per_group[group];
  }
  float ScaleAt(size_t row, size_t group) const;
  // The zero point at (row, group): for kNone the implied 2^(bits-1) of integers, 0 of other types.
  float ZeroAt(size_t row, size_t group) const;

  // The value of a code before scale and zero point.
  float ValueOf(uint8_t code) const;

  // The effective weight [out, in]: float32(scale·(code − zero)) or, for types other than integers,
  // float32(scale·value(code)), each operation rounded once in float32; with offsets
  // float32(scale·code + offset), rounded once as a whole. The value form follows; outliers and
  // float columns then replace their places. Input-side transforms are NOT undone: this is the
  // matrix that multiplies the transformed input.
  Matrix Dequantize() const;
  void DequantizeRow(size_t row, std::span<float> out) const;

  // Bits in the file per weight: codes, scales, zeros, second level, outliers, g_idx, transforms.
  double BitsPerWeight() const;
  // Codes: one bit string per row, rounded up to bytes. Scales, float zeros, second level values:
  // scale_type. Integer zeros and second level codes: one bit string per row, each with the width
  // of the widest group. Everything else is stored as it is in memory.
  uint64_t StoredBytes() const;

  // Throws bad input if sizes, codes or scales contradict the scheme (used after reading a file).
  void Validate() const;
};

// Packs `bits`-wide codes of one row, little-endian: code i occupies bits [i·bits, (i+1)·bits) of
// the row's byte string, least significant bit first; the last byte is filled up with zeros.
size_t PackedRowBytes(size_t count, int bits);
void PackCodes(std::span<const uint8_t> codes, int bits, std::span<uint8_t> packed);
void UnpackCodes(std::span<const uint8_t> packed, int bits, std::span<uint8_t> codes);

}  // namespace qualm
