// Number formats whose codes stand for fixed values: 4-bit and 8-bit floats and NF4. A weight is
// scale·value(code); the scale maps the largest magnitude of a group to the format's largest value.
//
//   nf4            16 levels, the quantiles of a normal distribution between -1 and 1 (Dettmers et
//                  al. 2023, QLoRA, appendix E); code i is the i-th level
//   fp8_e4m3       sign, 4 bits of exponent with bias 7, 3 of mantissa; no infinities, largest 448
//                  (OCP 8-bit floating point, e4m3fn)
//   fp8_e4m3_ieee  the same, the highest exponent kept for infinities and NaN: largest 240
//   fp8_e5m2       5 bits of exponent with bias 15, 2 of mantissa, infinities and NaN: largest
//   57344 mxfp4          e2m1 (0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives), groups of 32 with a
//   scale
//                  that is a power of two, stored as e8m0 (OCP microscaling 1.0)
//   nvfp4          e2m1, groups of 16 with an e4m3 scale, and one float32 scale per tensor
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "artefact/scheme.h"

namespace qualm {

class Codebook {
 public:
  // Requires: type is not kInteger.
  static const Codebook& Of(NumberType type);

  int bits() const { return bits_; }
  float largest() const { return largest_; }
  // NaN for codes that are no numbers (NaN and infinity of the format).
  float Value(uint8_t code) const { return values_[code]; }
  // The code of the nearest value; between two, the even code; beyond the largest value, that one.
  // -0 is not used. Requires: x is not NaN.
  uint8_t Nearest(float x) const;

 private:
  Codebook(int bits, float largest, const std::vector<float>& values);

  int bits_;
  float largest_;
  std::array<float, 256> values_;
  std::vector<uint8_t> codes_;   // of distinct values, rising
  std::vector<double> middles_;  // between neighbours, exact
};

// Formats whose scales are single bytes: mxfp4 and nvfp4.
inline bool HasByteScales(NumberType type) {
  return type == NumberType::kMxfp4 || type == NumberType::kNvfp4;
}

// Bytes of one stored scale.
size_t StoredScaleBytes(const Scheme& scheme);

// Byte scales. mxfp4: 2^(byte - 127). nvfp4: the e4m3 number.
uint8_t EncodeByteScale(NumberType type, float scale);
float DecodeByteScale(NumberType type, uint8_t byte);
// The stored scale for a group whose largest magnitude is `largest` > 0 (for nvfp4 already divided
// by the tensor's scale): mxfp4 rounds the exponent down as OCP says, so that the largest values
// may clip; nvfp4 rounds to the nearest e4m3 number, never below its smallest normal one.
float FitByteScale(NumberType type, float largest);

// nvfp4's scale of a tensor with this largest magnitude: largest / (6·448), 1 for a tensor of
// zeros.
float TensorScaleFor(float largest);

}  // namespace qualm
