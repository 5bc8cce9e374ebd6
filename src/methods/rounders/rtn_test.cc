#include "methods/rounders/rtn.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "artefact/codebook.h"
#include "base/error.h"
#include "base/rng.h"
#include "io/yaml.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Matrix RandomWeights(size_t out, size_t in, uint64_t seed) {
  Rng rng(seed);
  Matrix weight(out, in);
  for (size_t r = 0; r < out; ++r) {
    for (float& value : weight.row(r)) value = static_cast<float>(rng.Normal());
  }
  return weight;
}

Scheme Groups(int bits, int size) {
  Scheme scheme;
  scheme.bits = bits;
  scheme.granularity = size > 0 ? Granularity::kGroup : Granularity::kChannel;
  scheme.group_size = size;
  return scheme;
}

QuantizedLinear Round(const Matrix& weight, const Scheme& scheme,
                      ClipSearch search = ClipSearch::kNone, int threads = 1) {
  testing::TestContext context(threads);
  QuantizedLinear layer = RoundToNearest(weight, scheme, search, context);
  layer.Validate();
  return layer;
}

double SquaredError(const Matrix& a, const Matrix& b) {
  double sum = 0;
  for (size_t r = 0; r < a.rows(); ++r) {
    for (size_t c = 0; c < a.cols(); ++c) sum += std::pow(double{a(r, c)} - double{b(r, c)}, 2);
  }
  return sum;
}

TEST(Rtn, TwoRowsByHand) {
  Matrix weight(2, 4);
  std::ranges::copy(std::vector<float>{-1, 0, 1, 2}, weight.row(0).begin());
  std::ranges::copy(std::vector<float>{0, 3, 6.4f, 15}, weight.row(1).begin());
  Scheme scheme = Groups(2, 0);
  scheme.scale_type = DType::kF32;
  const QuantizedLinear layer = Round(weight, scheme);
  EXPECT_THAT(layer.scales, ElementsAre(1, 5));
  EXPECT_THAT(layer.zeros, ElementsAre(1, 0));
  EXPECT_THAT(layer.codes, ElementsAre(0, 1, 2, 3, 0, 1, 1, 3));
}

TEST(Rtn, GroupsOfTwoWithAShorterLastOneByHand) {
  Matrix weight(1, 5);
  std::ranges::copy(std::vector<float>{-3, 0, 0, 6, -12}, weight.row(0).begin());
  const QuantizedLinear layer = Round(weight, Groups(2, 2));
  EXPECT_THAT(layer.scales, ElementsAre(1, 2, 4));
  EXPECT_THAT(layer.zeros, ElementsAre(3, 0, 3));
  EXPECT_THAT(layer.codes, ElementsAre(0, 3, 0, 3, 0));
}

TEST(Rtn, OnePointPerTensorCoversTheWholeRange) {
  Matrix weight(40, 7);
  weight(0, 0) = -5;
  weight(39, 6) = 10;
  weight(20, 3) = 1.2f;
  Scheme scheme = Groups(4, 0);
  scheme.granularity = Granularity::kTensor;
  const QuantizedLinear layer = Round(weight, scheme);
  EXPECT_THAT(layer.scales, ElementsAre(1));
  EXPECT_THAT(layer.zeros, ElementsAre(5));
  const Matrix rounded = layer.Dequantize();
  EXPECT_EQ(rounded(0, 0), -5);
  EXPECT_EQ(rounded(39, 6), 10);
  EXPECT_EQ(rounded(20, 3), 1);
}

TEST(Rtn, WeightsOnTheGridAreExact) {
  for (int bits = 2; bits <= 8; ++bits) {
    Matrix weight(3, 40);
    Rng rng(static_cast<uint64_t>(bits));
    for (size_t r = 0; r < 3; ++r) {
      for (float& w : weight.row(r)) w = 0.5f * static_cast<float>(rng.Below(1u << bits));
      weight(r, 0) = 0;
      weight(r, 1) = 0.5f * static_cast<float>((1 << bits) - 1);
    }
    EXPECT_EQ(SquaredError(weight, Round(weight, Groups(bits, 0)).Dequantize()), 0) << bits;
  }
}

