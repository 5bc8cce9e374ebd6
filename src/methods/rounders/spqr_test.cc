#include "methods/rounders/spqr.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/error.h"
#include "io/yaml.h"
#include "methods/test_support.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using testing::Doubles;
using ::testing::HasSubstr;
using testing::Toy;

Scheme SpqrScheme(int bits, int group, int group_rows = 16) {
  Scheme scheme = testing::Groups(bits, group);
  scheme.zero_point = ZeroPointKind::kFloat;
  scheme.range_includes_zero = false;
  scheme.second_level = SecondLevel{3, group_rows};
  return scheme;
}

RounderResult Round(const RounderInput& input, const Scheme& scheme, const char* options,
                    int threads = 2) {
  const Yaml yaml = Yaml::Parse(options, "test");
  testing::TestContext context(threads);
  return MakeSpqr(&yaml)->Round(input, scheme, context);
}

struct Fit {
  double scale, zero;
};
Fit FitRange(const std::vector<double>& v, int bits) {
  auto [low, high] = std::ranges::minmax(v);
  if (low == high) low = -1, high = 1;
  const double scale = (high - low) / ((1 << bits) - 1);
  return {scale, -low / scale};
}
double Nearest(double v, Fit fit, int bits) {
  return fit.scale *
         (std::clamp(std::nearbyint(v / fit.scale + fit.zero), 0.0, double((1 << bits) - 1)) -
          fit.zero);
}

