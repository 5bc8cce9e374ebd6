// Takes codes out of packed words and applies scales and zero points, for one instruction set.
// Words come in by lane (docs/formats/packed.md), vectors of float weights go out. Included by the
// kernels' .cc files once per target of Highway.

#if defined(QUALM_KERNELS_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUALM_KERNELS_CODES_INL_H_
#undef QUALM_KERNELS_CODES_INL_H_
#else
#define QUALM_KERNELS_CODES_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/unpack_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace qualm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, kPanelLanes>;
using WordTag = hn::RebindToUnsigned<FloatTag>;
using SignedTag = hn::RebindToSigned<FloatTag>;
using FloatVector = hn::Vec<FloatTag>;
using WordVector = hn::Vec<WordTag>;
inline constexpr size_t kLanes = hn::MaxLanes(FloatTag());

// What the kernels do with a code. kFused and kWhole are both CodeValue::kWhole; kFused computes
// scale·(code - zero) as fma(code, scale, -zero·scale).
enum class Decoding : uint8_t { kFused, kWhole, kTable, kE4m3, kE5m2 };

// 8-bit floats from their codes, by the definition of the formats: codes below the first normal
// number count units; all other codes are the float32 number with the exponent's bias exchanged.
// Codes that are not numbers do not occur.
template <int kMantissaBits, int kBias>
HWY_INLINE FloatVector SmallFloat(WordVector code) {
  const FloatTag d;
  const WordTag words;
  const auto magnitude = hn::And(code, hn::Set(words, 0x7fu));
  const auto sign = hn::ShiftLeft<24>(hn::And(code, hn::Set(words, 0x80u)));

  // Both readings of the magnitude are computed, and the size of the code selects one of them.
  constexpr float kUnit = 1.0f / (uint32_t{1} << (kBias - 1 + kMantissaBits));
  const auto count = hn::BitCast(SignedTag(), magnitude);
  const auto subnormal = hn::Mul(hn::ConvertTo(d, count), hn::Set(d, kUnit));
  const auto moved = hn::ShiftLeft<23 - kMantissaBits>(magnitude);
  const auto normal = hn::BitCast(d, hn::Add(moved, hn::Set(words, (127u - kBias) << 23)));

  const auto first_normal = hn::Set(SignedTag(), 1 << kMantissaBits);
  const auto is_subnormal = hn::RebindMask(d, hn::Lt(count, first_normal));
  return hn::Or(hn::IfThenElse(is_subnormal, subnormal, normal), hn::BitCast(d, sign));
}

// table[code] for codes below 16.
HWY_INLINE FloatVector LookUp(const float* HWY_RESTRICT table, WordVector code) {
  const FloatTag d;
  if constexpr (kLanes == 16) {
    return hn::TableLookupLanes(hn::Load(d, table), hn::IndicesFromVec(d, code));
  } else if constexpr (kLanes == 8) {
    // Two registers of 8 values: look the low three bits up in both, then choose by the fourth.
    const auto indices = hn::IndicesFromVec(d, hn::And(code, hn::Set(WordTag(), 7u)));
    const auto low = hn::TableLookupLanes(hn::Load(d, table), indices);
    const auto high = hn::TableLookupLanes(hn::Load(d, table + 8), indices);
    const auto is_high =
        hn::RebindMask(d, hn::Gt(hn::BitCast(SignedTag(), code), hn::Set(SignedTag(), 7)));
    return hn::IfThenElse(is_high, high, low);
  } else {
    return hn::GatherIndex(d, table, hn::BitCast(SignedTag(), code));
  }
}

// One byte for each lane, widened to 32 bits.
HWY_INLINE WordVector LoadBytes(const uint8_t* from) {
  const hn::Rebind<uint8_t, FloatTag> d8;
  return hn::BitCast(WordTag(), hn::PromoteTo(SignedTag(), hn::LoadU(d8, from)));
}

// Whole numbers below 2^31 as floats.
HWY_INLINE FloatVector ToFloats(WordVector numbers) {
  return hn::ConvertTo(FloatTag(), hn::BitCast(SignedTag(), numbers));
}