TEST(Rtn, DegenerateLayersRound) {
  Matrix zeros(3, 10);
  EXPECT_EQ(SquaredError(zeros, Round(zeros, Groups(4, 4)).Dequantize()), 0);
  Matrix equal(3, 10);
  for (size_t r = 0; r < 3; ++r) std::ranges::fill(equal.row(r), -0.75f);
  Scheme exact = Groups(4, 4);
  exact.scale_type = DType::kF32;
  // 30 values, each off by the rounding of s = 0.75/15 and of 15·s: 2 units of 2^-24.
  EXPECT_LE(SquaredError(equal, Round(equal, exact).Dequantize()),
            30 * std::pow(0.75 * 0x1p-23, 2));
  Matrix column(5, 1);
  for (size_t r = 0; r < 5; ++r) column(r, 0) = static_cast<float>(r) - 2.0f;
  // Σw² = 10; each scale |w|/7 is off by 2^-11 of itself at most.
  EXPECT_LE(SquaredError(column, Round(column, Groups(3, 1)).Dequantize()), 10 * 0x1p-22);
}

TEST(Rtn, SmallerGroupsAndMoreBitsAreBetter) {
  const Matrix weight = RandomWeights(20, 130, 1);
  double last = HUGE_VAL;
  for (int group : {0, 64, 32, 8}) {
    const double error = SquaredError(weight, Round(weight, Groups(3, group)).Dequantize());
    EXPECT_LT(error, last);
    last = error;
  }
  last = HUGE_VAL;
  for (int bits = 2; bits <= 8; ++bits) {
    const double error = SquaredError(weight, Round(weight, Groups(bits, 32)).Dequantize());
    EXPECT_LT(error, last / 2);
    last = error;
  }
}

TEST(Rtn, ClippingLowersTheErrorItSearchesFor) {
  auto powers = [](const Matrix& a, const Matrix& b) {
    double sum = 0;
    for (size_t r = 0; r < a.rows(); ++r) {
      for (size_t c = 0; c < a.cols(); ++c) sum += std::pow(std::abs(a(r, c) - b(r, c)), 2.4);
    }
    return sum;
  };
  const Matrix weight = RandomWeights(35, 100, 2);
  for (Granularity granularity :
       {Granularity::kTensor, Granularity::kChannel, Granularity::kGroup}) {
    for (bool is_symmetric : {false, true}) {
      Scheme scheme = Groups(3, 0);
      scheme.granularity = granularity;
      if (granularity == Granularity::kGroup) scheme.group_size = 40;
      if (is_symmetric) scheme.zero_point = ZeroPointKind::kNone;
      EXPECT_LT(powers(weight, Round(weight, scheme, ClipSearch::kMse).Dequantize()),
                powers(weight, Round(weight, scheme).Dequantize()));
    }
  }
}

// The tensor search by the obvious loop over all shrink factors.
TEST(Rtn, ClippingPerTensorFindsTheBestFactor) {
  const Matrix weight = RandomWeights(18, 33, 4);  // 14 rows of padding in the last strip
  for (ZeroPointKind kind : {ZeroPointKind::kInteger, ZeroPointKind::kFloat}) {
    Scheme scheme = Groups(2, 0);
    scheme.granularity = Granularity::kTensor;
    scheme.zero_point = kind;
    scheme.range_includes_zero = kind == ZeroPointKind::kInteger;
    scheme.scale_type = DType::kF32;
    float min = 0, max = 0;
    for (size_t r = 0; r < 18; ++r) {
      min = std::min(min, *std::ranges::min_element(weight.row(r)));
      max = std::max(max, *std::ranges::max_element(weight.row(r)));
    }
    const Grid grid(scheme, 2);
    double best = HUGE_VAL;
    float best_scale = 0;
    for (int step = 0; step < kShrinkSteps; ++step) {
      const GridPoint point = grid.Fit(ShrinkFactor(step) * min, ShrinkFactor(step) * max);
      double error = 0;
      for (size_t r = 0; r < 18; ++r) {
        for (float w : weight.row(r)) {
          const float code = std::clamp(kind == ZeroPointKind::kFloat
                                            ? std::nearbyint(w / point.scale + point.zero)
                                            : std::nearbyint(w / point.scale) + point.zero,
                                        0.0f, 3.0f);
          error += std::pow(std::abs(w - point.scale * (code - point.zero)), 2.4);
        }
      }
      if (error < best) {
        best = error;
        best_scale = point.scale;
      }
    }
    EXPECT_EQ(Round(weight, scheme, ClipSearch::kMse).scales[0], best_scale);
  }
}

TEST(Rtn, TheSameForAnyNumberOfThreads) {
  const Matrix weight = RandomWeights(77, 50, 5);
  for (ClipSearch search : {ClipSearch::kNone, ClipSearch::kMse}) {
    for (Granularity granularity : {Granularity::kTensor, Granularity::kChannel}) {
      Scheme scheme = Groups(3, 0);
      scheme.granularity = granularity;
      const QuantizedLinear one = Round(weight, scheme, search, 1);
      const QuantizedLinear three = Round(weight, scheme, search, 3);
      EXPECT_EQ(one.codes, three.codes);
      EXPECT_EQ(one.scales, three.scales);
      EXPECT_EQ(one.zeros, three.zeros);
    }
  }
}