// The method written down over whole matrices in double: errors by the shrinking inverse.
struct Naive {
  std::vector<std::vector<double>> rounded;
  std::vector<std::vector<bool>> outlier;
};
class NaiveSpqr {
 public:
  NaiveSpqr(const Toy& toy, int bits, size_t group, size_t group_rows, double tau, double damp)
      : bits_(bits), group_(group), group_rows_(group_rows), rows_(toy.weight.rows()) {
    const size_t n = toy.weight.cols();
    Doubles h(n, std::vector<double>(n));
    double mean = 0;
    for (size_t i = 0; i < n; ++i) mean += toy.gram(i, i) / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) h[i][j] = toy.gram(i, j) + (i == j ? damp * mean : 0);
    }
    for (size_t r = 0; r < rows_; ++r) {
      w_.emplace_back();
      for (float v : toy.weight.row(r)) w_[r].push_back(v);
    }
    Doubles inverse = testing::Invert(h);
    // U_jj² and the rows of U·U_jj, column by column.
    for (size_t j = 0; j < n; ++j) {
      diagonal_.push_back(inverse[j][j]);
      directions_.push_back(inverse[j]);
      const std::vector<double> row = inverse[j];
      for (size_t a = 0; a < n; ++a) {
        for (size_t b = 0; b < n; ++b) inverse[a][b] -= row[a] * row[b] / row[j];
      }
    }
    double scale = 0;
    for (size_t j = 0; j < n; ++j) {
      double sum = 0, squares = 0;
      for (const auto& row : w_) sum += row[j];
      for (const auto& row : w_) squares += std::pow(row[j] - sum / double(rows_), 2);
      scale += squares / double(rows_ - 1) / diagonal_[j] / double(n);
    }
    threshold_ = tau * scale;
  }

  Naive Run() {
    const size_t n = w_[0].size();
    Naive result{w_, std::vector(rows_, std::vector<bool>(n, false))};
    std::vector<Fit> fits(rows_);
    for (size_t j = 0; j < n; ++j) {
      if (j % group_ == 0) FitGroup(j, std::min(n, j + group_), fits);
      for (size_t r = 0; r < rows_; ++r) {
        double rounded = Nearest(w_[r][j], fits[r], bits_);
        const double e = w_[r][j] - rounded;
        if (e * e / diagonal_[j] > threshold_) {
          result.outlier[r][j] = true;
          rounded = w_[r][j];
        }
        result.rounded[r][j] = rounded;
        const double error = (w_[r][j] - rounded) / diagonal_[j];
        for (size_t k = j + 1; k < n; ++k) w_[r][k] -= error * directions_[j][k];
      }
    }
    return result;
  }

 private:
  double Error(const std::vector<double>& v, size_t first, size_t left_out) const {
    std::vector<double> others;
    for (size_t i = 0; i < v.size(); ++i) {
      if (i != left_out) others.push_back(v[i]);
    }
    const Fit fit = FitRange(others, bits_);
    double error = 0;
    for (size_t i = 0; i < v.size(); ++i) {
      if (i == left_out) continue;
      error += std::pow(v[i] - Nearest(v[i], fit, bits_), 2) / diagonal_[first + i];
    }
    return error;
  }

  void FitGroup(size_t first, size_t last, std::vector<Fit>& fits) const {
    for (size_t r = 0; r < rows_; ++r) {
      std::vector<double> v(w_[r].begin() + static_cast<ptrdiff_t>(first),
                            w_[r].begin() + static_cast<ptrdiff_t>(last));
      const double all = Error(v, first, v.size());
      std::vector<double> kept = v;
      double sum = 0, number = 0;
      std::vector<bool> is_outlier;
      for (size_t i = 0; i < v.size(); ++i) {
        is_outlier.push_back(all - Error(v, first, i) > threshold_);
        if (!is_outlier[i]) sum += v[i], number += 1;
      }
      for (size_t i = 0; i < v.size(); ++i) {
        if (is_outlier[i]) kept[i] = sum / std::max(number, 1.0);
      }
      fits[r] = FitRange(kept, bits_);
    }
    for (size_t begin = 0; begin < rows_; begin += group_rows_) {
      const size_t end = std::min(rows_, begin + group_rows_);
      std::vector<double> scales, zeros;
      for (size_t r = begin; r < end; ++r) {
        scales.push_back(fits[r].scale);
        zeros.push_back(fits[r].zero);
      }
      const Fit of_scales = Spread(scales), of_zeros = Spread(zeros);
      for (size_t r = begin; r < end; ++r) {
        fits[r] = {Nearest(fits[r].scale, of_scales, 3), Nearest(fits[r].zero, of_zeros, 3)};
      }
    }
  }

  // One value alone is widened by 1 on both sides.
  static Fit Spread(std::vector<double> v) {
    const auto [low, high] = std::ranges::minmax(v);
    if (low == high) v = {low - 1, high + 1};
    return FitRange(v, 3);
  }

  int bits_;
  size_t group_, group_rows_, rows_;
  std::vector<std::vector<double>> w_;
  std::vector<double> diagonal_;
  std::vector<std::vector<double>> directions_;
  double threshold_ = 0;
};

TEST(Spqr, IsTheNaiveMethod) {
  for (size_t group_rows : std::initializer_list<size_t>{16, 4}) {
    // 19 rows: the last second-level group is shorter; 20 columns in groups of 8: so is the last.
    Toy toy(19, 20, 60, 41);
    toy.weight(3, 5) = 9;
    toy.weight(7, 13) = -8;
    const RounderResult result = Round(toy.Input(), SpqrScheme(3, 8, static_cast<int>(group_rows)),
                                       "{act_order: false, damp: 0.01, outlier_threshold: 0.1}");
    result.layer.Validate();
    const Naive expected = NaiveSpqr(toy, 3, 8, group_rows, 0.1, 0.01).Run();
    const Matrix got = result.layer.Dequantize();
    size_t outliers = 0;
    for (size_t r = 0; r < 19; ++r) {
      for (size_t c = 0; c < 20; ++c) {
        outliers += expected.outlier[r][c];
        // Outliers are fp16; the rest differs by the rounding of two levels of scales.
        const double tolerance = expected.outlier[r][c] ? 0x1p-11 : 1e-4;
        EXPECT_NEAR(got(r, c), expected.rounded[r][c],
                    tolerance * std::max(1.0, std::abs(expected.rounded[r][c])))
            << r << " " << c;
      }
    }
    EXPECT_GT(outliers, 2u);
    EXPECT_EQ(result.layer.outliers->column.size(), outliers);
  }
}

