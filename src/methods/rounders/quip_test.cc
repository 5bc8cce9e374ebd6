#include "methods/rounders/quip.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/error.h"
#include "io/yaml.h"
#include "kernels/transformed_weight.h"
#include "methods/test_support.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using testing::Doubles;
using ::testing::HasSubstr;
using testing::Toy;

Scheme QuipScheme(int bits) {
  Scheme scheme;
  scheme.bits = bits;
  scheme.granularity = Granularity::kTensor;
  scheme.zero_point = ZeroPointKind::kFloat;
  scheme.range_includes_zero = false;
  scheme.scale_type = DType::kF32;
  return scheme;
}

RounderResult Round(const RounderInput& input, int bits, const char* options, int threads = 2) {
  const Yaml yaml = Yaml::Parse(options, "test");
  testing::TestContext context(threads);
  return MakeQuip(&yaml)->Round(input, QuipScheme(bits), context);
}

Doubles Damped(const Matrix& gram, double damp) {
  const size_t n = gram.rows();
  Doubles h(n, std::vector<double>(n));
  double mean = 0;
  for (size_t i = 0; i < n; ++i) mean += gram(i, i) / static_cast<double>(n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) h[i][j] = gram(i, j) + (i == j ? damp * mean : 0);
  }
  return h;
}

// H = (U̇ + I)·D·(U̇ + I)ᵀ with U̇ strictly upper triangular, from the last column on.
Doubles UpperUnitFactor(Doubles h) {
  const size_t n = h.size();
  Doubles u(n, std::vector<double>(n, 0));
  for (size_t k = n; k-- > 0;) {
    for (size_t i = 0; i < k; ++i) u[i][k] = h[i][k] / h[k][k];
    for (size_t i = 0; i < k; ++i) {
      for (size_t j = 0; j < k; ++j) h[i][j] -= u[i][k] * u[j][k] * h[k][k];
    }
  }
  return u;
}

double Nearest(double w, double scale, int bits) {
  const double most = (1 << bits) - 1;
  return scale * (std::clamp(std::nearbyint(w / scale + most / 2), 0.0, most) - most / 2);
}

// ŵ_k = Q(w_k + Σ_{j<k} (w_j − ŵ_j)·U̇_jk), section 3.
TEST(Quip, IsLdlqWithoutIncoherence) {
  for (uint64_t seed : std::initializer_list<uint64_t>{1, 2, 3}) {
    const Toy toy(7, 24, 60, seed);
    const double damp = 0.01;
    const RounderResult result = Round(toy.Input(), 3, "{incoherence: false}");
    double squares = 0;
    for (size_t r = 0; r < 7; ++r) {
      for (float w : toy.weight.row(r)) squares += double{w} * w;
    }
    const double scale = 2 * 2.4 * std::sqrt(squares / (7 * 24)) / 7;
    EXPECT_NEAR(result.layer.scales[0], scale, 0x1p-22 * scale);
    EXPECT_EQ(result.layer.zeros[0], 3.5f);
    const Doubles u = UpperUnitFactor(Damped(toy.gram, damp));
    const Matrix got = result.layer.Dequantize();
    size_t different = 0;
    for (size_t r = 0; r < 7; ++r) {
      std::vector<double> rounded(24);
      for (size_t k = 0; k < 24; ++k) {
        double target = toy.weight(r, k);
        for (size_t j = 0; j < k; ++j) target += (toy.weight(r, j) - rounded[j]) * u[j][k];
        rounded[k] = Nearest(target, scale, 3);
        different += std::abs(rounded[k] - got(r, k)) > scale / 2;
      }
    }
    EXPECT_EQ(different, 0u) << seed;  // no near ties for these seeds
  }
}

double OutputError(const Toy& toy, const RounderResult& result) {
  testing::TestContext context(2);
  return toy.OutputError(EffectiveWeight(result.layer, context));
}

TEST(Quip, RotationsAreUndoneByTheEffectiveWeight) {
  const Toy toy(24, 40, 200, 5);
  // A grid that clips nothing, and damping that keeps errors where they arise.
  for (const char* options :
       {"{rotation: kronecker, rho: 9, damp: 100}", "{rotation: hadamard, rho: 9, damp: 100}",
        "{rotation: hadamard, rescale: false, rho: 9, damp: 100}"}) {
    const RounderResult result = Round(toy.Input(), 8, options);
    testing::TestContext context(2);
    const Matrix effective = EffectiveWeight(result.layer, context);
    // Steps are 18/255 of the weights' root mean square; rescaling stretches some of them.
    double difference = 0;
    for (size_t r = 0; r < 24; ++r) {
      for (size_t c = 0; c < 40; ++c) {
        difference = std::max<double>(difference, std::abs(effective(r, c) - toy.weight(r, c)));
      }
    }
    EXPECT_LT(difference, 0.5) << options;
    EXPECT_GT(difference, 0) << options;
  }
}

