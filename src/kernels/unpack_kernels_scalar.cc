// Unpacking in plain C++, one code after the other, exactly as docs/formats/packed.md defines it.
// It serves processors without vector kernels and is the oracle of the vector kernels.
#include <cmath>
#include <cstring>

#include "artefact/codebook.h"
#include "kernels/unpack_kernels.h"

namespace qualm {
namespace {

// Number `index` of an array of 16- or 32-bit floats that need not be aligned.
float FloatAt(DType type, const uint8_t* from, size_t index) {
  float value;
  ConvertToFloat(type, from + index * SizeOf(type), &value, 1);
  return value;
}

// The scale or zero point of one lane, from a record in this coding.
float ConstantAt(const PackedForm& form, ConstantCoding coding, const uint8_t* from, size_t lane) {
  switch (coding) {
    case ConstantCoding::kImplied:
      return form.implied_zero;
    case ConstantCoding::kByte:
      return static_cast<float>(from[lane]);
    case ConstantCoding::kF16:
      return FloatAt(DType::kF16, from, lane);
    case ConstantCoding::kBF16:
      return FloatAt(DType::kBF16, from, lane);
    case ConstantCoding::kF32:
      return FloatAt(DType::kF32, from, lane);
    case ConstantCoding::kPowerOfTwo:
      return DecodeByteScale(NumberType::kMxfp4, from[lane]);
    case ConstantCoding::kE4m3: {
      const float scale = DecodeByteScale(NumberType::kNvfp4, from[lane]);
      return form.tensor_scale_divides ? scale / form.tensor_scale : scale * form.tensor_scale;
    }
    case ConstantCoding::kSecondLevel:
      break;
  }

  // kSecondLevel: a byte for each lane, and a scale and a zero for all of them in float32.
  const float scale = FloatAt(DType::kF32, from, 0), zero = FloatAt(DType::kF32, from, 1);
  return scale * (static_cast<float>(from[2 * sizeof(float) + lane]) - zero);
}

// The code of (k, lane): bits [k·bits, (k+1)·bits) of the lane's bit string in that chunk.
uint32_t CodeAt(const PackedForm& form, const uint32_t* codes, size_t k, size_t lane) {
  const auto bits = static_cast<size_t>(form.bits);
  const uint32_t* words = codes + k / kChunkInputs * bits * kPanelLanes + lane;
  const size_t first = k % kChunkInputs * bits, word = first / 32, shift = first % 32;

  uint64_t value = words[word * kPanelLanes];
  if (shift + bits > 32) value |= uint64_t{words[(word + 1) * kPanelLanes]} << 32;
  return static_cast<uint32_t>(value >> shift) & ((1u << bits) - 1);
}

// What a code means before scale and zero point.
float ValueOf(const PackedForm& form, uint32_t code) {
  switch (form.value) {
    case CodeValue::kWhole:
      break;
    case CodeValue::kTable:
      return form.table[code];
    case CodeValue::kWideTable:
      return form.wide_table[code];
    case CodeValue::kE4m3:
      return Codebook::Of(NumberType::kFp8E4m3).Value(static_cast<uint8_t>(code));
    case CodeValue::kE5m2:
      return Codebook::Of(NumberType::kFp8E5m2).Value(static_cast<uint8_t>(code));
  }
  return static_cast<float>(code);
}

// The weight of a code with this value.
float WeightOf(const PackedForm& form, float value, float scale, float zero) {
  if (form.zero_is_offset) return form.value_form.Of(std::fma(scale, value, zero));
  float difference = value - zero;
  if (form.value_form.rounds_difference) difference = RoundTo(difference, form.value_form.type);
  return form.value_form.Of(scale * difference);
}

}  // namespace

void UnpackScalar(const PackedForm& form, const uint32_t* codes, const uint8_t* constants,
                  size_t k_begin, size_t depth, float* to) {
  float scale[kPanelLanes], zero[kPanelLanes];
  for (size_t k = k_begin; k < k_begin + depth; ++k) {
    const bool permuted = form.group_of_column != nullptr;
    // Constants change where a group begins; permuted groups may change at every input.
    if (permuted || k == k_begin || k % form.group_size == 0) {
      const size_t index = permuted ? form.group_of_column[k] : k / form.group_size;
      const uint8_t* group = constants + index * form.ConstantBytes();
      for (size_t lane = 0; lane < kPanelLanes; ++lane) {
        scale[lane] = ConstantAt(form, form.scale, group, lane);
        zero[lane] = ConstantAt(form, form.zero, group + form.scale_record, lane);
      }
    }

    for (size_t lane = 0; lane < kPanelLanes; ++lane) {
      *to++ = WeightOf(form, ValueOf(form, CodeAt(form, codes, k, lane)), scale[lane], zero[lane]);
    }
  }
}

}  // namespace qualm
