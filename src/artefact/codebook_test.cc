#include "artefact/codebook.h"

#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "base/rng.h"
#include "tensor/dtype.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;

constexpr NumberType kTypes[] = {NumberType::kNf4,         NumberType::kFp8E4m3,
                                 NumberType::kFp8E4m3Ieee, NumberType::kFp8E5m2,
                                 NumberType::kMxfp4,       NumberType::kNvfp4};

TEST(Codebook, E2m1IsTheTableOfItsSpecification) {
  const Codebook& e2m1 = Codebook::Of(NumberType::kMxfp4);
  std::vector<float> values;
  for (uint8_t code = 0; code < 16; ++code) values.push_back(e2m1.Value(code));
  EXPECT_THAT(values,
              ElementsAre(0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0f, -0.5, -1, -1.5, -2, -3, -4, -6));
}

TEST(Codebook, KnownCodesOfTheFp8Formats) {
  const Codebook& e4m3 = Codebook::Of(NumberType::kFp8E4m3);
  EXPECT_EQ(e4m3.Value(0x01), 0x1p-9f);  // the smallest denormal
  EXPECT_EQ(e4m3.Value(0x07), 7 * 0x1p-9f);
  EXPECT_EQ(e4m3.Value(0x08), 0x1p-6f);  // the smallest normal
  EXPECT_EQ(e4m3.Value(0x38), 1);
  EXPECT_EQ(e4m3.Value(0x7e), 448);
  EXPECT_TRUE(std::isnan(e4m3.Value(0x7f)) && std::isnan(e4m3.Value(0xff)));
  const Codebook& ieee = Codebook::Of(NumberType::kFp8E4m3Ieee);
  EXPECT_EQ(ieee.Value(0x77), 240);
  EXPECT_TRUE(std::isnan(ieee.Value(0x78)));
  const Codebook& e5m2 = Codebook::Of(NumberType::kFp8E5m2);
  EXPECT_EQ(e5m2.Value(0x01), 0x1p-16f);
  EXPECT_EQ(e5m2.Value(0x7b), 57344);
  EXPECT_TRUE(std::isnan(e5m2.Value(0x7c)));
}

// e5m2 is the upper half of a float16: all 256 codes against that.
TEST(Codebook, E5m2IsATruncatedHalf) {
  const Codebook& e5m2 = Codebook::Of(NumberType::kFp8E5m2);
  for (unsigned code = 0; code < 256; ++code) {
    const float half = ToFloat(Half{static_cast<uint16_t>(code << 8)});
    const float value = e5m2.Value(static_cast<uint8_t>(code));
    if (std::isfinite(half)) {
      EXPECT_EQ(value, half) << code;
    } else {
      EXPECT_TRUE(std::isnan(value)) << code;
    }
  }
}

TEST(Codebook, EveryNumberIsItsOwnNearest) {
  for (NumberType type : kTypes) {
    const Codebook& book = Codebook::Of(type);
    size_t numbers = 0;
    float largest = 0;
    for (unsigned code = 0; code < 1u << book.bits(); ++code) {
      const float value = book.Value(static_cast<uint8_t>(code));
      if (std::isnan(value)) continue;
      ++numbers;
      largest = std::max(largest, std::abs(value));
      EXPECT_EQ(book.Value(book.Nearest(value)), value) << code;
      if (value != 0) {
        EXPECT_EQ(book.Nearest(value), code);
      }
    }
    EXPECT_EQ(largest, book.largest());
    EXPECT_EQ(book.Nearest(-0.0f), book.Nearest(0.0f));
    EXPECT_GE(numbers, 16u);
  }
}

TEST(Codebook, NearestAgreesWithTryingAllCodes) {
  Rng rng(1);
  for (NumberType type : kTypes) {
    const Codebook& book = Codebook::Of(type);
    for (int trial = 0; trial < 3000; ++trial) {
      const float x =
          static_cast<float>(rng.Normal() * book.largest() * std::exp2(-8 * rng.Uniform()));
      double best = HUGE_VAL;
      for (unsigned code = 0; code < 1u << book.bits(); ++code) {
        const float value = book.Value(static_cast<uint8_t>(code));
        if (!std::isnan(value)) best = std::min(best, std::abs(double{x} - double{value}));
      }
      EXPECT_EQ(std::abs(double{x} - double{book.Value(book.Nearest(x))}), best) << x;
    }
  }
}

TEST(Codebook, TiesGoToTheEvenCodeAndBeyondTheEndsIsTheEnd) {
  for (NumberType type : kTypes) {
    const Codebook& book = Codebook::Of(type);
    size_t ties = 0;
    for (unsigned code = 0; code + 1 < 1u << book.bits(); ++code) {
      const float a = book.Value(static_cast<uint8_t>(code));
      const float b = book.Value(static_cast<uint8_t>(code + 1));
      const double middle = (double{a} + double{b}) / 2;
      // Codes of one sign follow their values; middles that a float holds are ties.
      if (std::isnan(middle) || std::signbit(a) != std::signbit(b) ||
          double{static_cast<float>(middle)} != middle) {
        continue;
      }
      const uint8_t nearest = book.Nearest(static_cast<float>(middle));
      if (book.Value(nearest) == 0) continue;  // -0 is not used
      EXPECT_EQ(nearest % 2, 0) << code;
      ++ties;
    }
    if (type != NumberType::kNf4) {
      EXPECT_GE(ties, 10u);
    }
    EXPECT_EQ(book.Value(book.Nearest(3e38f)), book.largest());
    EXPECT_EQ(book.Value(book.Nearest(-3e38f)), -book.largest());
  }
}

TEST(ByteScales, MxScalesArePowersOfTwoThatRoundTheExponentDown) {
  // 6 = 1.5·2^2 is the largest value: 2^(floor(log2 largest) - 2).
  EXPECT_EQ(FitByteScale(NumberType::kMxfp4, 4.0f), 1);
  EXPECT_EQ(FitByteScale(NumberType::kMxfp4, 7.9f), 1);  // and 7.9 clips to 6
  EXPECT_EQ(FitByteScale(NumberType::kMxfp4, 8.0f), 2);
  EXPECT_EQ(FitByteScale(NumberType::kMxfp4, 0.3f), 0x1p-4f);
  for (int exponent = -126; exponent <= 127; ++exponent) {
    const float scale = std::ldexp(1.0f, exponent);
    const uint8_t byte = EncodeByteScale(NumberType::kMxfp4, scale);
    EXPECT_EQ(byte, exponent + 127);
    EXPECT_EQ(DecodeByteScale(NumberType::kMxfp4, byte), scale);
  }
  EXPECT_TRUE(std::isnan(DecodeByteScale(NumberType::kMxfp4, 255)));
}

TEST(ByteScales, NvScalesAreNormalE4m3Numbers) {
  EXPECT_EQ(FitByteScale(NumberType::kNvfp4, 6.0f), 1);
  EXPECT_EQ(FitByteScale(NumberType::kNvfp4, 6 * 448.0f), 448);
  EXPECT_EQ(FitByteScale(NumberType::kNvfp4, 1e-9f), 0x1p-6f) << "never 0";
  EXPECT_EQ(FitByteScale(NumberType::kNvfp4, 6 * 1.0625f), 1) << "a tie to the even mantissa";
  EXPECT_EQ(TensorScaleFor(2688), 1);
  EXPECT_EQ(TensorScaleFor(0), 1);
}

}  // namespace
}  // namespace qualm