TEST(Quip, BeatsRoundingToNearestOnCorrelatedInputs) {
  const Toy toy(32, 64, 400, 6);
  testing::TestContext context(2);
  const double nearest = toy.OutputError(MakeRounder("rtn", nullptr, "test")
                                             ->Round(toy.Input(), testing::Groups(2, 0), context)
                                             .layer.Dequantize());
  for (const char* options : {"{rotation: kronecker}", "{rotation: hadamard}"}) {
    EXPECT_LT(OutputError(toy, Round(toy.Input(), 2, options)), 0.7 * nearest) << options;
  }
}

// A factor that moves from a column of W to its input moves back with D: the same matrices are
// rounded, and the same codes come out. A power of two, so that nothing else is rounded.
TEST(Quip, RescalingUndoesOutlierInputs) {
  const Toy toy(24, 32, 200, 11);
  Toy stressed(24, 32, 200, 11);
  for (size_t c : std::initializer_list<size_t>{3, 20}) {
    for (size_t t = 0; t < 200; ++t) stressed.inputs(t, c) *= 64;
    for (size_t r = 0; r < 24; ++r) stressed.weight(r, c) /= 64;
  }
  stressed.UpdateGram();
  const double plain = OutputError(toy, Round(toy.Input(), 3, "{}"));
  // Codes may fall to the other side where D's last bit is another.
  EXPECT_NEAR(OutputError(stressed, Round(stressed.Input(), 3, "{}")), plain, 0.05 * plain);
  EXPECT_GT(OutputError(stressed, Round(stressed.Input(), 3, "{rescale: false}")), 2 * plain);
}

// What the passes lower: tr((W − Ŵ)·H·(W − Ŵ)ᵀ) with the damped H, in double.
TEST(Quip, GreedyPassesLowerTheProxyLoss) {
  const Toy toy(20, 32, 100, 8);
  const Doubles h = Damped(toy.gram, 0.01);
  const auto loss = [&](const char* options) {
    const Matrix rounded = Round(toy.Input(), 2, options).layer.Dequantize();
    double total = 0;
    for (size_t r = 0; r < 20; ++r) {
      for (size_t i = 0; i < 32; ++i) {
        for (size_t j = 0; j < 32; ++j) {
          total += (double{toy.weight(r, i)} - rounded(r, i)) * h[i][j] *
                   (double{toy.weight(r, j)} - rounded(r, j));
        }
      }
    }
    return total;
  };
  const double none = loss("{incoherence: false}");
  const double one = loss("{incoherence: false, greedy_passes: 1}");
  const double five = loss("{incoherence: false, greedy_passes: 5}");
  EXPECT_LT(one, none);
  EXPECT_LE(five, one * (1 + 1e-6));
}

TEST(Quip, TheSeedDecidesAndThreadsDoNot) {
  const Toy toy(20, 48, 80, 9);
  RounderInput input = toy.Input();
  for (const char* options : {"{}", "{rotation: hadamard, greedy_passes: 1}"}) {
    const RounderResult one = Round(input, 3, options, 1), many = Round(input, 3, options, 3);
    EXPECT_EQ(one.layer.codes, many.layer.codes);
    input.seed = 1;
    EXPECT_NE(Round(input, 3, options).layer.codes, one.layer.codes);
    input.seed = 0;
  }
}

TEST(Quip, DegenerateLayers) {
  Toy zeros(4, 12, 30, 1);
  zeros.weight = Matrix(4, 12);
  testing::TestContext context(1);
  const Matrix effective = EffectiveWeight(Round(zeros.Input(), 4, "{}").layer, context);
  for (size_t r = 0; r < 4; ++r) {
    for (float w : effective.row(r)) EXPECT_LT(std::abs(w), 4.0f);  // a grid of step 1 around 0
  }
  Toy dead(4, 12, 30, 2);
  dead.inputs = Matrix(30, 12);
  dead.UpdateGram();
  EXPECT_TRUE(Round(dead.Input(), 4, "{damp: 0}").fell_back_to_rtn);
  const Toy narrow(3, 1, 10, 3);
  (void)Round(narrow.Input(), 4, "{}");
  Toy nan(2, 4, 10, 4);
  nan.weight(1, 2) = NAN;
  EXPECT_THROW(Round(nan.Input(), 4, "{}"), Error);
}

TEST(Quip, RefusesOtherGrids) {
  const Toy toy(4, 8, 20, 1);
  testing::TestContext context(1);
  try {
    (void)MakeQuip(nullptr)->Round(toy.Input(), testing::Groups(4, 8), context);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("granularity: tensor"));
  }
}

}  // namespace
}  // namespace qualm
