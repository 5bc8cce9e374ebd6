// Scheme: the grid a tensor is quantized on, independent of the method that chooses the codes.
//
// A code q in [0, 2^bits - 1] means the value scale·(q - zero_point), or scale·q + offset. How
// ranges become scales and zero points: grid.h. How codes are stored: docs/formats/artefact.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "io/fields.h"
#include "tensor/dtype.h"

namespace qualm {

enum class NumberType : uint8_t {
  kInteger,      // `bits` wide unsigned codes
  kNf4,          // 16 levels of QLoRA
  kFp8E4m3,      // OCP e4m3fn, largest 448
  kFp8E4m3Ieee,  // bias 7, infinities kept, largest 240
  kFp8E5m2,      // largest 57344
  kMxfp4,        // e2m1 with one e8m0 scale per 32
  kNvfp4,        // e2m1 with an e4m3 scale per 16 and one float32 scale per tensor
  kTable,        // `bits` wide codes of values that the layer brings (QuantizedLinear::table)
};

// What has its own scale: the tensor, an output row, a group of inputs of a row, or a token.
enum class Granularity : uint8_t { kTensor, kChannel, kGroup, kToken };

// How zero points are stored.
enum class ZeroPointKind : uint8_t {
  kNone,     // implied by symmetric_convention; nothing is stored
  kInteger,  // in [0, 2^bits - 1]
  kFloat,    // any real (HQQ, SpQR, QuIP)
  kOffset,   // added after the scaling: scale·code + offset (GGUF's minima)
};

// Where the scale of a symmetric grid comes from; absmax = max |w| over the group, N = 2^bits.
enum class SymmetricConvention : uint8_t {
  kGptq,  // scale = 2·absmax/(N-1), zero N/2; the range is [-absmax, absmax] if the group has a
          // negative value, otherwise [0, absmax]
  kMiAbsmax,   // scale = absmax/((N-1)/2 rounded down), zero N/2
  kSigned,     // scale = absmax/(N/2-1), zero N/2, code 0 unused (AWQ, SmoothQuant)
  kFullRange,  // scale = 2·absmax/(N-1), zero N/2, whatever signs there are (compressed-tensors)
};

// Scales (and zeros) that are quantized themselves, in groups of `group_rows` consecutive output
// rows of the same group of inputs (SpQR, section 3.2).
struct SecondLevel {
  int bits = 3;
  int group_rows = 16;
  bool operator==(const SecondLevel&) const = default;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("bits", self.bits, {.range = InRange(1, 8)});
    visit("group_rows", self.group_rows, {.range = InRange(1, 1 << 24)});
  }
};

// Formats whose scales are single bytes: mxfp4 and nvfp4.
inline bool HasByteScales(NumberType type) {
  return type == NumberType::kMxfp4 || type == NumberType::kNvfp4;
}

struct Scheme {
  NumberType type = NumberType::kInteger;
  int bits = 4;  // 1..8; if the tensor has bits_per_group, the average that the recipe asked for
  Granularity granularity = Granularity::kChannel;
  int group_size = 0;  // inputs per group; only for kGroup; the last group may be shorter
  ZeroPointKind zero_point = ZeroPointKind::kInteger;
  SymmetricConvention symmetric_convention = SymmetricConvention::kGptq;  // only for kNone
  bool range_includes_zero = true;  // min and max of a group are moved to include 0 (asymmetric)
  DType scale_type = DType::kF16;   // kF16, kBF16 or kF32
  std::optional<SecondLevel> second_level;
  bool dynamic = false;  // activations only: ranges are found at run time

  bool operator==(const Scheme&) const = default;

  bool is_symmetric() const { return zero_point == ZeroPointKind::kNone; }
  // Inputs per group for a layer of `in_features`: the group size, or all of them.
  size_t GroupSize(size_t in_features) const;
  size_t GroupCount(size_t in_features) const;
  // Throws bad input if the fields contradict each other (bits 0, group 0, scale_type I8 ...). Like
  // the other functions named Validate it leaves the place to its caller (base/error_place.h).
  void Validate() const;
  // "int4-g128-asym", for people and tables.
  std::string ShortName() const;

  // As manifests and hashes have it. Fields that the others make meaningless are not written.
  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    CodeFields(visit, self);
    visit("granularity", self.granularity);
    GroupFields(visit, self);
    ZeroPointFields(visit, self);
    const bool has_byte_scales = HasByteScales(self.type);
    visit("scale_type", self.scale_type,
          {.expected = "F16, BF16 or F32",
           .optional = has_byte_scales,
           .is_written = !has_byte_scales});
    visit("second_level", self.second_level);
    visit("dynamic", self.dynamic, {.optional = true, .is_written = self.dynamic});
  }

  // The parts of the statement that recipes share (recipe/recipe_schemes.h).
  template <class Visitor, class Self>
  static void CodeFields(Visitor& visit, Self& self) {
    visit("type", self.type);
    visit("bits", self.bits, {.range = InRange(1, 8)});
  }
  template <class Visitor, class Self>
  static void GroupFields(Visitor& visit, Self& self) {
    visit("group_size", self.group_size,
          {.range = InRange(0, 1 << 24),
           .expected = "a size",
           .optional = true,
           .is_written = self.granularity == Granularity::kGroup});
  }
  template <class Visitor, class Self>
  static void ZeroPointFields(Visitor& visit, Self& self) {
    visit("zero_point", self.zero_point);
    const bool is_integer = self.type == NumberType::kInteger;
    visit("symmetric_convention", self.symmetric_convention,
          {.optional = true, .is_written = is_integer && self.is_symmetric()});
    visit("range_includes_zero", self.range_includes_zero,
          {.optional = true, .is_written = is_integer && !self.is_symmetric()});
  }
};

// For types that are not kInteger: the bits of a code, and the group size that the type is defined
// with (0 if it may have any).
int BitsOfFormat(NumberType type);
int GroupSizeOfFormat(NumberType type);
// The scheme that a type alone means: its bits, no zero points, and its groups: 64 for nf4, one
// scale per channel for types without groups.
Scheme SchemeOfFormat(NumberType type);

// The spelling of each value in YAML and JSON; EnumFromName parses it.
EnumNames NamesOfEnum(NumberType);
EnumNames NamesOfEnum(Granularity);
EnumNames NamesOfEnum(ZeroPointKind);
EnumNames NamesOfEnum(SymmetricConvention);
EnumNames NamesOfEnum(DType);  // as safetensors spells it
std::string_view NameOf(NumberType type);
std::string_view NameOf(Granularity granularity);
std::string_view NameOf(ZeroPointKind kind);
std::string_view NameOf(SymmetricConvention convention);

}  // namespace qualm
