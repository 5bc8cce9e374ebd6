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

// Groups are whole chunks (or there is one group).
template <size_t kBits, Decoding kDecoding>
HWY_NOINLINE void UnpackEven(const PackedForm& form, const uint32_t* codes,
                             const uint8_t* group_constants, size_t k_begin, size_t depth,
                             float* HWY_RESTRICT to) {
  for (size_t lane = 0; lane < kPanelLanes; lane += kLanes) {
    const uint32_t* chunk = codes + k_begin / kChunk * kBits * kPanelLanes + lane;
    float* HWY_RESTRICT lane_to = to + lane;
    for (size_t k = k_begin; k < k_begin + depth;) {
      const size_t group = k / form.group_size;
      const size_t end = std::min((group + 1) * form.group_size, k_begin + depth);
      Constants<kBits, kDecoding> constants;
      constants.Set(form, group_constants + group * form.ConstantBytes(), lane);
      for (; k + kChunk <= end; k += kChunk, chunk += kBits * kPanelLanes) {
        UnpackChunk(chunk, constants, lane_to);
        lane_to += kChunk * kPanelLanes;
      }
      if (k < end) {  // the last inputs
        HWY_ALIGN float rest[kChunk * kPanelLanes];
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

// Applies a group's scales and zero points to values of `count` inputs.
HWY_INLINE void ScaleValues(const PackedForm& form, const uint8_t* group, size_t count,
                            float* HWY_RESTRICT to) {
  for (size_t lane = 0; lane < kPanelLanes; lane += kLanes) {
    Constants<8, Decoding::kWhole> constants;
    constants.Set(form, group, lane);
    for (size_t i = 0; i < count; ++i) {
      float* HWY_RESTRICT at = to + i * kPanelLanes + lane;
      hn::Store(constants.Scale(hn::Load(FloatTag(), at), 0), FloatTag(), at);
    }
  }
}

// Groups that begin inside chunks, or whose inputs are anywhere: values of the codes first, then
// scales and zero points group by group.
template <size_t kBits, Decoding kDecoding>
HWY_NOINLINE void UnpackOdd(const PackedForm& form, const uint32_t* codes,
                            const uint8_t* group_constants, size_t k_begin, size_t depth,
                            float* HWY_RESTRICT to) {
  PackedForm plain = form;  // scale 1 and zero point 0 leave the values as they are
  plain.scale = ConstantCoding::kF32;
  plain.zero = ConstantCoding::kImplied;
  plain.implied_zero = 0;
  plain.group_size = k_begin + depth;
  HWY_ALIGN float ones[kPanelLanes];
  std::fill_n(ones, kPanelLanes, 1.0f);
  UnpackEven<kBits, kDecoding>(plain, codes, reinterpret_cast<const uint8_t*>(ones), k_begin, depth,
                               to);
  for (size_t k = k_begin; k < k_begin + depth;) {
    const bool permuted = form.group_of_column != nullptr;
    const size_t group = permuted ? form.group_of_column[k] : k / form.group_size;
    const size_t end = permuted ? k + 1 : std::min((group + 1) * form.group_size, k_begin + depth);
    ScaleValues(form, group_constants + group * form.ConstantBytes(), end - k,
                to + (k - k_begin) * kPanelLanes);
    k = end;
  }
}

bool GroupsAreChunks(const PackedForm& form, size_t k_begin, size_t depth) {
  if (form.group_of_column != nullptr) return false;
  return form.group_size % kChunk == 0 ||
         k_begin / form.group_size == (k_begin + depth - 1) / form.group_size;
}

// Of codes whose value is not kWhole.
template <size_t kBits, Decoding kDecoding>
void UnpackFormat(const PackedForm& form, const uint32_t* codes, const uint8_t* constants,
                  size_t k_begin, size_t depth, float* to) {
  auto* function = GroupsAreChunks(form, k_begin, depth) ? UnpackEven<kBits, kDecoding>
                                                         : UnpackOdd<kBits, kDecoding>;
  function(form, codes, constants, k_begin, depth, to);
}

template <size_t kBits>
void Unpack(const PackedForm& form, const uint32_t* codes, const uint8_t* constants, size_t k_begin,
            size_t depth, float* to) {
  auto* function =
      form.fused ? UnpackEven<kBits, Decoding::kFused> : UnpackEven<kBits, Decoding::kWhole>;
  if (!GroupsAreChunks(form, k_begin, depth)) function = UnpackOdd<kBits, Decoding::kFused>;
  function(form, codes, constants, k_begin, depth, to);
}

UnpackFunction ForCodes(int bits, CodeValue value) {
  static constexpr std::array<UnpackFunction, 8> kFunctions = {
      Unpack<1>, Unpack<2>, Unpack<3>, Unpack<4>, Unpack<5>, Unpack<6>, Unpack<7>, Unpack<8>};
  switch (value) {
    case CodeValue::kWhole:
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