// The scales or zero points of kLanes lanes from `first` on, as floats.
HWY_INLINE FloatVector LoadConstants(const PackedForm& form, ConstantCoding coding,
                                     const uint8_t* from, size_t first) {
  const FloatTag d;
  switch (coding) {
    case ConstantCoding::kImplied:
      break;
    case ConstantCoding::kByte:
      return ToFloats(LoadBytes(from + first));
    case ConstantCoding::kF16: {
      const hn::Rebind<hwy::float16_t, FloatTag> d16;
      return hn::PromoteTo(d,
                           hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(from) + first));
    }

    // A bfloat16 is the upper half of a float32.
    case ConstantCoding::kBF16: {
      const hn::Rebind<uint16_t, FloatTag> d16;
      const auto bits = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(from) + first);
      return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(WordTag(), bits)));
    }
    case ConstantCoding::kF32:
      return hn::LoadU(d, reinterpret_cast<const float*>(from) + first);
    case ConstantCoding::kPowerOfTwo: {
      // Byte 0 means 2^-127, which is subnormal: its bits are not an exponent.
      const auto exponent = LoadBytes(from + first);
      const auto is_least = hn::Eq(exponent, hn::Zero(WordTag()));
      return hn::BitCast(
          d, hn::IfThenElse(is_least, hn::Set(WordTag(), 1u << 22), hn::ShiftLeft<23>(exponent)));
    }
    case ConstantCoding::kE4m3: {
      const auto scale = SmallFloat<3, 7>(LoadBytes(from + first));
      const auto tensor_scale = hn::Set(d, form.tensor_scale);
      return form.tensor_scale_divides ? hn::Div(scale, tensor_scale)
                                       : hn::Mul(scale, tensor_scale);
    }
    // The scale and the zero come first, then a byte for each lane.
    case ConstantCoding::kSecondLevel: {
      const auto* level = reinterpret_cast<const float*>(from);
      const auto code = ToFloats(LoadBytes(from + 2 * sizeof(float) + first));
      return hn::Mul(hn::Set(d, level[0]), hn::Sub(code, hn::Set(d, level[1])));
    }
  }
  return hn::Set(d, form.implied_zero);
}

// The float type that a weight is rounded to after scale and zero point.
enum class Rounding : uint8_t { kNone, kF16, kBF16 };

inline Rounding RoundingTo(DType type) {
  if (type == DType::kF16) return Rounding::kF16;
  return type == DType::kBF16 ? Rounding::kBF16 : Rounding::kNone;
}

// Rounds to the type, to nearest even, and widens again.
HWY_INLINE FloatVector Round(Rounding rounding, FloatVector value) {
  const FloatTag d;
  const WordTag words;
  if (rounding == Rounding::kNone) return value;
  if (rounding == Rounding::kF16) {
    const hn::Rebind<hwy::float16_t, FloatTag> d16;
    return hn::PromoteTo(d, hn::DemoteTo(d16, value));
  }

  // The upper half of the word, after half a unit of its last place was added: a little less if
  // that place is even, so that ties go there.
  const auto bits = hn::BitCast(words, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(words, 1u));
  const auto sum = hn::Add(hn::Add(bits, odd), hn::Set(words, 0x7fffu));
  return hn::BitCast(d, hn::And(sum, hn::Set(words, 0xffff0000u)));
}

// Codes are taken out of a word by a mask alone, without a shift: a code that is left at bit
// position p is 2^p times too large, and a scale that is 2^p times too small undoes that exactly.
// Four neighbouring codes are brought into one word (a window), so there are four positions: 0,
// bits, 2·bits, 3·bits.
inline constexpr size_t kPositions = 4;
inline constexpr size_t kWindows = kChunkInputs / kPositions;  // windows in a chunk

// The bits of the code at this position of a window.
template <size_t kBits>
HWY_INLINE constexpr uint32_t CodeMask(size_t position) {
  return ((uint32_t{1} << kBits) - 1) << (position * kBits);
}

// The window of codes 4·kWindow .. 4·kWindow + 3 of a chunk, in the lowest bits of a word.
template <size_t kBits, size_t kWindow>
HWY_INLINE WordVector Window(const uint32_t* HWY_RESTRICT chunk) {
  constexpr size_t kFirst = kWindow * kPositions * kBits, kWord = kFirst / 32, kShift = kFirst % 32;
  const WordTag d;
  WordVector window = hn::Load(d, chunk + kWord * kPanelLanes);
  if constexpr (kShift > 0) window = hn::ShiftRight<kShift>(window);
  // The four codes may cross into the next word of the lane.
  if constexpr (kShift + kPositions * kBits > 32) {
    const auto next = hn::Load(d, chunk + (kWord + 1) * kPanelLanes);
    window = hn::Or(window, hn::ShiftLeft<32 - kShift>(next));
  }
  return window;
}

// Scale and zero point of kLanes rows: Set loads them for a group, Apply turns the codes of a
// window into weights. They are stored as floats in memory because they are operands of the
// arithmetic, and compilers copy structs of vectors in pieces that stall the loads after them.
template <size_t kBits, Decoding kDecoding, Rounding kRounding = Rounding::kNone>
struct Constants {
  static constexpr bool kFused = kDecoding == Decoding::kFused;
  static constexpr bool kHasZero = kFused || kDecoding == Decoding::kWhole;

  HWY_ALIGN float scales[kPositions][kLanes];
  HWY_ALIGN float offset[kLanes];
  const float* table;
  float factor;  // the last two are of use only with kRounding
  bool rounds_difference;

