#include "methods/rounders/hqq.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"
#include "io/yaml.h"
#include "methods/rounders/rtn.h"
#include "methods/test_support.h"
#include "support/errors.h"
#include "support/random_matrix.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

Scheme FloatZeros(int bits, int group) {
  Scheme scheme = testing::Groups(bits, group);
  scheme.zero_point = ZeroPointKind::kFloat;
  scheme.range_includes_zero = false;
  return scheme;
}

RounderResult Round(const Matrix& weight, const Scheme& scheme, const std::string& options = "",
                    int threads = 1) {
  testing::TestContext context(threads);
  const Yaml yaml = Yaml::Parse(options, "options");
  RounderInput input;
  input.layer = "toy";
  input.weight = weight;
  RounderResult result = MakeHqq(options.empty() ? nullptr : &yaml)->Round(input, scheme, context);
  result.layer.Validate();
  return result;
}

double PowerError(const Matrix& a, const Matrix& b, double p) {
  double sum = 0;
  for (size_t r = 0; r < a.rows(); ++r) {
    for (size_t c = 0; c < a.cols(); ++c) {
      sum += std::pow(std::abs(double{a(r, c)} - double{b(r, c)}), p);
    }
  }
  return sum;
}

// ---- The oracle: the paper's iteration on one group, in double, with float32 only where the
// artefact rounds (scale and zero point).
struct NaiveGroup {
  double scale, zero, error;
};
NaiveGroup NaiveSolve(const std::vector<double>& w, int bits, double p, int iterations) {
  const double most = (1 << bits) - 1;
  const auto [min, max] = std::ranges::minmax(w);
  const double s = static_cast<float>((max - min) / most);
  double z = static_cast<float>(-min / s), beta = 10;
  NaiveGroup best = {s, z, HUGE_VAL};
  for (int i = 0; i <= iterations; ++i, beta *= 1.01) {
    double error = 0, next = 0;
    for (double value : w) {
      const double q = std::clamp(std::nearbyint(value / s + z), 0.0, most);
      const double e = value - s * (q - z);
      error += std::pow(std::abs(e), p);
      const double shrunk =
          e == 0
              ? 0
              : std::copysign(std::max(0.0, std::abs(e) - std::pow(std::abs(e), p - 1) / beta), e);
      next += (q - (value - shrunk) / s) / static_cast<double>(w.size());
    }
    if (error < best.error) best = {s, z, error};
    z = static_cast<float>(next);
  }
  return best;
}

TEST(Hqq, MatchesTheNaiveIteration) {
  for (int bits : {2, 3, 4}) {
    const Matrix weight = testing::HeavyTails(19, 70, static_cast<uint64_t>(bits), 20, 4);
    const Scheme scheme = FloatZeros(bits, 32);
    const QuantizedLinear layer = Round(weight, scheme).layer;
    size_t same = 0;
    for (size_t r = 0; r < 19; ++r) {
      for (size_t group = 0; group < 3; ++group) {
        std::vector<double> w;
        for (size_t c = group * 32; c < std::min<size_t>(70, (group + 1) * 32); ++c) {
          w.push_back(double{weight(r, c)});
        }
        const NaiveGroup naive = NaiveSolve(w, bits, 0.7, 20);
        EXPECT_NEAR(layer.ScaleAt(r, group), naive.scale, naive.scale * 0x1p-22);
        // float32 rounding of one code near a tie moves z by a part of 1/32; otherwise z is the
        // same up to the rounding of w/s + z in 2^bits steps.
        const bool is_same = std::abs(layer.ZeroAt(r, group) - naive.zero) < 16 * 0x1p-22;
        same += is_same;
        double error = 0;
        for (size_t i = 0; i < w.size(); ++i) {
          const double value = layer.Dequantize()(r, group * 32 + i);
          error += std::pow(std::abs(w[i] - value), 0.7);
        }
        // With the same zero point also the same error, up to the float32 rounding of each value,
        // which the power 0.7 makes 1e-4 of a typical term at most; another zero point was nearly
        // as good where it was chosen.
        EXPECT_NEAR(error, naive.error, naive.error * (is_same ? 1e-3 : 0.05));
      }
    }
    EXPECT_GE(same, 57u - 3) << bits;
  }
}

