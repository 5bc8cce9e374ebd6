#include "methods/rounders/llm_int8.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/error.h"
#include "io/yaml.h"
#include "kernels/packed.h"
#include "methods/test_support.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::Toy;

Scheme Int8() {
  Scheme scheme = testing::Groups(8, 0);
  scheme.zero_point = ZeroPointKind::kNone;
  scheme.symmetric_convention = SymmetricConvention::kSigned;
  return scheme;
}

RounderResult Round(const Toy& toy, const std::vector<float>& largest, const char* options) {
  const Yaml yaml = Yaml::Parse(options, "test");
  testing::TestContext context(2);
  RounderInput input = toy.Input();
  input.input_abs_max = largest;
  RounderResult result = MakeLlmInt8(&yaml)->Round(input, Int8(), context);
  result.layer.Validate();
  return result;
}

ActivationGrid Int8PerToken() {
  ActivationGrid grid{Int8(), {}};
  grid.scheme.granularity = Granularity::kToken;
  grid.scheme.dynamic = true;
  return grid;
}

// The mixed product in double: float inputs times fp16 weights, the rest rounded by the range of
// the rest.
TEST(LlmInt8, IsTheMixedProduct) {
  Toy toy(7, 12, 9, 3);
  for (size_t t = 0; t < 9; ++t) toy.inputs(t, 4) *= 50, toy.inputs(t, 10) *= 80;
  std::vector<float> largest(12, 1.0f);
  largest[4] = largest[10] = 7;
  RounderResult result = Round(toy, largest, "{}");
  ASSERT_TRUE(result.layer.float_columns.has_value());
  EXPECT_THAT(result.layer.float_columns->column, ElementsAre(4, 10));
  result.layer.activations = Int8PerToken();
  testing::TestContext context(1);
  Matrix y(9, 7);
  MakePackedWeight(result.layer, context)->Multiply(toy.inputs, y, context);
  for (size_t t = 0; t < 9; ++t) {
    double input_range = 0;
    for (size_t c = 0; c < 12; ++c) {
      if (c != 4 && c != 10)
        input_range = std::max<double>(input_range, std::abs(toy.inputs(t, c)));
    }
    for (size_t r = 0; r < 7; ++r) {
      double weight_range = 0, sum = 0, magnitude = 0;
      for (size_t c = 0; c < 12; ++c) {
        if (c != 4 && c != 10) {
          weight_range = std::max<double>(weight_range, std::abs(toy.weight(r, c)));
        }
      }
      for (size_t c = 0; c < 12; ++c) {
        double term = 0;
        if (c == 4 || c == 10) {
          term = double{toy.inputs(t, c)} * ToFloat(HalfFromFloat(toy.weight(r, c)));
        } else {
          const double sx = input_range / 127, sw = weight_range / 127;
          term = sx * std::nearbyint(toy.inputs(t, c) / sx) * sw *
                 std::nearbyint(toy.weight(r, c) / sw);
        }
        sum += term;
        magnitude += std::abs(term);
      }
      // 12 products and sums in float, each value rounded three times.
      EXPECT_NEAR(y(t, r), sum, 16 * 0x1p-24 * magnitude);
    }
  }
}

TEST(LlmInt8, WithoutOutliersItRoundsToNearest) {
  const Toy toy(5, 16, 20, 1);
  testing::TestContext context(1);
  const RounderResult result = Round(toy, std::vector<float>(16, 6.0f), "{threshold: 6}");
  EXPECT_FALSE(result.layer.float_columns.has_value());
  EXPECT_EQ(result.layer.codes,
            MakeRounder("rtn", nullptr, "test")->Round(toy.Input(), Int8(), context).layer.codes);
}

TEST(LlmInt8, AllInputsMayBeOutliers) {
  const Toy toy(3, 5, 20, 1);
  const RounderResult result = Round(toy, std::vector<float>(5, 1.0f), "{threshold: 0}");
  EXPECT_EQ(result.layer.float_columns->column.size(), 5u);
  Toy bad(3, 5, 20, 1);
  bad.weight(0, 0) = NAN;
  EXPECT_THROW(Round(bad, std::vector<float>(5, 1.0f), "{}"), Error);
}

}  // namespace
}  // namespace qualm