  // `group` is the record of the group's constants in the panel.
  HWY_INLINE void Set(const PackedForm& form, const uint8_t* group, size_t first_lane) {
    const FloatTag d;
    auto scale = LoadConstants(form, form.scale, group, first_lane);
    // Fused kernels want the offset itself or -zero·scale, the others subtract the zero point.
    if constexpr (kHasZero) {
      auto zero = LoadConstants(form, form.zero, group + form.scale_record, first_lane);
      if (kFused && !form.zero_is_offset) zero = hn::Neg(hn::Mul(zero, scale));
      hn::Store(zero, d, offset);
    }

    table = form.table.data();
    factor = form.value_form.factor;
    rounds_difference = form.value_form.rounds_difference;
    // One scale for each position of a window, smaller by the place value of the code.
    const auto smaller = hn::Set(d, 1.0f / (1u << kBits));
    for (size_t p = 0; p < (kFused ? kPositions : 1); ++p) {
      hn::Store(scale, d, scales[p]);
      scale = hn::Mul(scale, smaller);
    }
  }

  // The weight of a code that is 2^(kBits·position) times too large.
  HWY_INLINE FloatVector Scale(FloatVector code, size_t position) const {
    const FloatTag d;
    if constexpr (kFused) {
      return Finish(hn::MulAdd(code, hn::Load(d, scales[position]), hn::Load(d, offset)));
    }
    if constexpr (kHasZero) code = hn::Sub(code, hn::Load(d, offset));
    if constexpr (kRounding != Rounding::kNone) {
      if (rounds_difference) code = Round(kRounding, code);
    }
    return Finish(hn::Mul(hn::Load(d, scales[0]), code));
  }

  // The rounded weight of a scaled code.
  HWY_INLINE FloatVector Finish(FloatVector scaled) const {
    if constexpr (kRounding == Rounding::kNone) return scaled;
    return Round(kRounding, hn::Mul(scaled, hn::Set(FloatTag(), factor)));
  }

  // The number that a code is, before scale and zero point.
  HWY_INLINE FloatVector Value(WordVector code) const {
    if constexpr (kDecoding == Decoding::kTable) return LookUp(table, code);
    if constexpr (kDecoding == Decoding::kE4m3) return SmallFloat<3, 7>(code);
    if constexpr (kDecoding == Decoding::kE5m2) return SmallFloat<2, 15>(code);
    return ToFloats(code);
  }

  // The weights of the codes at kPosition of the window.
  template <size_t kPosition>
  HWY_INLINE FloatVector Apply(WordVector window) const {
    // A code in the highest bits would be taken for a sign, and without the fused operation the
    // code itself is needed: both are shifted down.
    constexpr bool kShifted = kPosition > 0 && (!kFused || (kPosition + 1) * kBits == 32);
    WordVector code = window;
    if constexpr (kShifted) code = hn::ShiftRight<kPosition * kBits>(code);
    if constexpr ((kPosition + 1) * kBits < 32 || !kShifted) {
      code = hn::And(code, hn::Set(WordTag(), CodeMask<kBits>(kShifted ? 0 : kPosition)));
    }
    return Scale(Value(code), kShifted ? 0 : kPosition);
  }
};

// All windows of a chunk, to [32 inputs][16 lanes].
template <size_t kBits, Decoding kDecoding, Rounding kRounding, size_t... kWindow>
HWY_INLINE void UnpackWindows(const uint32_t* HWY_RESTRICT chunk,
                              const Constants<kBits, kDecoding, kRounding>& constants,
                              float* HWY_RESTRICT to, std::index_sequence<kWindow...>) {
  const FloatTag d;
  const auto unpack = [&](WordVector window, float* HWY_RESTRICT at) HWY_ATTR {
    hn::Store(constants.template Apply<0>(window), d, at);
    hn::Store(constants.template Apply<1>(window), d, at + kPanelLanes);
    hn::Store(constants.template Apply<2>(window), d, at + 2 * kPanelLanes);
    hn::Store(constants.template Apply<3>(window), d, at + 3 * kPanelLanes);
  };
  (unpack(Window<kBits, kWindow>(chunk), to + kWindow * kPositions * kPanelLanes), ...);
}

// One chunk of kLanes rows, all in one group.
template <size_t kBits, Decoding kDecoding, Rounding kRounding>
HWY_INLINE void UnpackChunk(const uint32_t* HWY_RESTRICT chunk,
                            const Constants<kBits, kDecoding, kRounding>& constants,
                            float* HWY_RESTRICT to) {
  UnpackWindows(chunk, constants, to, std::make_index_sequence<kWindows>());
}

}  // namespace HWY_NAMESPACE
}  // namespace qualm
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
