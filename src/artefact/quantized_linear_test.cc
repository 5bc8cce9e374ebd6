#include "artefact/quantized_linear.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// 2 x 5, groups of 2 (the last one has a single column), 4 bits, integer zeros.
QuantizedLinear Small() {
  QuantizedLinear q;
  q.out_features = 2;
  q.in_features = 5;
  q.scheme.granularity = Granularity::kGroup;
  q.scheme.group_size = 2;
  q.codes = {0, 15, 8, 7, 3,  //
             1, 2,  3, 4, 5};
  q.scales = {0.5f, 2.0f, 1.0f, 0.25f, 1.0f, 4.0f};
  q.zeros = {8, 7, 0, 0, 15, 5};
  return q;
}

using Kind = OnlineTransform::Kind;
using Side = OnlineTransform::Side;

OnlineTransform MakeTransform(Kind kind, Side side, std::vector<uint32_t> dims,
                              std::vector<float> factors) {
  OnlineTransform transform;
  transform.kind = kind;
  transform.side = side;
  transform.dims = std::move(dims);
  transform.factors = std::move(factors);
  return transform;
}

std::string MessageOf(const QuantizedLinear& q) {
  try {
    q.Validate();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    return error.what();
  }
  return "";
}

std::vector<float> Row(const Matrix& matrix, size_t row) {
  auto values = matrix.row(row);
  return {values.begin(), values.end()};
}

TEST(QuantizedLinear, DequantizesScaleTimesCodeMinusZero) {
  QuantizedLinear q = Small();
  EXPECT_EQ(MessageOf(q), "");
  Matrix weight = q.Dequantize();
  EXPECT_THAT(Row(weight, 0), ElementsAre(-4.0f, 3.5f, 2.0f, 0.0f, 3.0f));
  EXPECT_THAT(Row(weight, 1), ElementsAre(0.25f, 0.5f, -12.0f, -11.0f, 0.0f));
}

TEST(QuantizedLinear, SymmetricCodesAreCenteredAtHalfTheRange) {
  QuantizedLinear q = Small();
  q.scheme.zero_point = ZeroPointKind::kNone;
  q.zeros.clear();
  EXPECT_EQ(MessageOf(q), "");
  EXPECT_THAT(Row(q.Dequantize(), 0), ElementsAre(-4.0f, 3.5f, 0.0f, -2.0f, -5.0f));
}

TEST(QuantizedLinear, OneScalePerTensor) {
  QuantizedLinear q = Small();
  q.scheme.granularity = Granularity::kTensor;
  q.scheme.group_size = 0;
  q.scales = {0.5f};
  q.zeros = {4};
  EXPECT_EQ(MessageOf(q), "");
  EXPECT_THAT(Row(q.Dequantize(), 1), ElementsAre(-1.5f, -1.0f, -0.5f, 0.0f, 0.5f));
  // 2 rows of 20 bits (3 bytes), a float16 scale, a one-byte zero.
  EXPECT_EQ(q.StoredBytes(), 2u * 3 + 2 + 1);
}

TEST(QuantizedLinear, FloatZerosAreNotRounded) {
  QuantizedLinear q = Small();
  q.scheme.zero_point = ZeroPointKind::kFloat;
  q.zeros = {7.5f, -0.25f, 0, 0, 100, -3};
  EXPECT_EQ(MessageOf(q), "");
  EXPECT_THAT(Row(q.Dequantize(), 0), ElementsAre(-3.75f, 3.75f, 16.5f, 14.5f, 3.0f));
}

TEST(QuantizedLinear, SecondLevelScalesAndZerosTakeThePlaceOfTheFirst) {
  QuantizedLinear q = Small();
  q.scheme.zero_point = ZeroPointKind::kFloat;
  q.scheme.second_level = SecondLevel{3, 2};  // both rows share one block
  q.scales.clear();
  q.zeros.clear();
  q.second_level_scales = SecondLevelValues{{1, 2, 7, 0, 4, 3}, {0.5f, 1.0f, 0.25f}, {0, 1, -1}};
  q.second_level_zeros = SecondLevelValues{{0, 2, 4, 1, 3, 5}, {1.0f, 0.5f, 2.0f}, {0, 0, 3}};
  EXPECT_EQ(MessageOf(q), "");
  EXPECT_EQ(q.ScaleAt(0, 0), 0.5f);
  EXPECT_EQ(q.ScaleAt(1, 1), 3.0f);
  EXPECT_EQ(q.ScaleAt(0, 2), 2.0f);
  EXPECT_EQ(q.ZeroAt(0, 2), 2.0f);
  EXPECT_EQ(q.ZeroAt(1, 1), 1.5f);
  EXPECT_THAT(Row(q.Dequantize(), 0), ElementsAre(0.0f, 7.5f, 7.0f, 6.0f, 2.0f));
  // Codes 2·3 bytes; 2 rows of 3 codes of 3 bits (2 bytes each), twice; 6 second level values of
  // float16, twice.
  EXPECT_EQ(q.StoredBytes(), 6u + 2 * (2 * 2 + 6 * 2));
}

