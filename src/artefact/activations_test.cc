#include "artefact/activations.h"

#include <gmock/gmock.h>

#include <cmath>

#include "artefact/codebook.h"
#include "base/error.h"
#include "base/rng.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Scheme Int(int bits, Granularity granularity, int group_size = 0) {
  Scheme scheme;
  scheme.bits = bits;
  scheme.granularity = granularity;
  scheme.group_size = group_size;
  scheme.zero_point = ZeroPointKind::kNone;
  scheme.symmetric_convention = SymmetricConvention::kSigned;
  scheme.scale_type = DType::kF32;
  scheme.dynamic = granularity != Granularity::kTensor;
  return scheme;
}

std::vector<float> Normal(size_t count, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> x(count);
  for (float& v : x) v = static_cast<float>(rng.Normal());
  return x;
}

// The definition in double: scale = absmax/(2^(bits-1)-1), value = scale·round(x/scale).
std::vector<double> RoundInDouble(std::span<const float> x, int bits) {
  double largest = 0;
  for (float v : x) largest = std::max(largest, std::abs(double{v}));
  const double scale = largest / ((1 << (bits - 1)) - 1);
  std::vector<double> result;
  for (float v : x) result.push_back(scale * std::nearbyint(v / scale));
  return result;
}

TEST(ActivationQuantizer, PerTokenByHand) {
  const ActivationQuantizer quantizer({Int(4, Granularity::kToken), {}});
  const std::vector<float> x = {7, -3.4f, 0.6f, 0};  // scale 1
  std::vector<float> rounded(4);
  quantizer.Round(x, rounded);
  EXPECT_THAT(rounded, ElementsAre(7, -3, 1, 0));
  std::vector<uint8_t> codes(4);
  const GridPoint point = quantizer.Quantize(x, codes);
  EXPECT_EQ(point.scale, 1);
  EXPECT_EQ(point.zero, 8);
  EXPECT_THAT(codes, ElementsAre(15, 5, 9, 8));
}

// Lengths around the 16 lanes that are rounded together.
TEST(ActivationQuantizer, EqualsTheDefinitionForEveryLength) {
  for (int bits : {4, 6, 8}) {
    for (size_t length = 1; length < 70; length += 5) {
      const std::vector<float> x = Normal(length, length);
      std::vector<float> rounded(length);
      ActivationQuantizer({Int(bits, Granularity::kToken), {}}).Round(x, rounded);
      const std::vector<double> expected = RoundInDouble(x, bits);
      for (size_t i = 0; i < length; ++i) {
        // Scale and product are each rounded once: 2^-24 of the value, twice. No ties here: normal
        // numbers over a float scale.
        EXPECT_NEAR(rounded[i], expected[i], 2 * 0x1p-24 * std::abs(expected[i])) << length;
      }
    }
  }
}

TEST(ActivationQuantizer, GroupsAreTokensOfTheirOwn) {
  const std::vector<float> x = Normal(40, 7);
  std::vector<float> rounded(40);
  ActivationQuantizer({Int(8, Granularity::kGroup, 16), {}}).Round(x, rounded);
  for (size_t first = 0; first < 40; first += 16) {
    const std::span<const float> part =
        std::span(x).subspan(first, std::min<size_t>(16, 40 - first));
    std::vector<float> alone(part.size());
    ActivationQuantizer({Int(8, Granularity::kToken), {}}).Round(part, alone);
    for (size_t i = 0; i < part.size(); ++i) EXPECT_EQ(rounded[first + i], alone[i]);
  }
}

TEST(ActivationQuantizer, AStaticScaleClips) {
  const ActivationQuantizer quantizer({Int(8, Granularity::kTensor), {0.5f, 128}});
  const std::vector<float> x = {1.3f, 1000, -1000, 0.25f};
  std::vector<float> rounded(4);
  quantizer.Round(x, rounded);
  EXPECT_THAT(rounded, ElementsAre(1.5f, 63.5f, -63.5f, 0));  // ties to even
}

TEST(ActivationQuantizer, AsymmetricRangesUseAllCodes) {
  Scheme scheme = Int(4, Granularity::kToken);
  scheme.zero_point = ZeroPointKind::kInteger;
  std::vector<uint8_t> codes(3);
  const GridPoint point =
      ActivationQuantizer({scheme, {}}).Quantize(std::vector<float>{-1, 0, 14}, codes);
  EXPECT_EQ(point.scale, 1);
  EXPECT_EQ(point.zero, 1);
  EXPECT_THAT(codes, ElementsAre(0, 1, 15));
}

TEST(ActivationQuantizer, FloatFormatsMapTheLargestMagnitudeToTheirOwn) {
  Scheme scheme = SchemeOfFormat(NumberType::kFp8E4m3);
  scheme.granularity = Granularity::kToken;
  scheme.scale_type = DType::kF32;
  scheme.dynamic = true;
  std::vector<float> rounded(3);
  ActivationQuantizer({scheme, {}}).Round(std::vector<float>{896, -2.1f, 0}, rounded);
  EXPECT_EQ(rounded[0], 896);    // scale 2
  EXPECT_EQ(rounded[1], -2.0f);  // -1.05 between -1 and -1.125: steps of 1/8 there
  EXPECT_EQ(rounded[2], 0);
}

