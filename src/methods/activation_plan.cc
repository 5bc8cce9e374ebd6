// The names of the ways to find a static range.
#include "methods/activation_plan.h"

#include <array>
#include <string_view>

namespace qualm {

EnumNames NamesOfEnum(RangeChoice) {
  static constexpr std::array<std::string_view, 3> kNames = {"min_max", "percentile", "mse"};
  return {"range", kNames};
}

}  // namespace qualm
