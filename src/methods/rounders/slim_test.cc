#include "methods/rounders/slim.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/error.h"
#include "io/yaml.h"
#include "methods/columns/slim_allocation.h"
#include "methods/columns/slim_grid.h"
#include "methods/test_support.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;
using testing::Toy;

Scheme SlimScheme(int bits, int group) {
  Scheme scheme = testing::Groups(bits, group);
  scheme.zero_point = ZeroPointKind::kFloat;
  return scheme;
}

RounderResult Round(const Toy& toy, const Scheme& scheme, const char* options, int threads = 2) {
  const Yaml yaml = Yaml::Parse(options, "test");
  testing::TestContext context(threads);
  RounderInput input = toy.Input();
  input.sample = toy.inputs;
  RounderResult result = MakeSlim(&yaml)->Round(input, scheme, context);
  result.layer.Validate();
  return result;
}

TEST(MixedGrids, OneBitIsSignTimesMeanDistance) {
  const MixedGrids grids(SlimScheme(2, 5));
  AlignedArray<float> values(5 * kPanelLanes);
  std::fill_n(values.data(), 5 * kPanelLanes, 0.0f);
  const float lane[5] = {1, 2, 3, -4, 8};  // mean 2, mean distance 2.8
  for (size_t i = 0; i < 5; ++i) values[i * kPanelLanes + 3] = lane[i];
  GridLanes lanes;
  grids.Fit(1, values.data(), 5, lanes);
  for (size_t i = 0; i < 5; ++i) {
    std::array<float, kPanelLanes> rounded;
    std::array<uint8_t, kPanelLanes> codes;
    grids.Of(1).QuantizeLanes(&values[i * kPanelLanes], lanes, codes.data(), rounded.data());
    EXPECT_NEAR(rounded[3], lane[i] > 2 ? 4.8f : -0.8f, 1e-5f);
  }
}

double RangeValue(double w, double low, double high, int bits) {
  const double most = (1 << bits) - 1;
  low = std::min(low, 0.0), high = std::max(high, 0.0);
  if (low == high) return 0;
  const double s = (high - low) / most, z = -low / s;
  return s * (std::clamp(std::nearbyint(w / s + z), 0.0, most) - z);
}

// The allocation by definition, in double: all i, each with the whole layer rounded anew.
TEST(SlimAllocation, TakesTheNumberWithTheSmallestDivergence) {
  for (uint64_t seed : std::initializer_list<uint64_t>{1, 2, 3, 4}) {
    Toy toy(10, 48, 40, seed);
    for (size_t c = 8; c < 16; ++c) {
      for (size_t t = 0; t < 40; ++t) toy.inputs(t, c) *= 6;
    }
    toy.UpdateGram();
    testing::TestContext context(2);
    const Scheme scheme = SlimScheme(3, 8);
    const HessianFactor factor = FactorHessian(toy.Input(), {}, context);
    const std::vector<uint8_t> got =
        AllocateGroupBits(toy.weight, scheme, factor, toy.inputs, context);
    std::vector<double> salience(6, 0.0);
    for (size_t c = 0; c < 48; ++c) {
      for (size_t r = 0; r < 10; ++r) {
        salience[c / 8] += std::pow(toy.weight(r, c) / factor.upper(c, c), 2);
      }
    }
    std::vector<size_t> order = {0, 1, 2, 3, 4, 5};
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return salience[a] < salience[b]; });
    std::vector<int> best;
    double least = INFINITY;
    for (size_t i = 0; i <= 3; ++i) {
      std::vector<int> bits(6, 3);
      for (size_t k = 0; k < i; ++k) bits[order[k]] = 2, bits[order[5 - k]] = 4;
      double divergence = 0;
      for (size_t t = 0; t < 40; ++t) {
        std::vector<double> exact(10, 0.0), rounded(10, 0.0);
        for (size_t r = 0; r < 10; ++r) {
          for (size_t c = 0; c < 48; ++c) {
            double low = INFINITY, high = -INFINITY;
            for (size_t k = c / 8 * 8; k < c / 8 * 8 + 8; ++k) {
              low = std::min<double>(low, toy.weight(r, k));
              high = std::max<double>(high, toy.weight(r, k));
            }
            exact[r] += double{toy.inputs(t, c)} * toy.weight(r, c);
            rounded[r] += toy.inputs(t, c) * RangeValue(toy.weight(r, c), low, high, bits[c / 8]);
          }
        }
        const auto log_sum = [](const std::vector<double>& logits) {
          const double largest = *std::ranges::max_element(logits);
          double sum = 0;
          for (double v : logits) sum += std::exp(v - largest);
          return largest + std::log(sum);
        };
        for (size_t r = 0; r < 10; ++r) {
          const double q = rounded[r] - log_sum(rounded);
          divergence += std::exp(q) * (q - (exact[r] - log_sum(exact)));
        }
      }
      if (divergence < least) least = divergence, best = bits;
    }
    EXPECT_THAT(std::vector<int>(got.begin(), got.end()), ::testing::ElementsAreArray(best))
        << seed;
  }
}

