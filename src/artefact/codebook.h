// Number formats whose codes stand for fixed values: 4-bit and 8-bit floats and NF4. A weight is
// scale·value(code); the scale maps the largest magnitude of a group to the format's largest value.
// What each format is: docs/methods/formats.md. Sources: Dettmers et al. 2023, QLoRA, appendix E
// (nf4); OCP 8-bit floating point 1.0 (fp8_e4m3, which has no infinities, and fp8_e5m2);
// fp8_e4m3_ieee keeps the highest exponent for infinities and NaN; OCP microscaling 1.0 (mxfp4);
// nvfp4 is e2m1 as well, with an e4m3 scale for 16 weights and one float32 scale per tensor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "artefact/scheme.h"

namespace qualm {

// The values of one format, and the search for the nearest one.
class Codebook {
 public:
  // Requires: type is neither kInteger nor kTable.
  static const Codebook& Of(NumberType type);

  int bits() const { return bits_; }
  float largest() const { return largest_; }
  // NaN for codes that are not numbers (NaN and infinity of the format).
  float Value(uint8_t code) const { return values_[code]; }
  // The code of the nearest value; halfway between two values the even code; beyond the largest
  // value the code of that value. -0 is not used. Requires: x is not NaN.
  uint8_t Nearest(float x) const;

 private:
  Codebook(int bits, float largest, std::span<const float> values);

  int bits_;
  float largest_;
  std::array<float, 256> values_;
  std::vector<uint8_t> codes_;   // of distinct values, rising
  std::vector<double> middles_;  // between neighbours, exact
};

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
