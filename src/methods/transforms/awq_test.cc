#include <gmock/gmock.h>

#include <cmath>

#include "io/yaml.h"
#include "methods/transforms.h"
#include "methods/transforms/clip_search.h"
#include "methods/transforms/test_readers.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using testing::RoundRange;
using testing::TestReaders;

struct Candidate {
  std::vector<double> scale;
  double loss = 0;
};

// The search written down naively in double: all rows in one group each, asymmetric 4 bits.
Candidate SearchInDouble(const TestReaders& readers, bool over_weight, int grid) {
  const size_t in = readers.inputs.cols();
  std::vector<double> x(in), w(in);
  for (size_t j = 0; j < in; ++j) {
    for (size_t t = 0; t < readers.inputs.rows(); ++t) x[j] += std::abs(readers.inputs(t, j));
    x[j] /= static_cast<double>(readers.inputs.rows());
    size_t rows = 0;
    for (const Matrix& weight : readers.weights) {
      for (size_t r = 0; r < weight.rows(); ++r, ++rows) {
        double largest = 0;
        for (float v : weight.row(r)) largest = std::max<double>(largest, std::abs(v));
        w[j] += std::abs(weight(r, j)) / largest;
      }
    }
    w[j] /= static_cast<double>(rows);
  }
  Candidate best;
  best.loss = INFINITY;
  for (int i = 0; i < grid; ++i) {
    const double ratio = static_cast<double>(i) / grid;
    Candidate candidate;
    for (size_t j = 0; j < in; ++j) {
      const double s = std::pow(x[j], ratio) / (over_weight ? std::pow(w[j], 1 - ratio) : 1);
      candidate.scale.push_back(std::max(s, 1e-4));
    }
    const auto [low, high] = std::ranges::minmax(candidate.scale);
    const double middle = std::sqrt(low * high);
    for (double& s : candidate.scale) s /= middle;
    for (const Matrix& weight : readers.weights) {
      for (size_t r = 0; r < weight.rows(); ++r) {
        std::vector<double> scaled;
        for (size_t j = 0; j < in; ++j) scaled.push_back(weight(r, j) * candidate.scale[j]);
        const std::vector<double> rounded = RoundRange(scaled, 4);
        for (size_t t = 0; t < readers.inputs.rows(); ++t) {
          double error = 0;
          for (size_t j = 0; j < in; ++j) {
            error += readers.inputs(t, j) * (weight(r, j) - rounded[j] / candidate.scale[j]);
          }
          candidate.loss += error * error;
        }
      }
    }
    if (candidate.loss < best.loss) best = candidate;
  }
  return best;
}

TEST(Awq, FindsTheScalesOfTheNaiveSearch) {
  for (bool over_weight : {false, true}) {
    for (uint64_t seed : std::initializer_list<uint64_t>{11, 12, 13}) {
      TestReaders readers(2, 9, 20, 60, seed);
      const Yaml yaml = Yaml::Parse(over_weight ? "{scale: activation_over_weight}" : "{}", "test");
      testing::TestContext context(2);
      const InputEdit edit = MakeTransform("awq", &yaml, "test")->Choose(readers.View(), context);
      const Candidate expected = SearchInDouble(readers, over_weight, 20);
      ASSERT_EQ(edit.scale.size(), 20u);
      for (size_t j = 0; j < 20; ++j) {
        // Sums of 60 magnitudes in double, one rounding to float.
        EXPECT_NEAR(edit.scale[j], expected.scale[j], 2 * 0x1p-24 * expected.scale[j]) << seed;
      }
    }
  }
}

TEST(Awq, LowersTheLossWhereInputsDiffer) {
  TestReaders readers(1, 32, 64, 200, 3);
  for (size_t t = 0; t < 200; ++t) readers.inputs(t, 10) *= 50;
  testing::TestContext context(2);
  const InputReaders view = readers.View();
  const InputEdit edit = MakeTransform("awq", nullptr, "test")->Choose(view, context);
  const auto loss = [&](bool scaled) {
    double total = 0;
    for (size_t r = 0; r < 32; ++r) {
      std::vector<double> row;
      for (size_t j = 0; j < 64; ++j) {
        row.push_back(readers.weights[0](r, j) * (scaled ? double{edit.scale[j]} : 1.0));
      }
      const std::vector<double> rounded = RoundRange(row, 4);
      for (size_t t = 0; t < 200; ++t) {
        double error = 0;
        for (size_t j = 0; j < 64; ++j) {
          error +=
              readers.inputs(t, j) / (scaled ? double{edit.scale[j]} : 1.0) * (row[j] - rounded[j]);
        }
        total += error * error;
      }
    }
    return total;
  };
  EXPECT_LT(loss(true), 0.5 * loss(false));
}

