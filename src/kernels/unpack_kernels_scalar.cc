// Unpacking in plain C++: by the definition, one code after the other.
#include <cstring>

#include "kernels/unpack_kernels.h"

namespace qualm {
namespace {

constexpr size_t kLanes = 16;

float FloatAt(DType type, const uint8_t* from, size_t index) {
  float value;
  ConvertToFloat(type, from + index * SizeOf(type), &value, 1);
  return value;
}

float ZeroAt(const PackedForm& form, const uint8_t* constants, size_t lane) {
  const uint8_t* zeros = constants + kLanes * form.scale_bytes;
  switch (form.stored_zero) {
    case StoredZero::kImplied:
      return form.implied_zero;
    case StoredZero::kByte:
      return static_cast<float>(zeros[lane]);
    case StoredZero::kFloat:
      break;
  }
  return FloatAt(form.scale_type, zeros, lane);
}

// The code of (k, lane): bits [k·bits, (k+1)·bits) of the chunk's string of the lane.
uint32_t CodeAt(const PackedForm& form, const uint32_t* codes, size_t k, size_t lane) {
  const auto bits = static_cast<size_t>(form.bits);
  const uint32_t* words = codes + k / kChunk * bits * kLanes + lane;
  const size_t first = k % kChunk * bits, word = first / 32, shift = first % 32;
  uint64_t value = words[word * kLanes];
  if (shift + bits > 32) value |= uint64_t{words[(word + 1) * kLanes]} << 32;
  return static_cast<uint32_t>(value >> shift) & ((1u << bits) - 1);
}

}  // namespace

void UnpackScalar(const PackedForm& form, const uint32_t* codes, const uint8_t* constants,
                  size_t k_begin, size_t depth, float* to) {
  float scale[kLanes], zero[kLanes];
  for (size_t k = k_begin; k < k_begin + depth; ++k) {
    if (k == k_begin || k % form.group_size == 0) {
      const uint8_t* group = constants + k / form.group_size * form.ConstantBytes();
      for (size_t lane = 0; lane < kLanes; ++lane) {
        scale[lane] = FloatAt(form.scale_type, group, lane);
        zero[lane] = ZeroAt(form, group, lane);
      }
    }
    for (size_t lane = 0; lane < kLanes; ++lane) {
      *to++ = scale[lane] * (static_cast<float>(CodeAt(form, codes, k, lane)) - zero[lane]);
    }
  }
}

}  // namespace qualm
