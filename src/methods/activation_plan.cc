// What activations are rounded to by default, and the names of the ways to find a static range.
#include "methods/activation_plan.h"

#include <array>
#include <string_view>

namespace qualm {

EnumNames NamesOfEnum(RangeChoice) {
  static constexpr std::array<std::string_view, 3> kNames = {"min_max", "percentile", "mse"};
  return {"range", kNames};
}

Scheme DefaultActivationScheme() {
  Scheme scheme;
  scheme.bits = 8;
  scheme.granularity = Granularity::kToken;
  scheme.zero_point = ZeroPointKind::kNone;
  scheme.symmetric_convention = SymmetricConvention::kSigned;
  scheme.scale_type = DType::kF32;  // found at run time, or one number in the manifest
  scheme.dynamic = true;
  return scheme;
}

}  // namespace qualm