TEST(Awq, TheModuleLossDecidesWhereThereIsOne) {
  TestReaders readers(1, 8, 16, 30, 4);
  InputReaders view = readers.View();
  int calls = 0;
  view.module_loss = [&](std::span<const Matrix> weights) {
    EXPECT_EQ(weights.size(), 1u);
    return calls++ == 13 ? 0.5 : 1.0;
  };
  testing::TestContext context(1);
  EXPECT_EQ(MakeTransform("awq", nullptr, "test")->Choose(view, context).choice, "ratio 0.65");
  EXPECT_EQ(calls, 20);
}

TEST(Awq, LeavesOutWhatCannotBeFoldedUnlessAsked) {
  TestReaders readers(1, 8, 16, 30, 4);
  InputReaders view = readers.View();
  view.can_fold = false;
  testing::TestContext context(1);
  EXPECT_TRUE(MakeTransform("awq", nullptr, "test")->Choose(view, context).scale.empty());
  const Yaml yaml = Yaml::Parse("{scale_unfoldable: true}", "test");
  EXPECT_FALSE(MakeTransform("awq", &yaml, "test")->Choose(view, context).scale.empty());
}

// The error of one row and group for a clipped range, in double.
double ClipError(const TestReaders& readers, size_t row, size_t first, size_t count, double low,
                 double high, bool first_token) {
  std::vector<double> clamped;
  for (size_t j = first; j < first + count; ++j) {
    clamped.push_back(std::clamp<double>(readers.weights[0](row, j), low, high));
  }
  const std::vector<double> rounded = RoundRange(clamped, 4);
  double total = 0;
  for (size_t t = 0; t < (first_token ? 1 : readers.inputs.rows()); ++t) {
    double error = 0;
    for (size_t j = 0; j < count; ++j) {
      error += readers.inputs(t, first + j) * (readers.weights[0](row, first + j) - rounded[j]);
    }
    total += first_token ? std::abs(error) : error * error;
  }
  return total;
}

TEST(ClipSearch, TakesTheBestOfTenShrunkenRanges) {
  for (bool first_token : {false, true}) {
    // Fewer tokens than inputs of a group, and more.
    for (size_t tokens : std::initializer_list<size_t>{5, 60}) {
      TestReaders readers(1, 19, 20, tokens, 21);
      readers.scheme.granularity = Granularity::kGroup;
      readers.scheme.group_size = 12;  // the last group has 8
      testing::TestContext context(2);
      // Ranges that are not mirrored: a mirrored one has its zero point exactly between two codes,
      // where float and double part.
      const WeightClip clip =
          SearchClip(readers.weights[0], readers.scheme, readers.inputs,
                     {.is_asymmetric = true, .first_token = first_token}, context);
      for (size_t r = 0; r < 19; ++r) {
        for (size_t g = 0; g < 2; ++g) {
          const size_t first = g * 12, count = g == 0 ? 12 : 8;
          double low = INFINITY, high = -INFINITY, least = INFINITY;
          for (size_t j = first; j < first + count; ++j) {
            low = std::min<double>(low, readers.weights[0](r, j));
            high = std::max<double>(high, readers.weights[0](r, j));
          }
          for (int step = 0; step < 10; ++step) {
            const double f = 1 - step / 20.0;
            least = std::min(least,
                             ClipError(readers, r, first, count, low * f, high * f, first_token));
          }
          const double got =
              ClipError(readers, r, first, count, clip.low(r, g), clip.high(r, g), first_token);
          // Bounds are floats: the error may move by a few 2^-24 of the outputs, a thousandth of
          // the smallest errors met here.
          EXPECT_LE(got, least * 1.001 + 1e-6) << r << " " << g;
        }
      }
    }
  }
}

TEST(WeightClip, ClampsGroupByGroup) {
  WeightClip clip{2, Matrix(1, 2), Matrix(1, 2)};
  clip.low(0, 0) = -1, clip.high(0, 0) = 1, clip.low(0, 1) = -3, clip.high(0, 1) = 2;
  Matrix weight(1, 3);
  weight(0, 0) = -2, weight(0, 1) = 0.5f, weight(0, 2) = 5;
  EXPECT_THAT(clip.Apply(weight).row(0), ::testing::ElementsAre(-1, 0.5f, 2));
}

}  // namespace
}  // namespace qualm
