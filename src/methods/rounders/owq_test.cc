#include "methods/rounders/owq.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/error.h"
#include "io/yaml.h"
#include "methods/rounders/rtn.h"
#include "methods/test_support.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using testing::Doubles;
using ::testing::ElementsAre;
using testing::Groups;
using testing::Toy;

RounderResult Round(const RounderInput& input, const Scheme& scheme, const char* options,
                    int threads = 2) {
  const Yaml yaml = Yaml::Parse(options, "test");
  testing::TestContext context(threads);
  RounderResult result = MakeOwq(&yaml)->Round(input, scheme, context);
  result.layer.Validate();
  return result;
}

// λ_j = H_jj·‖W_:j − Q(W_:j)‖²
TEST(Owq, KeepsTheMostSensitiveColumns) {
  Toy toy(12, 20, 50, 4);
  for (size_t t = 0; t < 50; ++t) toy.inputs(t, 6) *= 30, toy.inputs(t, 17) *= 20;
  toy.UpdateGram();
  testing::TestContext context(1);
  const Matrix nearest =
      RoundToNearest(toy.weight, Groups(3, 0), ClipSearch::kNone, context).Dequantize();
  std::vector<std::pair<double, uint32_t>> sensitivity;
  for (uint32_t c = 0; c < 20; ++c) {
    double error = 0;
    for (size_t r = 0; r < 12; ++r) error += std::pow(toy.weight(r, c) - nearest(r, c), 2);
    sensitivity.push_back({-error * toy.gram(c, c), c});
  }
  std::ranges::sort(sensitivity);
  std::vector<uint32_t> expected = {sensitivity[0].second, sensitivity[1].second,
                                    sensitivity[2].second};
  std::ranges::sort(expected);
  const RounderResult result = Round(toy.Input(), Groups(3, 0), "{columns: 3}");
  EXPECT_EQ(result.layer.float_columns->column, expected);
}

// The columns in order, the float ones last and without an error of their own: optimal brain
// quantization with a shrinking inverse, in double.
TEST(Owq, IsTheNaiveMethod) {
  Toy toy(6, 16, 50, 5);
  for (size_t t = 0; t < 50; ++t) toy.inputs(t, 3) *= 20;
  toy.UpdateGram();
  const RounderResult result = Round(toy.Input(), Groups(3, 8), "{columns: 2}");
  const std::vector<uint32_t>& kept = result.layer.float_columns->column;
  Doubles h(16, std::vector<double>(16));
  double mean = 0;
  for (size_t i = 0; i < 16; ++i) mean += toy.gram(i, i) / 16.0;
  for (size_t i = 0; i < 16; ++i) {
    for (size_t j = 0; j < 16; ++j) h[i][j] = toy.gram(i, j) + (i == j ? 0.01 * mean : 0);
  }
  const auto is_kept = [&](size_t c) { return c == kept[0] || c == kept[1]; };
  const Matrix got = result.layer.Dequantize();
  for (size_t r = 0; r < 6; ++r) {
    Doubles inverse = testing::Invert(h);
    std::vector<double> w(toy.weight.row(r).begin(), toy.weight.row(r).end());
    for (size_t c = 0; c < 16; ++c) {
      if (is_kept(c)) continue;
      const size_t g = c / 8;
      double low = 0, high = 0;  // of the original weights that are rounded
      for (size_t k = g * 8; k < g * 8 + 8; ++k) {
        if (is_kept(k)) continue;
        low = std::min<double>(low, toy.weight(r, k));
        high = std::max<double>(high, toy.weight(r, k));
      }
      const double scale = (high - low) / 7, zero = std::nearbyint(-low / scale);
      const double code = std::clamp(std::nearbyint(w[c] / scale) + zero, 0.0, 7.0);
      const double rounded = scale * (code - zero);
      EXPECT_NEAR(got(r, c), rounded, 1e-5 * std::max(1.0, std::abs(rounded))) << r << " " << c;
      const double error = (w[c] - rounded) / inverse[c][c];
      const std::vector<double> row = inverse[c];
      for (size_t k = 0; k < 16; ++k) {
        if (k > c || is_kept(k)) w[k] -= error * row[k];
      }
      for (size_t a = 0; a < 16; ++a) {
        for (size_t b = 0; b < 16; ++b) inverse[a][b] -= row[a] * row[b] / row[c];
      }
    }
    for (uint32_t c : kept) EXPECT_NEAR(got(r, c), w[c], 0x1p-10 * std::max(1.0, std::abs(w[c])));
  }
}

TEST(Owq, ExtraBitsBuyColumns) {
  const Toy toy(8, 64, 100, 6);
  // 64 inputs · 0.5 bits = 32 bits: two columns of 16.
  EXPECT_EQ(
      Round(toy.Input(), Groups(4, 32), "{extra_bits: 0.5}").layer.float_columns->column.size(),
      2u);
  // Never none: that would be GPTQ.
  EXPECT_EQ(Round(toy.Input(), Groups(4, 32), "{extra_bits: 0}").layer.float_columns->column.size(),
            1u);
}

TEST(Owq, BeatsRoundingToNearestWhereAColumnStandsOut) {
  Toy toy(32, 64, 300, 7);
  for (size_t t = 0; t < 300; ++t) toy.inputs(t, 9) *= 40;
  toy.UpdateGram();
  testing::TestContext context(2);
  const double nearest = toy.OutputError(
      RoundToNearest(toy.weight, Groups(3, 32), ClipSearch::kNone, context).Dequantize());
  EXPECT_LT(toy.OutputError(Round(toy.Input(), Groups(3, 32), "{columns: 1}").layer.Dequantize()),
            0.5 * nearest);
}

TEST(Owq, DegenerateLayersAndThreads) {
  Toy toy(20, 16, 40, 8);
  for (float& w : toy.weight.row(1)) w = 0;
  for (size_t t = 0; t < 40; ++t) toy.inputs(t, 2) = 0;
  toy.UpdateGram();
  const RounderResult one = Round(toy.Input(), Groups(3, 8), "{columns: 2}", 1);
  const RounderResult many = Round(toy.Input(), Groups(3, 8), "{columns: 2}", 3);
  EXPECT_EQ(one.layer.codes, many.layer.codes);
  // More columns than there are: all of them float.
  EXPECT_EQ(Round(toy.Input(), Groups(3, 8), "{columns: 99}").layer.float_columns->column.size(),
            16u);
  toy.inputs = Matrix(40, 16);
  toy.UpdateGram();
  EXPECT_TRUE(Round(toy.Input(), Groups(3, 8), "{}").fell_back_to_rtn);
  toy.weight(3, 3) = NAN;
  EXPECT_THROW(Round(toy.Input(), Groups(3, 8), "{}"), Error);
}

}  // namespace
}  // namespace qualm
