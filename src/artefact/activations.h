// How the inputs of a linear layer are quantized, and the rounding itself: one definition for
// calibration, evaluation, generation and the kernels that compute with the codes.
//
// Codes and values are those of grid.h. Per token: one scale for a token's inputs, found from them.
// Per group: one scale for every `group_size` inputs of a token. Per tensor: one scale for all
// tokens, found in calibration and stored. None of these looks at another token, so a result does
// not depend on the batch in which it is computed.
#pragma once

#include <span>
#include <string_view>

#include "artefact/grid.h"
#include "artefact/scheme.h"

namespace qualm {

// How the scale of a group is found where it is not the grid's own way: as compressed-tensors does.
enum class GroupScaleRule : uint8_t {
  kGrid,
  kPowerOfTwo,  // by the power of two below the largest magnitude, above it from 1.75 on
  kGlobal,      // an e4m3 number relative to a static scale of the tensor (NVFP4)
};
EnumNames NamesOfEnum(GroupScaleRule);

// How inputs are rounded, as a layer stores it.
struct ActivationGrid {
  Scheme scheme;    // kToken or kGroup with `dynamic`, or kTensor without
  GridPoint point;  // of kTensor
  GroupScaleRule rule = GroupScaleRule::kGrid;  // of groups with 4- and 8-bit floats
  float global_scale = 1;                       // of kGlobal: scales are divided by it

  // Throws bad input for schemes that ValidateActivationScheme refuses, and for a static scale or
  // zero point that is not on the grid.
  void Validate() const;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("scheme", self.scheme);
    const bool is_dynamic = self.scheme.dynamic;  // then the point is found at run time
    visit("scale", self.point.scale, {.optional = is_dynamic, .is_written = !is_dynamic});
    visit("zero", self.point.zero, {.optional = is_dynamic, .is_written = !is_dynamic});
    const bool has_rule = self.rule != GroupScaleRule::kGrid;
    visit("group_scale", self.rule, {.optional = true, .is_written = has_rule});
    const bool is_global = self.rule == GroupScaleRule::kGlobal;
    visit("global_scale", self.global_scale, {.optional = true, .is_written = is_global});
  }
};

// Checks what inputs can be quantized with. Throws bad input for granularity channel, a tensor
// scale that is not static, second levels, zero points that are not whole, and nvfp4, whose tensor
// scale would depend on the batch.
void ValidateActivationScheme(const Scheme& scheme);
// "int8-token", "fp8_e4m3-tensor": for people and tables.
std::string ActivationShortName(const Scheme& scheme);

// Rounds inputs token by token. It holds no state between tokens, so threads may share it.
class ActivationQuantizer {
 public:
  explicit ActivationQuantizer(const ActivationGrid& grid);

  // x̂ of one token, x [in]; `rounded` may be `x`. If x has a NaN or an infinity, the whole group
  // (or token) becomes NaN, because the grid would turn it into finite numbers.
  void Round(std::span<const float> x, std::span<float> rounded) const;
  // The codes of one token, and their scale and zero point. Requires a scheme without groups. The
  // scale is NaN if x has a NaN or an infinity.
  GridPoint Quantize(std::span<const float> x, std::span<uint8_t> codes) const;

 private:
  GridPoint Fit(std::span<const float> x) const;

  ActivationGrid activations_;
  Grid grid_;
};

// Codes (may be null) and rounded values (may be null, or `x`) of numbers that share a scale and
// zero point.
void RoundSame(const Grid& grid, GridPoint point, std::span<const float> x, uint8_t* codes,
               float* rounded);
// Smallest and largest of `count` > 0 values.
void RangeOf(std::span<const float> values, float& min, float& max);

}  // namespace qualm