TEST(Hqq, ClearlyBeatsRoundingToNearestInItsNorm) {
  const Matrix weight = testing::HeavyTails(64, 256, 9, 20, 4);
  testing::TestContext context(2);
  for (int bits : {2, 3, 4}) {
    const Scheme scheme = FloatZeros(bits, 64);
    const Matrix nearest = RoundToNearest(weight, scheme, ClipSearch::kNone, context).Dequantize();
    const Matrix solved = Round(weight, scheme).layer.Dequantize();
    EXPECT_LT(PowerError(weight, solved, 0.7), 0.97 * PowerError(weight, nearest, 0.7)) << bits;
  }
}

TEST(Hqq, WithoutIterationsItIsRoundingToNearest) {
  const Matrix weight = testing::HeavyTails(20, 50, 4, 20, 4);
  testing::TestContext context(1);
  const Scheme scheme = FloatZeros(3, 16);
  const QuantizedLinear layer = Round(weight, scheme, "iterations: 0").layer;
  const QuantizedLinear nearest = RoundToNearest(weight, scheme, ClipSearch::kNone, context);
  EXPECT_EQ(layer.codes, nearest.codes);
  EXPECT_EQ(layer.zeros, nearest.zeros);
}

TEST(Hqq, DegenerateLayersRound) {
  Matrix weight(18, 40);
  for (size_t r = 1; r < 18; ++r) std::ranges::fill(weight.row(r), r % 2 == 0 ? 0.5f : -2.0f);
  weight(3, 7) = 0;
  Scheme scheme = FloatZeros(4, 8);
  scheme.scale_type = DType::kF16;
  const Matrix rounded = Round(weight, scheme).layer.Dequantize();
  for (size_t r = 0; r < 18; ++r) {
    for (size_t c = 0; c < 40; ++c) {
      // Equal values stand at an end of the range: off by the rounding of a float16 scale.
      EXPECT_NEAR(rounded(r, c), weight(r, c), std::abs(weight(r, c)) * 0x1p-10);
    }
  }
  EXPECT_EQ(Round(Matrix(1, 1), FloatZeros(2, 0)).layer.Dequantize()(0, 0), 0);
}

TEST(Hqq, TheSameForEveryNumberOfThreads) {
  const Matrix weight = testing::HeavyTails(50, 64, 5, 20, 4);
  const Scheme scheme = FloatZeros(3, 32);
  const QuantizedLinear one = Round(weight, scheme, "", 1).layer;
  const QuantizedLinear three = Round(weight, scheme, "", 3).layer;
  EXPECT_EQ(one.codes, three.codes);
  EXPECT_EQ(one.zeros, three.zeros);
}

TEST(Hqq, RefusesSchemesThatHaveNoFractionalZeroPoints) {
  const Matrix weight = testing::HeavyTails(4, 8, 1, 20, 4);
  Scheme scheme = FloatZeros(4, 4);
  scheme.zero_point = ZeroPointKind::kInteger;
  EXPECT_THAT(ErrorOf([&] { Round(weight, scheme); }), HasSubstr("zero_point: float"));
  scheme.zero_point = ZeroPointKind::kFloat;
  Matrix bad = Matrix::CopyOf(weight);
  bad(2, 1) = NAN;
  EXPECT_THAT(ErrorOf([&] { Round(bad, scheme); }), HasSubstr("at row 2, column 1"));
}

TEST(Hqq, OptionsAreStrictAndSpelledOut) {
  const auto make = [](const char* text) {
    const Yaml options = Yaml::Parse(text, "recipe.yaml");
    return MakeHqq(&options)->OptionsJson();
  };
  EXPECT_EQ(MakeHqq(nullptr)->OptionsJson(),
            R"({"lp_norm": 0.7, "beta": 10, "kappa": 1.01, "iterations": 20})");
  EXPECT_THAT(make("iterations: 5"), HasSubstr(R"("iterations": 5)"));
  for (const char* bad : {"lp_norm: 2", "lp_norm: nan", "beta: 0", "kappa: 0.5", "iterations: -1",
                          "iterations: 1.5", "iters: 3", "[]"}) {
    EXPECT_THROW(make(bad), Error) << bad;
  }
}

}  // namespace
}  // namespace qualm