TEST(QuantizedLinear, BitsPerGroupSetTheWidthAndTheCentre) {
  QuantizedLinear q = Small();
  q.scheme.zero_point = ZeroPointKind::kNone;
  q.zeros.clear();
  q.bits_per_group = {4, 5, 3};
  q.codes[2] = 31;
  EXPECT_EQ(MessageOf(q), "");
  EXPECT_EQ(Row(q.Dequantize(), 0)[2], 2.0f * (31 - 16));
  EXPECT_EQ(Row(q.Dequantize(), 0)[4], 1.0f * (3 - 4));
  // 2·4 + 2·5 + 3 = 21 bits a row: 3 bytes; 6 scales; 3 widths.
  EXPECT_EQ(q.StoredBytes(), 2u * 3 + 6 * 2 + 3);
  q.codes[4] = 8;
  EXPECT_THAT(MessageOf(q), HasSubstr("codes up to 7; got 8; at row 0, column 4"));
}

TEST(QuantizedLinear, GroupIndexAssignsPermutedColumns) {
  QuantizedLinear q = Small();
  q.g_idx = {1, 0, 2, 0, 1};
  EXPECT_EQ(MessageOf(q), "");
  EXPECT_THAT(Row(q.Dequantize(), 0),
              ElementsAre(2.0f * (0 - 7), 0.5f * (15 - 8), 8.0f, 0.5f * (7 - 8), 2.0f * (3 - 7)));
  EXPECT_EQ(q.StoredBytes(), Small().StoredBytes() + 5 * 4);
  q.g_idx[0] = 3;
  EXPECT_THAT(MessageOf(q), HasSubstr("g_idx below 3; got 3"));
  q.g_idx[0] = 0;
  EXPECT_THAT(MessageOf(q), HasSubstr("2 columns of group 0; got 3"));
}

TEST(QuantizedLinear, OutliersReplaceTheDenseValue) {
  QuantizedLinear q = Small();
  q.outliers = Outliers{{0, 2, 2}, {1, 4}, {HalfFromFloat(-9.5f), HalfFromFloat(1.25f)}};
  EXPECT_EQ(MessageOf(q), "");
  EXPECT_THAT(Row(q.Dequantize(), 0), ElementsAre(-4.0f, -9.5f, 2.0f, 0.0f, 1.25f));
  EXPECT_EQ(Row(q.Dequantize(), 1), Row(Small().Dequantize(), 1));
  EXPECT_EQ(q.StoredBytes(), Small().StoredBytes() + (3 + 2) * 4 + 2 * 2);
}

TEST(QuantizedLinear, TransformsAreCountedButNotUndone) {
  QuantizedLinear q = Small();
  q.transforms.push_back(MakeTransform(Kind::kScale, Side::kInput, {}, {1, 2, 3, 4, 5}));
  EXPECT_EQ(MessageOf(q), "");
  EXPECT_EQ(Row(q.Dequantize(), 0), Row(Small().Dequantize(), 0));
  EXPECT_EQ(q.StoredBytes(), Small().StoredBytes() + 8 + 5 * 4);
}

TEST(QuantizedLinear, BitsPerWeightOfW4G128IsFourPlusTwentyOver128) {
  QuantizedLinear q;
  q.out_features = 16;
  q.in_features = 512;
  q.scheme.granularity = Granularity::kGroup;
  q.scheme.group_size = 128;
  q.codes.assign(16 * 512, 0);
  q.scales.assign(16 * 4, 1.0f);
  q.zeros.assign(16 * 4, 0.0f);
  EXPECT_EQ(q.BitsPerWeight(), 4 + (16 + 4) / 128.0);
}

