#include <gmock/gmock.h>

#include <cmath>

#include "io/yaml.h"
#include "methods/transforms.h"
#include "methods/transforms/test_readers.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using testing::RoundRange;
using testing::TestReaders;

// The search in double: inputs per token to 8 bits, weights per row to 4.
double LossInDouble(const TestReaders& readers, const std::vector<double>& shift,
                    const std::vector<double>& scale) {
  const size_t in = readers.inputs.cols();
  double total = 0;
  std::vector<std::vector<double>> weights;
  for (size_t r = 0; r < readers.weights[0].rows(); ++r) {
    std::vector<double> row;
    for (size_t j = 0; j < in; ++j) row.push_back(readers.weights[0](r, j) * scale[j]);
    weights.push_back(RoundRange(row, 4));
  }
  for (size_t t = 0; t < readers.inputs.rows(); ++t) {
    std::vector<double> moved;
    double largest = 0;
    for (size_t j = 0; j < in; ++j) {
      moved.push_back((readers.inputs(t, j) - shift[j]) / scale[j]);
      largest = std::max(largest, std::abs(moved[j]));
    }
    for (double& v : moved) v = largest / 127 * std::nearbyint(v / (largest / 127));
    for (size_t r = 0; r < weights.size(); ++r) {
      double error = 0;
      for (size_t j = 0; j < in; ++j) {
        error +=
            (readers.inputs(t, j) - shift[j]) * readers.weights[0](r, j) - moved[j] * weights[r][j];
      }
      total += error * error;
    }
  }
  return total;
}

TEST(OsPlus, FindsTheShiftAndTheThresholdOfTheNaiveSearch) {
  TestReaders readers(1, 10, 16, 50, 31);
  for (size_t t = 0; t < 50; ++t) readers.inputs(t, 5) = 40 + 5 * readers.inputs(t, 5);
  readers.activations = ActivationPlan{DefaultActivationScheme()};
  testing::TestContext context(2);
  const InputEdit edit = MakeTransform("os_plus", nullptr, "test")->Choose(readers.View(), context);
  std::vector<double> shift(16), half(16);
  double widest = 0;
  for (size_t j = 0; j < 16; ++j) {
    double low = INFINITY, high = -INFINITY;
    for (size_t t = 0; t < 50; ++t) {
      low = std::min<double>(low, readers.inputs(t, j));
      high = std::max<double>(high, readers.inputs(t, j));
    }
    shift[j] = (low + high) / 2;
    half[j] = (high - low) / 2;
    widest = std::max(widest, half[j]);
    // Sum and half in float: one rounding of at most the larger bound.
    EXPECT_NEAR(edit.shift[j], shift[j], 0x1p-23 * std::max(std::abs(low), std::abs(high)));
  }
  double best = INFINITY;
  std::vector<double> expected;
  for (int i = 0; i < 20; ++i) {
    std::vector<double> scale;
    for (double h : half) scale.push_back(std::max(1.0, h / ((1 - i / 20.0) * widest)));
    const double loss = LossInDouble(readers, shift, scale);
    if (loss < best) best = loss, expected = scale;
  }
  for (size_t j = 0; j < 16; ++j) {
    EXPECT_NEAR(edit.scale[j], expected[j], 1e-6 * expected[j]);
  }
}

TEST(OsPlus, WithoutShiftOnlyScales) {
  TestReaders readers(1, 4, 8, 20, 2);
  const Yaml yaml = Yaml::Parse("{shift: false, grid: 3}", "test");
  testing::TestContext context(1);
  const InputEdit edit = MakeTransform("os_plus", &yaml, "test")->Choose(readers.View(), context);
  EXPECT_TRUE(edit.shift.empty());
  EXPECT_EQ(edit.scale.size(), 8u);
}

TEST(OsPlus, InputsThatAreAllZeroAreLeftAlone) {
  TestReaders readers(1, 4, 8, 20, 2);
  readers.inputs = Matrix(20, 8);
  testing::TestContext context(1);
  const InputEdit edit = MakeTransform("os_plus", nullptr, "test")->Choose(readers.View(), context);
  EXPECT_THAT(edit.scale, ::testing::Each(1.0f));
  EXPECT_THAT(edit.shift, ::testing::Each(0.0f));
}

}  // namespace
}  // namespace qualm
