// Taking codes out of packed words and applying scales and zero points, for one instruction set.
// Included by the kernels' .cc files once per target of Highway.

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

inline constexpr size_t kPanelLanes = 16;
using FloatTag = hn::CappedTag<float, kPanelLanes>;
using WordTag = hn::RebindToUnsigned<FloatTag>;
using SignedTag = hn::RebindToSigned<FloatTag>;
using FloatVector = hn::Vec<FloatTag>;
using WordVector = hn::Vec<WordTag>;
inline constexpr size_t kLanes = hn::MaxLanes(FloatTag());

HWY_INLINE FloatVector LoadFloats(DType type, const uint8_t* from, size_t first) {
  const FloatTag d;
  if (type == DType::kF16) {
    const hn::Rebind<hwy::float16_t, FloatTag> d16;
    return hn::PromoteTo(d, hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(from) + first));
  }
  if (type == DType::kBF16) {
    const hn::Rebind<uint16_t, FloatTag> d16;
    const auto bits = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(from) + first);
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(WordTag(), bits)));
  }
  return hn::LoadU(d, reinterpret_cast<const float*>(from) + first);
}

// Codes are taken out of a word by a mask alone, without a shift: a code that is left at bit
// position p is 2^p times too large, which a scale that is 2^p times too small undoes exactly. Four
// neighbouring codes are brought into one word, so there are four positions: 0, bits, 2·bits,
// 3·bits.
inline constexpr size_t kPositions = 4;
inline constexpr size_t kWindows = kChunk / kPositions;  // groups of neighbours in a chunk

template <size_t kBits>
HWY_INLINE constexpr uint32_t CodeMask(size_t position) {
  return ((uint32_t{1} << kBits) - 1) << (position * kBits);
}

// The word that holds codes 4·kWindow .. 4·kWindow + 3 of a chunk in its lowest bits.
template <size_t kBits, size_t kWindow>
HWY_INLINE WordVector Window(const uint32_t* HWY_RESTRICT chunk) {
  constexpr size_t kFirst = kWindow * kPositions * kBits, kWord = kFirst / 32, kShift = kFirst % 32;
  const WordTag d;
  WordVector window = hn::Load(d, chunk + kWord * kPanelLanes);
  if constexpr (kShift > 0) window = hn::ShiftRight<kShift>(window);
  if constexpr (kShift + kPositions * kBits > 32) {
    const auto next = hn::Load(d, chunk + (kWord + 1) * kPanelLanes);
    window = hn::Or(window, hn::ShiftLeft<32 - kShift>(next));
  }
  return window;
}

// Scale and zero point of kLanes rows, ready for Apply. Fused: scale·(code - zero) is computed as
// fma(code, scale, -zero·scale). Kept as floats in memory: they are operands of the arithmetic, and
// compilers copy structs of vectors in pieces that stall the loads after them.
template <size_t kBits, bool kFused>
struct Constants {
  HWY_ALIGN float scales[kPositions][kLanes];
  HWY_ALIGN float offset[kLanes];

  HWY_INLINE void Set(const PackedForm& form, const uint8_t* group, size_t first_lane) {
    const FloatTag d;
    auto scale = LoadFloats(form.scale_type, group, first_lane);
    const uint8_t* zeros = group + kPanelLanes * form.scale_bytes;
    auto zero = hn::Set(d, form.implied_zero);
    if (form.stored_zero == StoredZero::kByte) {
      const hn::Rebind<uint8_t, FloatTag> d8;
      zero = hn::ConvertTo(d, hn::PromoteTo(SignedTag(), hn::LoadU(d8, zeros + first_lane)));
    } else if (form.stored_zero == StoredZero::kFloat) {
      zero = LoadFloats(form.scale_type, zeros, first_lane);
    }
    hn::Store(kFused ? hn::Neg(hn::Mul(zero, scale)) : zero, d, offset);
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
      return hn::MulAdd(code, hn::Load(d, scales[position]), hn::Load(d, offset));
    }
    return hn::Mul(hn::Load(d, scales[0]), hn::Sub(code, hn::Load(d, offset)));
  }

  // The weight whose code stands at kPosition of the window.
  template <size_t kPosition>
  HWY_INLINE FloatVector Apply(WordVector window) const {
    // The sign bit is not for codes, and without a fused operation the code itself is wanted.
    constexpr bool kShifted = kPosition > 0 && (!kFused || (kPosition + 1) * kBits == 32);
    WordVector code = window;
    if constexpr (kShifted) code = hn::ShiftRight<kPosition * kBits>(code);
    if constexpr ((kPosition + 1) * kBits < 32 || !kShifted) {
      code = hn::And(code, hn::Set(WordTag(), CodeMask<kBits>(kShifted ? 0 : kPosition)));
    }
    const auto value = hn::ConvertTo(FloatTag(), hn::BitCast(SignedTag(), code));
    return Scale(value, kShifted ? 0 : kPosition);
  }
};

template <size_t kBits, bool kFused, size_t... kWindow>
HWY_INLINE void UnpackWindows(const uint32_t* HWY_RESTRICT chunk,
                              const Constants<kBits, kFused>& constants, float* HWY_RESTRICT to,
                              std::index_sequence<kWindow...>) {
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
template <size_t kBits, bool kFused>
HWY_INLINE void UnpackChunk(const uint32_t* HWY_RESTRICT chunk,
                            const Constants<kBits, kFused>& constants, float* HWY_RESTRICT to) {
  UnpackWindows(chunk, constants, to, std::make_index_sequence<kWindows>());
}

}  // namespace HWY_NAMESPACE
}  // namespace qualm
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