TEST(QuantizedLinear, RefusesWhatContradictsTheScheme) {
  struct Case {
    const char* message;
    std::function<void(QuantizedLinear&)> edit;
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<Case> cases = {
      {"10 codes; got 9", [](auto& q) { q.codes.pop_back(); }},
      {"codes up to 15; got 16; at row 1, column 0", [](auto& q) { q.codes[5] = 16; }},
      {"6 scales; got 5", [](auto& q) { q.scales.pop_back(); }},
      {"finite scales", [&](auto& q) { q.scales[0] = nan; }},
      {"0 values of the table; got 1", [](auto& q) { q.table = {1}; }},
      {"a value type F32, F16 or BF16; got I8", [](auto& q) { q.value_form.type = DType::kI8; }},
      {"factor of the values other than 0", [](auto& q) { q.value_form.factor = 0; }},
      {"no tensor scale that divides", [](auto& q) { q.tensor_scale_divides = true; }},
      {"exact in F16; got 0.1", [](auto& q) { q.scales[0] = 0.1f; }},
      {"6 zeros; got 0", [](auto& q) { q.zeros.clear(); }},
      {"0 zeros; got 6", [](auto& q) { q.scheme.zero_point = ZeroPointKind::kNone; }},
      {"whole zero points in 0..15; got 7.5", [](auto& q) { q.zeros[3] = 7.5f; }},
      {"whole zero points in 0..15; got 16", [](auto& q) { q.zeros[3] = 16; }},
      {"whole zero points", [&](auto& q) { q.zeros[3] = nan; }},
      {"3 entries of bits_per_group; got 1", [](auto& q) { q.bits_per_group = {4}; }},
      {"bits_per_group in 1..8; got 0",
       [](auto& q) {
         q.bits_per_group = {4, 0, 4};
       }},
      {"5 entries of g_idx; got 1", [](auto& q) { q.g_idx = {0}; }},
      {"no second level of scales", [](auto& q) { q.second_level_scales.emplace(); }},
      {"no zero points", [](auto& q) { q.scheme.type = NumberType::kNf4; }},
      {"tensor_scale 1; got 2", [](auto& q) { q.tensor_scale = 2; }},
      {"a static scheme", [](auto& q) { q.scheme.dynamic = true; }},
      {"at least one input", [](auto& q) { q.out_features = 0; }},
      {"a matrix that fits", [](auto& q) { q.out_features = q.in_features = SIZE_MAX / 2; }},
  };
  for (const Case& c : cases) {
    QuantizedLinear q = Small();
    c.edit(q);
    EXPECT_THAT(MessageOf(q), HasSubstr(c.message));
  }
}

TEST(QuantizedLinear, RefusesBadOutliers) {
  auto message = [](Outliers outliers) {
    QuantizedLinear q = Small();
    q.outliers = std::move(outliers);
    return MessageOf(q);
  };
  const Half one = HalfFromFloat(1);
  EXPECT_EQ(message({{0, 0, 0}, {}, {}}), "");
  EXPECT_THAT(message({{0, 0}, {}, {}}), HasSubstr("3 row starts"));
  EXPECT_THAT(message({{0, 1, 1}, {0}, {}}), HasSubstr("1 values of outliers; got 0"));
  EXPECT_THAT(message({{0, 1, 2}, {0}, {one}}), HasSubstr("from 0 to 1"));
  EXPECT_THAT(message({{0, 9, 1}, {0}, {one}}), HasSubstr("rising row starts"));
  EXPECT_THAT(message({{0, 1, 1}, {5}, {one}}), HasSubstr("columns below 5; got 5"));
  EXPECT_THAT(message({{0, 2, 2}, {3, 3}, {one, one}}), HasSubstr("rising outlier columns"));
  EXPECT_THAT(message({{0, 1, 1}, {0}, {Half{0x7c00}}}), HasSubstr("finite outliers"));
}

TEST(QuantizedLinear, RefusesBadTransforms) {
  auto message = [](Kind kind, Side side, std::vector<uint32_t> dims, std::vector<float> factors) {
    QuantizedLinear q = Small();
    q.transforms.push_back(MakeTransform(kind, side, std::move(dims), std::move(factors)));
    return MessageOf(q);
  };
  EXPECT_THAT(message(Kind::kScale, Side::kInput, {}, {1}),
              HasSubstr("5 transform factors; got 1"));
  EXPECT_THAT(message(Kind::kScale, Side::kInput, {}, {1, 1, 0, 1, 1}), HasSubstr("other than 0"));
  EXPECT_THAT(message(Kind::kShift, Side::kOutput, {}, {1}), HasSubstr("2 transform factors"));
  EXPECT_EQ(message(Kind::kHadamard, Side::kOutput, {2}, {}), "");
  EXPECT_THAT(message(Kind::kHadamard, Side::kInput, {2}, {}), HasSubstr("divides 5; got 2"));
  EXPECT_THAT(message(Kind::kHadamard, Side::kInput, {0}, {}), HasSubstr("got 0"));
  EXPECT_EQ(message(Kind::kKronecker, Side::kInput, {5, 1}, std::vector<float>(26, 1.0f)), "");
  EXPECT_THAT(message(Kind::kKronecker, Side::kInput, {5}, {}), HasSubstr("2 Kronecker sizes"));
  EXPECT_THAT(message(Kind::kKronecker, Side::kInput, {5, 2}, {}), HasSubstr("product 5"));
  EXPECT_THAT(message(Kind::kKronecker, Side::kInput, {5, 1}, {1}),
              HasSubstr("26 Kronecker factors"));
}

TEST(PackCodes, EightCodesOfThreeBitsFillThreeBytes) {
  // 1 | 2<<3 | 3<<6 | 4<<9 | 5<<12 | 6<<15 | 7<<18 | 0<<21 = 0x1f58d1
  const std::vector<uint8_t> codes = {1, 2, 3, 4, 5, 6, 7, 0};
  std::vector<uint8_t> packed(PackedRowBytes(8, 3));
  PackCodes(codes, 3, packed);
  EXPECT_THAT(packed, ElementsAre(0xd1, 0x58, 0x1f));
}

TEST(PackCodes, EveryCodeSurvivesAtEveryPlaceForEveryWidth) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (size_t count = 1; count <= 17; ++count) {
      for (size_t place = 0; place < count; ++place) {
        for (int code = 0; code < 1 << bits; ++code) {
          std::vector<uint8_t> codes(count, static_cast<uint8_t>(((1 << bits) - 1) ^ code));
          codes[place] = static_cast<uint8_t>(code);
          std::vector<uint8_t> packed((count * static_cast<size_t>(bits) + 7) / 8, 0xee);
          ASSERT_EQ(packed.size(), PackedRowBytes(count, bits));
          PackCodes(codes, bits, packed);
          std::vector<uint8_t> back(count, 0xee);
          UnpackCodes(packed, bits, back);
          ASSERT_EQ(back, codes) << bits << " bits, place " << place << " of " << count;
        }
      }
    }
  }
}

