#include <gmock/gmock.h>

#include <cmath>

#include "io/yaml.h"
#include "methods/test_support.h"
#include "methods/transforms.h"
#include "methods/transforms/test_readers.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using testing::TestReaders;

// s_j = max|X_j|^α / max|W_j|^(1−α) over all readers, in double.
TEST(SmoothQuant, IsTheDefinition) {
  for (const char* options : {"{}", "{alpha: 0.85}", "{alpha: 0}", "{alpha: 1}"}) {
    TestReaders readers(2, 24, 12, 100, 5);
    const Yaml yaml = Yaml::Parse(options, "test");
    const Yaml* alpha_yaml = yaml.Find("alpha");
    const double alpha = alpha_yaml == nullptr ? 0.5 : alpha_yaml->AsDouble();
    testing::TestContext context(2);
    const InputEdit edit =
        MakeTransform("smoothquant", &yaml, "test")->Choose(readers.View(), context);
    ASSERT_EQ(edit.scale.size(), 12u);
    EXPECT_TRUE(edit.shift.empty());
    for (size_t j = 0; j < 12; ++j) {
      double x = 0, w = 0;
      for (size_t t = 0; t < 100; ++t) x = std::max(x, std::abs(double{readers.inputs(t, j)}));
      for (const Matrix& weight : readers.weights) {
        for (size_t r = 0; r < 24; ++r) w = std::max(w, std::abs(double{weight(r, j)}));
      }
      const double expected = std::pow(x, alpha) / std::pow(w, 1 - alpha);
      EXPECT_NEAR(edit.scale[j], expected, 0x1p-23 * expected);  // one rounding to float
    }
  }
}

TEST(SmoothQuant, AnInputThatNobodySawKeepsItsScale) {
  TestReaders readers(1, 4, 3, 10, 1);
  for (size_t t = 0; t < 10; ++t) readers.inputs(t, 1) = 0;
  for (size_t r = 0; r < 4; ++r) readers.weights[0](r, 2) = 0;
  testing::TestContext context(1);
  const InputEdit edit =
      MakeTransform("smoothquant", nullptr, "test")->Choose(readers.View(), context);
  EXPECT_EQ(edit.scale[1], 1);
  EXPECT_TRUE(std::isfinite(edit.scale[2]));
}

}  // namespace
}  // namespace qualm