// The rule in words: the largest magnitude's power of two, the next one from 1.75 times it on, over
// the power of two of the format's largest value.
TEST(ActivationQuantizer, ScalesOfMicroscalingGroupsArePowersOfTwo) {
  ActivationGrid grid;
  grid.scheme = SchemeOfFormat(NumberType::kMxfp4);
  grid.scheme.dynamic = true;
  grid.rule = GroupScaleRule::kPowerOfTwo;
  grid.Validate();
  const ActivationQuantizer quantizer(grid);
  for (const auto& [largest, scale] : std::vector<std::pair<float, float>>{
           {4, 1}, {6.9f, 1}, {7, 2}, {7.9f, 2}, {8, 2}, {0.5f, 0.125f}, {0.875f, 0.25f}}) {
    std::vector<float> x = Normal(32, 3), rounded(32);
    for (float& v : x) v *= largest / 100;
    x[7] = -largest;
    quantizer.Round(x, rounded);
    for (size_t i = 0; i < x.size(); ++i) {
      const Codebook& book = Codebook::Of(NumberType::kMxfp4);
      EXPECT_EQ(rounded[i], scale * book.Value(book.Nearest(x[i] / scale))) << largest;
    }
  }
}

TEST(ActivationQuantizer, ScalesMayBeRelativeToOneOfTheTensor) {
  ActivationGrid grid;
  grid.scheme = SchemeOfFormat(NumberType::kNvfp4);
  grid.scheme.dynamic = true;
  grid.rule = GroupScaleRule::kGlobal;
  grid.global_scale = 300;
  grid.Validate();
  std::vector<float> x = Normal(16, 5), rounded(16);
  ActivationQuantizer(grid).Round(x, rounded);

  float largest = 0;
  for (const float v : x) largest = std::max(largest, std::abs(v));
  const Codebook &e4m3 = Codebook::Of(NumberType::kFp8E4m3),
                 &e2m1 = Codebook::Of(NumberType::kNvfp4);
  const float scale = e4m3.Value(e4m3.Nearest(300 * (largest / 6))) / 300;
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(rounded[i], scale * e2m1.Value(e2m1.Nearest(x[i] / scale)));
  }

  // What a rule does not belong to is refused.
  grid.global_scale = 0;
  EXPECT_THROW(grid.Validate(), Error);
  grid.global_scale = 1;
  grid.rule = GroupScaleRule::kPowerOfTwo;
  EXPECT_THROW(grid.Validate(), Error);
}

TEST(ActivationQuantizer, ZerosStayZeros) {
  for (Granularity granularity : {Granularity::kToken, Granularity::kGroup}) {
    const int size = granularity == Granularity::kGroup ? 4 : 0;
    std::vector<float> rounded(10, 1.0f);
    ActivationQuantizer({Int(8, granularity, size), {}})
        .Round(std::vector<float>(10, 0.0f), rounded);
    for (float v : rounded) EXPECT_EQ(v, 0);
  }
}

TEST(ActivationQuantizer, WhatIsNotFiniteIsNotHidden) {
  for (float bad : {NAN, INFINITY, -INFINITY}) {
    for (size_t place : std::initializer_list<size_t>{3, 17, 20}) {  // in whole lanes and behind
      std::vector<float> x = Normal(21, 5), rounded(21);
      x[place] = bad;
      for (const Scheme& scheme : {Int(8, Granularity::kToken), Int(8, Granularity::kTensor),
                                   Int(8, Granularity::kGroup, 16)}) {
        const ActivationQuantizer quantizer({scheme, {0.1f, 128}});
        quantizer.Round(x, rounded);
        EXPECT_TRUE(std::isnan(rounded[place]));
        if (scheme.granularity == Granularity::kGroup) continue;
        std::vector<uint8_t> codes(21);
        EXPECT_TRUE(std::isnan(quantizer.Quantize(x, codes).scale));
      }
    }
  }
}

TEST(ActivationScheme, RefusesWhatDependsOnTheBatch) {
  const auto message = [](const Scheme& scheme) -> std::string {
    try {
      ValidateActivationScheme(scheme);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message(Int(8, Granularity::kToken)), "");
  EXPECT_EQ(message(Int(8, Granularity::kTensor)), "");
  EXPECT_THAT(message(Int(8, Granularity::kChannel)), HasSubstr("input channel"));
  Scheme dynamic_tensor = Int(8, Granularity::kTensor);
  dynamic_tensor.dynamic = true;
  EXPECT_THAT(message(dynamic_tensor), HasSubstr("batch"));
  Scheme float_zero = Int(8, Granularity::kToken);
  float_zero.zero_point = ZeroPointKind::kFloat;
  EXPECT_THAT(message(float_zero), HasSubstr("whole zero points"));
  Scheme nvfp4 = SchemeOfFormat(NumberType::kNvfp4);
  nvfp4.dynamic = true;
  EXPECT_THAT(message(nvfp4), HasSubstr("mxfp4"));
}

TEST(RangeOf, IsTheRangeForEveryLength) {
  for (size_t length = 1; length < 40; ++length) {
    const std::vector<float> x = Normal(length, 100 + length);
    float min = 0, max = 0;
    RangeOf(x, min, max);
    EXPECT_EQ(min, *std::ranges::min_element(x));
    EXPECT_EQ(max, *std::ranges::max_element(x));
  }
}

}  // namespace
}  // namespace qualm
