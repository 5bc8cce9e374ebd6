#include "kernels/integer_weight.h"

#include <gmock/gmock.h>

#include <cmath>

#include "artefact/quantized_linear.h"
#include "base/rng.h"
#include "base/strings.h"
#include "kernels/int_dot.h"
#include "kernels/packed.h"
#include "support/random_matrix.h"
#include "support/test_context.h"
#include "tensor/isa.h"

namespace qualm {
namespace {

struct Shape {
  size_t out, in;
  int bits, group_size;
  bool symmetric_weights;
  int input_bits;
  bool symmetric_inputs;
};

QuantizedLinear RandomLayer(const Shape& shape, uint64_t seed) {
  Rng rng(seed);
  QuantizedLinear layer;
  layer.out_features = shape.out;
  layer.in_features = shape.in;
  layer.scheme.bits = shape.bits;
  layer.scheme.group_size = shape.group_size;
  layer.scheme.granularity = shape.group_size > 0 ? Granularity::kGroup : Granularity::kChannel;
  if (shape.symmetric_weights) layer.scheme.zero_point = ZeroPointKind::kNone;
  for (size_t i = 0; i < shape.out * shape.in; ++i) {
    layer.codes.push_back(static_cast<uint8_t>(rng.Below(uint64_t{1} << shape.bits)));
  }
  for (size_t i = 0; i < shape.out * layer.group_count(); ++i) {
    layer.scales.push_back(ToFloat(HalfFromFloat(static_cast<float>(0.01 + rng.Uniform()))));
    if (!shape.symmetric_weights) {
      layer.zeros.push_back(static_cast<float>(rng.Below(uint64_t{1} << shape.bits)));
    }
  }
  ActivationGrid inputs;
  inputs.scheme.bits = shape.input_bits;
  inputs.scheme.granularity = Granularity::kToken;
  inputs.scheme.dynamic = true;
  inputs.scheme.scale_type = DType::kF32;
  if (shape.symmetric_inputs) inputs.scheme.zero_point = ZeroPointKind::kNone;
  layer.activations = inputs;
  return layer;
}

size_t UnequalBits(const Matrix& a, const Matrix& b) {
  size_t unequal = 0;
  for (size_t t = 0; t < a.rows(); ++t) {
    for (size_t r = 0; r < a.cols(); ++r) unequal += a(t, r) != b(t, r);
  }
  return unequal;
}

// Restores the instruction set when a test ends.
class IntegerWeightTest : public ::testing::Test {
 protected:
  ~IntegerWeightTest() override { SetInstructionSet(before_); }
  std::string_view before_ = InstructionSet();
};

constexpr Shape kShapes[] = {{70, 256, 8, 0, true, 8, true},    {64, 512, 8, 128, false, 8, true},
                             {33, 200, 4, 64, false, 8, true},  {16, 1100, 4, 0, true, 8, false},
                             {130, 96, 3, 32, false, 4, true},  {17, 64, 2, 16, true, 8, false},
                             {20, 72, 5, 24, false, 6, false},  {5, 7, 7, 0, false, 8, true},
                             {64, 1536, 6, 512, true, 8, true}, {48, 100, 4, 40, false, 2, false}};

TEST_F(IntegerWeightTest, EqualsTheDefinitionBitForBit) {
  testing::TestContext context(3);
  for (std::string_view isa : AvailableInstructionSets()) {
    SetInstructionSet(isa);
    for (const Shape& shape : kShapes) {
      const QuantizedLinear layer = RandomLayer(shape, shape.in);
      ASSERT_TRUE(IsIntegerProduct(layer));
      const auto fast = MakeIntegerWeight(layer, context), plain = MakePlainIntegerWeight(layer);
      for (size_t tokens : std::initializer_list<size_t>{1, 3, 4, 9, 31, 32, 64, 65, 100}) {
        const Matrix x = testing::RandomMatrix(tokens, shape.in, tokens, 0.3);
        Matrix got(tokens, shape.out), expected(tokens, shape.out);
        fast->Multiply(x, got, context);
        plain->Multiply(x, expected, context);
        EXPECT_EQ(UnequalBits(got, expected), 0u)
            << isa << " " << fast->format() << " in " << shape.in << " tokens " << tokens;
      }
    }
  }
}

// The float product of the dequantized values, in double: the definition rounds s_g·a_g and the
// running sum per group, and the product with s_x, each by 2^-24 of what is summed.
TEST_F(IntegerWeightTest, IsTheProductOfTheDequantizedValues) {
  testing::TestContext context(2);
  for (const Shape& shape : kShapes) {
    const QuantizedLinear layer = RandomLayer(shape, 7);
    const Matrix x = testing::RandomMatrix(5, shape.in, 8, 0.3);
    Matrix got(5, shape.out);
    MakeIntegerWeight(layer, context)->Multiply(x, got, context);
    const Matrix w = layer.Dequantize();
    const ActivationQuantizer quantizer(*layer.activations);
    for (size_t t = 0; t < 5; ++t) {
      std::vector<float> rounded(shape.in);
      quantizer.Round(x.row(t), rounded);
      for (size_t r = 0; r < shape.out; ++r) {
        double sum = 0, magnitude = 0;
        for (size_t k = 0; k < shape.in; ++k) {
          sum += double{rounded[k]} * w(r, k);
          magnitude += std::abs(double{rounded[k]} * w(r, k));
        }
        const double roundings = 3 + 3 * static_cast<double>(layer.group_count());
        EXPECT_NEAR(got(t, r), sum, roundings * 0x1p-24 * magnitude);
      }
    }
  }
}

// Extreme codes in the longest groups that are allowed: nothing leaves 32 bits.
TEST_F(IntegerWeightTest, TheLongestGroupsFitTheirSums) {
  testing::TestContext context(2);
  for (const uint8_t code : {uint8_t{0}, uint8_t{255}}) {
    QuantizedLinear layer = RandomLayer({3, 33024, 8, 0, false, 8, false}, 1);
    std::ranges::fill(layer.codes, code);
    std::ranges::fill(layer.zeros, static_cast<float>(255 - code));
    Matrix x(40, 33024);
    for (size_t t = 0; t < 40; ++t) {
      for (float& v : x.row(t)) v = t % 2 == 0 ? 1.0f : -1.0f;
      if (t % 3 == 0) x(t, 0) = -x(t, 0);
    }
    Matrix got(40, 3), expected(40, 3);
    MakeIntegerWeight(layer, context)->Multiply(x, got, context);
    MakePlainIntegerWeight(layer)->Multiply(x, expected, context);
    EXPECT_EQ(UnequalBits(got, expected), 0u);
    QuantizedLinear longer = RandomLayer({1, 33026, 8, 0, false, 8, false}, 1);
    EXPECT_FALSE(IsIntegerProduct(longer));
  }
}

TEST_F(IntegerWeightTest, AStaticScaleIsTheTensors) {
  testing::TestContext context(1);
  QuantizedLinear layer = RandomLayer({8, 40, 8, 0, true, 8, true}, 3);
  layer.activations->scheme.granularity = Granularity::kTensor;
  layer.activations->scheme.dynamic = false;
  layer.activations->point = {0.25f, 128};
  Matrix x(1, 40), got(1, 8);
  x(0, 3) = 1.0f;
  x(0, 9) = 1000;  // clipped to code 255
  MakePackedWeight(layer, context)->Multiply(x, got, context);
  for (size_t r = 0; r < 8; ++r) {
    const float dot = 4.0f * (float(layer.codes[r * 40 + 3]) - 128) +
                      127.0f * (float(layer.codes[r * 40 + 9]) - 128);
    EXPECT_EQ(got(0, r), 0.25f * (layer.scales[r] * dot));
  }
}

TEST_F(IntegerWeightTest, WhatIsNoIntegerProductIsSaid) {
  const Shape shape{4, 16, 4, 0, true, 8, true};
  QuantizedLinear layer = RandomLayer(shape, 1);
  layer.activations->scheme.granularity = Granularity::kGroup;
  layer.activations->scheme.group_size = 8;
  EXPECT_FALSE(IsIntegerProduct(layer));
  layer = RandomLayer(shape, 1);
  layer.outliers.emplace();
  EXPECT_FALSE(IsIntegerProduct(layer));
  layer = RandomLayer(shape, 1);
  layer.activations.reset();
  EXPECT_FALSE(IsIntegerProduct(layer));
  layer = RandomLayer(shape, 1);
  layer.activations->scheme = SchemeOfFormat(NumberType::kFp8E4m3);
  EXPECT_FALSE(IsIntegerProduct(layer));
}

TEST(UnpackHalves, PutsLowHalvesFirst) {
  std::vector<uint8_t> bytes(64), to(128);
  for (size_t i = 0; i < 64; ++i) bytes[i] = static_cast<uint8_t>(i % 16 | (15 - i % 16) << 4);
  UnpackHalves(bytes.data(), 64, to.data());
  for (size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(to[i], i % 16);
    EXPECT_EQ(to[64 + i], 15 - i % 16);
  }
}

}  // namespace
}  // namespace qualm
