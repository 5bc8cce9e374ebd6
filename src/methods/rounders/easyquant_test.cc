#include "methods/rounders/easyquant.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "io/yaml.h"
#include "methods/rounders/rtn.h"
#include "methods/test_support.h"
#include "support/random_matrix.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;

Scheme Symmetric(int bits, int group) {
  Scheme scheme = testing::Groups(bits, group);
  scheme.zero_point = ZeroPointKind::kNone;
  scheme.symmetric_convention = SymmetricConvention::kSigned;
  return scheme;
}

RounderResult Round(const Matrix& weight, const Scheme& scheme, const char* options,
                    int threads = 2) {
  const Yaml yaml = Yaml::Parse(options, "test");
  testing::TestContext context(threads);
  RounderInput input;
  input.layer = "toy";
  input.weight = weight;
  RounderResult result = MakeEasyQuant(&yaml)->Round(input, scheme, context);
  result.layer.Validate();
  return result;
}

// Σ(Q(x) − x)² of a row on the signed grid with scale s, in double.
double SquaredError(const std::vector<double>& row, double s, int bits) {
  const double most = (1 << (bits - 1)) - 1;
  double error = 0;
  for (double x : row) error += std::pow(s * std::clamp(std::nearbyint(x / s), -most, most) - x, 2);
  return error;
}

// What the descent can reach at best: a fine search over all scales, in double.
TEST(EasyQuant, FindsAScaleNearTheBestOne) {
  const Matrix weight = testing::HeavyTails(24, 200, 3, 100, 8);
  const Matrix rounded = Round(weight, Symmetric(4, 0), "{outliers: false}").layer.Dequantize();
  testing::TestContext context(1);
  const Matrix nearest =
      RoundToNearest(weight, Symmetric(4, 0), ClipSearch::kNone, context).Dequantize();
  double got_total = 0, best_total = 0, nearest_total = 0;
  for (size_t r = 0; r < 24; ++r) {
    std::vector<double> row(weight.row(r).begin(), weight.row(r).end());
    double largest = 0, got = 0, plain = 0, best = INFINITY;
    for (size_t c = 0; c < 200; ++c) {
      largest = std::max(largest, std::abs(row[c]));
      got += std::pow(rounded(r, c) - row[c], 2);
      plain += std::pow(nearest(r, c) - row[c], 2);
    }
    for (int i = 1; i <= 1000; ++i)
      best = std::min(best, SquaredError(row, largest / 7 * i / 1000, 4));
    EXPECT_LE(got, plain * (1 + 1e-6)) << r;  // the range's scale is among those compared
    got_total += got, best_total += best, nearest_total += plain;
  }
  // The error is bumpy in s and a descent ends in a valley: most of what there is to gain.
  EXPECT_LT(got_total - best_total, 0.35 * (nearest_total - best_total));
}

TEST(EasyQuant, KeepsWhatIsFarFromTheMean) {
  const Matrix weight = testing::HeavyTails(16, 100, 5, 100, 8);
  for (const bool per_channel : {false, true}) {
    const RounderResult result =
        Round(weight, Symmetric(4, 0),
              per_channel ? "{statistics: channel, outlier_sigma: 2.5}" : "{outlier_sigma: 2.5}");
    size_t expected = 0;
    for (size_t r = 0; r < 16; ++r) {
      double sum = 0, squares = 0, count = 0;
      for (size_t q = per_channel ? r : 0; q < (per_channel ? r + 1 : 16); ++q) {
        for (float w : weight.row(q)) sum += w, squares += double{w} * w, count += 1;
      }
      const double mean = sum / count, sigma = std::sqrt(squares / count - mean * mean);
      for (float w : weight.row(r)) expected += std::abs(w - mean) >= 2.5 * sigma;
    }
    ASSERT_GT(expected, 0u);
    EXPECT_EQ(result.layer.outliers->column.size(), expected);
    const Matrix rounded = result.layer.Dequantize();
    for (size_t r = 0; r < 16; ++r) {
      for (uint32_t i = result.layer.outliers->row_start[r];
           i < result.layer.outliers->row_start[r + 1]; ++i) {
        const uint32_t c = result.layer.outliers->column[i];
        EXPECT_EQ(rounded(r, c), ToFloat(HalfFromFloat(weight(r, c))));
      }
    }
  }
}

TEST(EasyQuant, OutliersLeaveTheRestAFinerGrid) {
  const Matrix weight = testing::HeavyTails(32, 128, 8, 100, 8);
  const auto error = [&](const char* options) {
    const Matrix rounded = Round(weight, Symmetric(3, 0), options).layer.Dequantize();
    double total = 0;
    for (size_t r = 0; r < 32; ++r) {
      for (size_t c = 0; c < 128; ++c) total += std::pow(rounded(r, c) - weight(r, c), 2);
    }
    return total;
  };
  EXPECT_LT(error("{}"), 0.7 * error("{outliers: false}"));
}

TEST(EasyQuant, StepsZeroIsRoundingToNearest) {
  const Matrix weight = testing::HeavyTails(9, 40, 2, 100, 8);
  testing::TestContext context(1);
  EXPECT_EQ(Round(weight, Symmetric(4, 16), "{outliers: false, steps: 0}").layer.codes,
            RoundToNearest(weight, Symmetric(4, 16), ClipSearch::kNone, context).codes);
}

TEST(EasyQuant, DegenerateLayersAndThreads) {
  Matrix weight = testing::HeavyTails(20, 33, 4, 100, 8);
  for (float& w : weight.row(3)) w = 0;
  for (float& w : weight.row(4)) w = 0.5f;
  EXPECT_EQ(Round(weight, Symmetric(4, 16), "{}", 1).layer.codes,
            Round(weight, Symmetric(4, 16), "{}", 3).layer.codes);
  (void)Round(Matrix(3, 1), Symmetric(4, 0), "{}");
  weight(0, 0) = NAN;
  EXPECT_THROW(Round(weight, Symmetric(4, 0), "{}"), Error);
  try {
    (void)Round(Matrix(2, 8), testing::Groups(4, 0), "{}");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("symmetric"));
  }
}

}  // namespace
}  // namespace qualm