std::string MessageOfRound(float bad, int group_size) {
  Matrix weight = RandomWeights(4, 40, 6);
  weight(2, 17) = bad;
  testing::TestContext context(1);
  RounderInput input;
  input.weight = weight;
  try {
    (void)MakeRtn(nullptr)->Round(input, Groups(4, group_size), context);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    return error.what();
  }
  return "";
}

TEST(Rtn, RefusesWeightsThatAreNotFiniteByPosition) {
  EXPECT_EQ(MessageOfRound(1, 8), "");
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), HUGE_VALF, -HUGE_VALF}) {
    EXPECT_THAT(MessageOfRound(bad, 8), HasSubstr("at row 2, column 17"));
  }
}

TEST(Rtn, RefusesGroupsLargerThanTheLayer) {
  EXPECT_EQ(MessageOfRound(1, 40), "");
  EXPECT_THAT(MessageOfRound(1, 41), HasSubstr("group_size of at most in_features 40; got 41"));
}

TEST(Rtn, OptionsAreStrict) {
  auto make = [](const char* text) {
    const Yaml options = Yaml::Parse(text, "recipe.yaml");
    return MakeRtn(&options)->OptionsJson();
  };
  EXPECT_EQ(MakeRtn(nullptr)->OptionsJson(), R"({"clip": "none"})");
  EXPECT_EQ(make("clip: mse"), R"({"clip": "mse"})");
  try {
    make("# nothing\nclop: mse");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("recipe.yaml:2"));
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'clip'"));
  }
  EXPECT_THROW(make("clip: msr"), Error);
}

// Every format against trying all codes on the scale by its definition, in double.
TEST(Rtn, NumberFormatsTakeTheNearestValueOnTheGroupsScale) {
  const Matrix weight = RandomWeights(21, 100, 12);
  for (NumberType type : {NumberType::kNf4, NumberType::kFp8E4m3, NumberType::kFp8E4m3Ieee,
                          NumberType::kFp8E5m2, NumberType::kMxfp4, NumberType::kNvfp4}) {
    Scheme scheme = SchemeOfFormat(type);
    scheme.scale_type = DType::kF32;
    const int size = GroupSizeOfFormat(type) > 0 ? GroupSizeOfFormat(type) : 40;
    scheme.granularity = Granularity::kGroup;
    scheme.group_size = size;
    scheme.Validate();
    const QuantizedLinear layer = Round(weight, scheme);
    layer.Validate();
    const Codebook& book = Codebook::Of(type);
    double largest_weight = 0;
    for (size_t r = 0; r < 21; ++r) {
      for (float w : weight.row(r)) largest_weight = std::max(largest_weight, std::abs(double{w}));
    }
    for (size_t r = 0; r < 21; ++r) {
      for (size_t group = 0; group < layer.group_count(); ++group) {
        const size_t begin = group * static_cast<size_t>(size);
        const size_t end = std::min<size_t>(100, begin + static_cast<size_t>(size));
        double largest = 0;
        for (size_t c = begin; c < end; ++c) {
          largest = std::max(largest, std::abs(double{weight(r, c)}));
        }
        double scale = largest / double{book.largest()};
        if (type == NumberType::kMxfp4) scale = std::exp2(std::floor(std::log2(largest)) - 2);
        if (type == NumberType::kNvfp4) {
          const double tensor = largest_weight / (6.0 * 448);
          const Codebook& e4m3 = Codebook::Of(NumberType::kFp8E4m3);
          const double block = std::max(largest / tensor / 6, 0x1p-6);
          scale = tensor * double{e4m3.Value(e4m3.Nearest(static_cast<float>(block)))};
        }
        EXPECT_NEAR(layer.ScaleAt(r, group), scale, scale * 0x1p-22);
        for (size_t c = begin; c < end; ++c) {
          double best = HUGE_VAL;
          for (unsigned code = 0; code < 1u << book.bits(); ++code) {
            const double value = scale * double{book.Value(static_cast<uint8_t>(code))};
            if (!std::isnan(value)) best = std::min(best, std::abs(value - double{weight(r, c)}));
          }
          const double error = std::abs(double{layer.Dequantize()(r, c)} - double{weight(r, c)});
          // The float scale is off by 2^-22 of itself at most, and so are values times it.
          EXPECT_NEAR(error, best, 2 * largest * 0x1p-22) << NameOf(type);
        }
      }
    }
  }
}

}  // namespace
}  // namespace qualm