TEST(Spqr, WithoutAThresholdNothingIsKept) {
  const Toy toy(20, 32, 80, 3);
  const RounderResult result = Round(toy.Input(), SpqrScheme(3, 16), "{outlier_threshold: none}");
  EXPECT_TRUE(result.layer.outliers->column.empty());
  const RounderResult some = Round(toy.Input(), SpqrScheme(3, 16), "{outlier_threshold: 0.02}");
  EXPECT_GT(some.layer.outliers->column.size(), 0u);
  EXPECT_LT(toy.OutputError(some.layer.Dequantize()), toy.OutputError(result.layer.Dequantize()));
}

TEST(Spqr, BeatsRoundingToNearestAndCountsItsBits) {
  const Toy toy(64, 64, 400, 6);
  testing::TestContext context(2);
  const RounderResult result = Round(toy.Input(), SpqrScheme(3, 16), "{damp: 0.01}");
  const double nearest = toy.OutputError(MakeRounder("rtn", nullptr, "test")
                                             ->Round(toy.Input(), testing::Groups(3, 16), context)
                                             .layer.Dequantize());
  EXPECT_LT(toy.OutputError(result.layer.Dequantize()), 0.7 * nearest);
  // 3 bits; per row two strings of four 3-bit codes in whole bytes; per 256 weights four float32;
  // then outliers and row starts, and g_idx, because columns are taken by activation.
  const double outliers = static_cast<double>(result.layer.outliers->column.size());
  EXPECT_NEAR(result.layer.BitsPerWeight(),
              3 + 2 * 16.0 / 64 + 4 * 32.0 / 256 + (48 * outliers + 65 * 32 + 64 * 32) / 4096,
              1e-9);
}

TEST(Spqr, DegenerateLayers) {
  Toy toy(5, 18, 40, 7);
  for (float& w : toy.weight.row(2)) w = 0;
  for (size_t t = 0; t < 40; ++t) toy.inputs(t, 4) = 0;
  toy.UpdateGram();
  Round(toy.Input(), SpqrScheme(2, 16), "{damp: 0.01}").layer.Validate();
  toy.weight = Matrix(5, 18);
  Round(toy.Input(), SpqrScheme(2, 16), "{}").layer.Validate();
  Toy narrow(1, 1, 10, 1);
  Round(narrow.Input(), SpqrScheme(4, 1), "{}").layer.Validate();
  Toy dead(4, 16, 20, 2);
  dead.inputs = Matrix(20, 16);
  dead.UpdateGram();
  EXPECT_TRUE(Round(dead.Input(), SpqrScheme(4, 16), "{}").fell_back_to_rtn);
  toy.weight(0, 0) = INFINITY;
  EXPECT_THROW(Round(toy.Input(), SpqrScheme(2, 16), "{}"), Error);
}

TEST(Spqr, ThreadsDoNotChangeABit) {
  const Toy toy(70, 48, 100, 9);
  const RounderResult one = Round(toy.Input(), SpqrScheme(3, 16), "{}", 1);
  const RounderResult many = Round(toy.Input(), SpqrScheme(3, 16), "{}", 3);
  EXPECT_EQ(one.layer.codes, many.layer.codes);
  EXPECT_EQ(one.layer.outliers->column, many.layer.outliers->column);
  EXPECT_EQ(one.layer.second_level_scales->codes, many.layer.second_level_scales->codes);
}

TEST(Spqr, RefusesOtherSchemes) {
  const Toy toy(4, 16, 20, 1);
  try {
    (void)Round(toy.Input(), testing::Groups(4, 16), "{}");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("second_level"));
  }
}

}  // namespace
}  // namespace qualm