// With λ = 1 salient elements count like all others, whatever counts as salient.
TEST(Slim, LambdaOneIsTheUnweightedSearch) {
  const Toy toy(40, 64, 100, 5);
  const RounderResult one = Round(toy, SlimScheme(3, 16), "{lambda: 1}");
  const RounderResult other = Round(toy, SlimScheme(3, 16), "{lambda: 1, salient_sigma: 1}");
  EXPECT_EQ(one.layer.codes, other.layer.codes);
  EXPECT_EQ(one.layer.scales, other.layer.scales);
  // No element is salient: the weighting has nothing to weigh.
  const RounderResult none = Round(toy, SlimScheme(3, 16), "{lambda: 50, salient_sigma: 100}");
  EXPECT_EQ(one.layer.codes, none.layer.codes);
  EXPECT_EQ(one.layer.scales, none.layer.scales);
  EXPECT_NE(one.layer.scales,
            Round(toy, SlimScheme(3, 16), "{lambda: 50, salient_sigma: 1}").layer.scales);
}

// One row, one group: nothing is updated before the range is chosen. The best of 101 ranges by the
// weighted loss, in double.
TEST(Slim, TakesTheRangeWithTheSmallestWeightedError) {
  for (uint64_t seed : std::initializer_list<uint64_t>{3, 4, 5}) {
    Toy toy(1, 32, 60, seed);
    toy.weight(0, 7) = 4.5f;
    const RounderResult result = Round(toy, SlimScheme(3, 32), "{lambda: 20, salient_sigma: 2}");
    double mean = 0, squares = 0, low = 0, high = 0;
    for (float w : toy.weight.row(0)) {
      mean += w / 32.0;
      low = std::min<double>(low, w);
      high = std::max<double>(high, w);
    }
    for (float w : toy.weight.row(0)) squares += (w - mean) * (w - mean);
    const double limit = 2 * std::sqrt(squares / 32);
    const auto loss = [&](double scale) {
      const double zero = -low / ((high - low) / 7);
      double total = 0;
      for (float w : toy.weight.row(0)) {
        const double code = std::clamp(std::nearbyint(w / scale + zero), 0.0, 7.0);
        const double error = std::pow(std::abs(w - scale * (code - zero)), 2.4);
        total += (std::abs(w - mean) > limit ? 20 : 1) * error;
      }
      return total;
    };
    double least = INFINITY;
    for (int step = -50; step <= 50; ++step) {
      least = std::min(least, loss((high - low) / 7 * (1 + 0.1 * step / 50)));
    }
    // The powers are approximated to 2e-6, and scales are floats.
    EXPECT_LE(loss(result.layer.ScaleAt(0, 0)), least * (1 + 1e-4)) << seed;
  }
}

TEST(Slim, KeepsTheMeanNumberOfBits) {
  Toy toy(24, 128, 300, 7);
  for (size_t c = 16; c < 32; ++c) {
    for (size_t t = 0; t < 300; ++t) toy.inputs(t, c) *= 10;
  }
  toy.UpdateGram();
  const RounderResult result = Round(toy, SlimScheme(2, 16), "{}");
  ASSERT_FALSE(result.layer.bits_per_group.empty());
  int total = 0;
  for (uint8_t b : result.layer.bits_per_group) total += b;
  EXPECT_EQ(total, 2 * 8);
  testing::TestContext context(2);
  const Yaml none = Yaml::Parse("{}", "test");
  EXPECT_LT(toy.OutputError(result.layer.Dequantize()),
            toy.OutputError(MakeRounder("gptq", &none, "test")
                                ->Round(toy.Input(), testing::Groups(2, 16), context)
                                .layer.Dequantize()));
}

TEST(Slim, DegenerateLayersAndThreads) {
  Toy toy(20, 40, 60, 8);
  for (float& w : toy.weight.row(1)) w = 0;
  for (size_t t = 0; t < 60; ++t) toy.inputs(t, 2) = 0;
  toy.UpdateGram();
  EXPECT_EQ(Round(toy, SlimScheme(2, 16), "{}", 1).layer.codes,
            Round(toy, SlimScheme(2, 16), "{}", 3).layer.codes);
  toy.inputs = Matrix(60, 40);
  toy.UpdateGram();
  EXPECT_TRUE(Round(toy, SlimScheme(2, 16), "{}").fell_back_to_rtn);
  toy.weight(0, 0) = NAN;
  EXPECT_THROW(Round(toy, SlimScheme(2, 16), "{}"), Error);
  const Toy fine(4, 16, 20, 1);
  try {
    (void)Round(fine, testing::Groups(2, 8), "{}");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("zero_point: float with 2 bits"));
  }
}

}  // namespace
}  // namespace qualm