TEST(PackCodes, TheLastByteIsFilledUpWithZeros) {
  const std::vector<uint8_t> codes(3, 7);
  std::vector<uint8_t> packed(PackedRowBytes(3, 3), 0xff);
  PackCodes(codes, 3, packed);
  EXPECT_THAT(packed, ElementsAre(0xff, 0x01));
}

// Every form of a weight against its formula, written out.
TEST(QuantizedLinear, AWeightIsRoundedAsItsLibraryDoes) {
  QuantizedLinear q;
  q.out_features = 1;
  q.in_features = 4;
  q.scheme.zero_point = ZeroPointKind::kFloat;
  q.scheme.scale_type = DType::kF32;
  q.codes = {0, 5, 9, 15};
  q.scales = {0.0123f};
  q.zeros = {7.3f};

  // Scale and zero point, a factor, and the value's type at last.
  q.value_form = {.factor = 0.25f, .type = DType::kBF16};
  for (size_t c = 0; c < 4; ++c) {
    const float scaled = 0.0123f * (static_cast<float>(q.codes[c]) - 7.3f);
    EXPECT_EQ(q.Dequantize()(0, c), RoundTo(scaled * 0.25f, DType::kBF16));
  }

  // The difference is rounded before it is scaled.
  q.value_form = {.type = DType::kBF16, .rounds_difference = true};
  for (size_t c = 0; c < 4; ++c) {
    const float difference = RoundTo(static_cast<float>(q.codes[c]) - 7.3f, DType::kBF16);
    EXPECT_EQ(q.Dequantize()(0, c), RoundTo(0.0123f * difference, DType::kBF16));
  }

  // An offset is added without rounding in between.
  q.value_form = {};
  q.scheme.zero_point = ZeroPointKind::kOffset;
  for (size_t c = 0; c < 4; ++c) {
    const double exact = double{0.0123f} * q.codes[c] + double{7.3f};
    EXPECT_EQ(q.Dequantize()(0, c), static_cast<float>(exact));
  }
}

TEST(QuantizedLinear, ALayerMayBringTheValuesOfItsCodes) {
  QuantizedLinear q;
  q.out_features = 1;
  q.in_features = 4;
  q.scheme.type = NumberType::kTable;
  q.scheme.bits = 2;
  q.scheme.zero_point = ZeroPointKind::kNone;
  q.codes = {3, 2, 1, 0};
  q.scales = {-0.5f};
  q.table = {-3, 0, 1, 7};
  q.Validate();
  EXPECT_EQ(q.Dequantize()(0, 0), -3.5f);
  EXPECT_EQ(q.Dequantize()(0, 3), 1.5f);

  // The table has one value for each code.
  q.table.pop_back();
  EXPECT_THROW(q.Validate(), Error);
}

TEST(QuantizedLinear, ATensorScaleMayDivide) {
  QuantizedLinear q;
  q.out_features = 1;
  q.in_features = 16;
  q.scheme = SchemeOfFormat(NumberType::kNvfp4);
  q.codes.assign(16, 7);  // 6
  q.scales = {3.5f};
  q.tensor_scale = 0.3f;
  q.tensor_scale_divides = true;
  q.Validate();
  EXPECT_EQ(q.Dequantize()(0, 0), 6 * (3.5f / 0.3f));
}

}  // namespace
}  // namespace qualm
