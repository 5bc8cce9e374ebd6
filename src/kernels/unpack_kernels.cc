// Dequantizes a part of a panel with vector instructions: packed codes and constants come in, float
// weights [depth][16] go out. There is one function per width and kind of code, and
// UnpackFunctionInUse chooses among them at run time. The definition is unpack_kernels_scalar.cc.
#include "kernels/unpack_kernels.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "tensor/isa.h"

#ifndef QUALM_PORTABLE
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/unpack_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

// After foreach_target.h:
#include "kernels/codes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace qualm {
namespace HWY_NAMESPACE {

// For groups of whole chunks (or one group): codes become weights in registers. Lanes are the outer
// loop, so a group's constants are loaded once for all its chunks.
template <size_t kBits, Decoding kDecoding>
HWY_NOINLINE void UnpackEven(const PackedForm& form, const uint32_t* codes,
                             const uint8_t* group_constants, size_t k_begin, size_t depth,
                             float* HWY_RESTRICT to) {
  for (size_t lane = 0; lane < kPanelLanes; lane += kLanes) {
    const uint32_t* chunk = codes + k_begin / kChunkInputs * kBits * kPanelLanes + lane;
    float* HWY_RESTRICT lane_to = to + lane;
    for (size_t k = k_begin; k < k_begin + depth;) {
      const size_t group = k / form.group_size;
      const size_t end = std::min((group + 1) * form.group_size, k_begin + depth);

      Constants<kBits, kDecoding> constants;
      constants.Set(form, group_constants + group * form.ConstantBytes(), lane);
      // Whole chunks are unpacked in place; the inputs left at the end go through a buffer.
      for (; k + kChunkInputs <= end; k += kChunkInputs, chunk += kBits * kPanelLanes) {
        UnpackChunk(chunk, constants, lane_to);
        lane_to += kChunkInputs * kPanelLanes;
      }
      if (k < end) {
        HWY_ALIGN float rest[kChunkInputs * kPanelLanes];
        UnpackChunk(chunk, constants, rest);
        for (size_t i = 0; i < end - k; ++i) {
          hn::Store(hn::Load(FloatTag(), rest + i * kPanelLanes), FloatTag(),
                    lane_to + i * kPanelLanes);
        }
        k = end;
      }
    }
  }
}

// The values after scale and zero point, in place: times the factor, rounded.
HWY_INLINE void FinishValues(const ValueForm& form, size_t count, float* HWY_RESTRICT to) {
  const FloatTag d;
  const auto factor = hn::Set(d, form.factor);
  const Rounding rounding = RoundingTo(form.type);
  for (size_t i = 0; i < count * kPanelLanes; i += kLanes) {
    hn::Store(Round(rounding, hn::Mul(hn::Load(d, to + i), factor)), d, to + i);
  }
}

// Applies a group's scales and zero points to the code values of `count` inputs, in place.
HWY_INLINE void ScaleValues(const PackedForm& form, const uint8_t* group, size_t count,
                            float* HWY_RESTRICT to) {
  const FloatTag d;
  const Rounding of_difference =
      form.value_form.rounds_difference ? RoundingTo(form.value_form.type) : Rounding::kNone;

  for (size_t lane = 0; lane < kPanelLanes; lane += kLanes) {
    const auto scale = LoadConstants(form, form.scale, group, lane);
    const auto zero = LoadConstants(form, form.zero, group + form.scale_record, lane);
    float* HWY_RESTRICT at = to + lane;
    const float* const end = at + count * kPanelLanes;
    if (form.zero_is_offset) {
      for (; at != end; at += kPanelLanes) {
        hn::Store(hn::MulAdd(hn::Load(d, at), scale, zero), d, at);
      }
    } else if (of_difference == Rounding::kNone) {
      for (; at != end; at += kPanelLanes) {
        hn::Store(hn::Mul(scale, hn::Sub(hn::Load(d, at), zero)), d, at);
      }
    } else {
      for (; at != end; at += kPanelLanes) {
        const auto difference = Round(of_difference, hn::Sub(hn::Load(d, at), zero));
        hn::Store(hn::Mul(scale, difference), d, at);
      }
    }
  }
}

// Replaces codes, which are whole floats, by their values in the table.
HWY_INLINE void LookUpValues(const float* HWY_RESTRICT table, size_t count,
                             float* HWY_RESTRICT to) {
  const FloatTag d;
  for (size_t i = 0; i < count * kPanelLanes; i += kLanes) {
    const auto code = hn::ConvertTo(SignedTag(), hn::Load(d, to + i));
    hn::Store(hn::GatherIndex(d, table, code), d, to + i);
  }
}

// For groups that begin inside a chunk or whose inputs are scattered, and for weights that need
// more than one operation between code and scale: the plain values of the codes come first, then
// scales and zero points are applied group by group.
template <size_t kBits, Decoding kDecoding>
HWY_NOINLINE void UnpackOdd(const PackedForm& form, const uint32_t* codes,
                            const uint8_t* group_constants, size_t k_begin, size_t depth,
                            float* HWY_RESTRICT to) {
  PackedForm plain = form;  // a scale of 1 and a zero point of 0 leave the values as they are
  plain.scale = ConstantCoding::kF32;
  plain.zero = ConstantCoding::kImplied;
  plain.zero_is_offset = false;
  plain.implied_zero = 0;
  plain.group_size = k_begin + depth;
  HWY_ALIGN float ones[kPanelLanes];
  std::fill_n(ones, kPanelLanes, 1.0f);
  UnpackEven<kBits, kDecoding>(plain, codes, reinterpret_cast<const uint8_t*>(ones), k_begin, depth,
                               to);

  if (form.value == CodeValue::kWideTable) LookUpValues(form.wide_table, depth, to);

  // Apply the real constants, to a whole run of a group's inputs or to one input at a time.
  for (size_t k = k_begin; k < k_begin + depth;) {
    const bool permuted = form.group_of_column != nullptr;
    const size_t group = permuted ? form.group_of_column[k] : k / form.group_size;
    const size_t end = permuted ? k + 1 : std::min((group + 1) * form.group_size, k_begin + depth);

    ScaleValues(form, group_constants + group * form.ConstantBytes(), end - k,
                to + (k - k_begin) * kPanelLanes);
    k = end;
  }
}

// Whether UnpackEven can do this part of the panel.
bool GroupsAreChunks(const PackedForm& form, size_t k_begin, size_t depth) {
  if (form.group_of_column != nullptr) return false;
  return form.group_size % kChunkInputs == 0 ||
         k_begin / form.group_size == (k_begin + depth - 1) / form.group_size;
}

// For codes that are not whole numbers.
template <size_t kBits, Decoding kDecoding>
void UnpackFormat(const PackedForm& form, const uint32_t* codes, const uint8_t* constants,
                  size_t k_begin, size_t depth, float* to) {
  const bool is_even = GroupsAreChunks(form, k_begin, depth) && !form.value_form.rounds_difference;
  auto* function = is_even ? UnpackEven<kBits, kDecoding> : UnpackOdd<kBits, kDecoding>;
  function(form, codes, constants, k_begin, depth, to);
  if (!form.value_form.is_plain()) FinishValues(form.value_form, depth, to);
}

// For codes that are whole numbers, or places in a wide table. UnpackOdd takes kFused for the plain
// values: with scale 1 and zero point 0 it gives them unchanged.
template <size_t kBits>
void Unpack(const PackedForm& form, const uint32_t* codes, const uint8_t* constants, size_t k_begin,
            size_t depth, float* to) {
  auto* function =
      form.fused ? UnpackEven<kBits, Decoding::kFused> : UnpackEven<kBits, Decoding::kWhole>;
  const bool has_steps = form.value == CodeValue::kWideTable || form.value_form.rounds_difference ||
                         (form.zero_is_offset && !form.fused);
  if (has_steps || !GroupsAreChunks(form, k_begin, depth)) {
    function = UnpackOdd<kBits, Decoding::kFused>;
  }
  function(form, codes, constants, k_begin, depth, to);
  if (!form.value_form.is_plain()) FinishValues(form.value_form, depth, to);
}

// The function for this width and kind of code.
UnpackFunction ForCodes(int bits, CodeValue value) {
  static constexpr std::array<UnpackFunction, 8> kFunctions = {
      Unpack<1>, Unpack<2>, Unpack<3>, Unpack<4>, Unpack<5>, Unpack<6>, Unpack<7>, Unpack<8>};

  switch (value) {
    case CodeValue::kWhole:
    case CodeValue::kWideTable:
      break;
    case CodeValue::kTable:
      return UnpackFormat<4, Decoding::kTable>;
    case CodeValue::kE4m3:
      return UnpackFormat<8, Decoding::kE4m3>;
    case CodeValue::kE5m2:
      return UnpackFormat<8, Decoding::kE5m2>;
  }
  return kFunctions[static_cast<size_t>(bits - 1)];
}

}  // namespace HWY_NAMESPACE
}  // namespace qualm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qualm {

HWY_EXPORT(ForCodes);

UnpackFunction UnpackFunctionInUse(int bits, CodeValue value) {
  QUALM_CHECK(bits >= 1 && bits <= 8);
  return IsaInUse() == Isa::kScalar ? UnpackScalar : HWY_DYNAMIC_DISPATCH(ForCodes)(bits, value);
}

}  // namespace qualm
#endif  // HWY_ONCE
#else   // QUALM_PORTABLE

namespace qualm {
UnpackFunction UnpackFunctionInUse(int bits, CodeValue) {
  QUALM_CHECK(bits >= 1 && bits <= 8);
  return UnpackScalar;
}
}  // namespace qualm
#endif  // QUALM_PORTABLE
