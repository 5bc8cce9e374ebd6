#include "kernels/packed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "artefact/codebook.h"
#include "artefact/quantized_linear.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"
#include "support/test_context.h"
#include "tensor/isa.h"
#include "tensor/reference/linear_reference.h"

namespace qualm {
namespace {

Matrix Random(size_t rows, size_t cols, uint64_t seed) {
  Rng rng(seed);
  Matrix m(rows, cols);
  for (size_t i = 0; i < rows * cols; ++i) m.data()[i] = static_cast<float>(rng.Normal());
  return m;
}

float RoundedTo(DType type, double value) {
  float rounded = static_cast<float>(value);
  unsigned char bytes[4];
  ConvertFromFloat(&rounded, type, bytes, 1);
  ConvertToFloat(type, bytes, &rounded, 1);
  return rounded;
}

Scheme SchemeOf(int bits, int group_size, ZeroPointKind zero, DType scale_type) {
  Scheme scheme;
  scheme.bits = bits;
  scheme.granularity = group_size > 0 ? Granularity::kGroup : Granularity::kChannel;
  scheme.group_size = group_size;
  scheme.zero_point = zero;
  scheme.scale_type = scale_type;
  return scheme;
}

QuantizedLinear RandomLayer(size_t out, size_t in, const Scheme& scheme, uint64_t seed) {
  Rng rng(seed);
  QuantizedLinear layer;
  layer.out_features = out;
  layer.in_features = in;
  layer.scheme = scheme;
  const uint64_t count = uint64_t{1} << scheme.bits;
  for (size_t i = 0; i < out * in; ++i)
    layer.codes.push_back(static_cast<uint8_t>(rng.Below(count)));
  const bool one = scheme.granularity == Granularity::kTensor;
  const size_t scales = one ? 1 : out * layer.group_count();
  for (size_t i = 0; i < scales; ++i) {
    layer.scales.push_back(RoundedTo(scheme.scale_type, 0.001 + 0.1 * rng.Uniform()));
    const double zero = rng.Uniform() * static_cast<double>(count - 1);
    if (scheme.zero_point == ZeroPointKind::kInteger) {
      layer.zeros.push_back(static_cast<float>(std::floor(zero + 0.5)));
    } else if (scheme.zero_point == ZeroPointKind::kFloat) {
      layer.zeros.push_back(RoundedTo(scheme.scale_type, zero));
    }
  }
  layer.Validate();
  return layer;
}

Matrix Product(const LinearWeight& weight, Span2D<const float> x, int threads) {
  testing::TestContext context(threads);
  Matrix y(x.rows(), weight.out_features());
  weight.Multiply(x, y, context);
  return y;
}

std::unique_ptr<LinearWeight> Pack(const QuantizedLinear& layer) {
  testing::TestContext context(2);
  return MakePackedWeight(layer, context);
}

bool SameBits(Span2D<const float> a, Span2D<const float> b) {
  if (a.rows() != b.rows() || a.cols() != b.cols()) return false;
  for (size_t r = 0; r < a.rows(); ++r) {
    if (std::memcmp(a.row(r).data(), b.row(r).data(), a.cols() * sizeof(float)) != 0) return false;
  }
  return true;
}

// The product has the bits of the definition with the dequantized weights, for some batch sizes
// that take different paths.
void ExpectProductOfDequantized(const QuantizedLinear& layer, uint64_t seed) {
  const auto weight = Pack(layer);
  ASSERT_TRUE(weight->format().starts_with(StrCat("packed-", layer.scheme.ShortName())));
  const Matrix x = Random(33, layer.in_features, seed);
  Matrix expected(33, layer.out_features);
  reference::Multiply(x, layer.Dequantize(), expected);
  for (size_t tokens : std::initializer_list<size_t>{1, 2, 7, 33}) {
    const Matrix y = Product(*weight, x.view().Rows(0, tokens), 2);
    ASSERT_TRUE(SameBits(y, expected.view().Rows(0, tokens)))
        << weight->format() << " [" << layer.out_features << ", " << layer.in_features << "] "
        << tokens << " tokens, " << InstructionSet();
  }
}

class PackedTest : public ::testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override { ASSERT_TRUE(SetInstructionSet(GetParam())); }
  void TearDown() override { SetInstructionSet(AvailableInstructionSets().back()); }
};

INSTANTIATE_TEST_SUITE_P(Isa, PackedTest, ::testing::ValuesIn(AvailableInstructionSets()),
                         [](const auto& of) { return std::string(of.param); });

TEST_P(PackedTest, MatchesARowComputedByHand) {
  // The worked example of docs/formats/packed.md: 0.5·(code - 3) times 1, 10, 100, ...
  QuantizedLinear layer;
  layer.out_features = 1;
  layer.in_features = 8;
  layer.scheme = SchemeOf(4, 0, ZeroPointKind::kInteger, DType::kF16);
  layer.codes = {1, 2, 3, 4, 5, 6, 14, 15};
  layer.scales = {0.5f};
  layer.zeros = {3};
  const float x[] = {1, 10, 100, 1000, 1e4f, 1e5f, 0, 1};
  // weights -1 -0.5 0 0.5 1 1.5 5.5 6
  EXPECT_EQ(Product(*Pack(layer), {x, 1, 8}, 1)(0, 0), -1.0f - 5 + 500 + 1e4f + 1.5e5f + 6);
}

TEST_P(PackedTest, CountsTheBytesItStreams) {
  const Scheme scheme = SchemeOf(4, 128, ZeroPointKind::kInteger, DType::kF16);
  const auto weight = Pack(RandomLayer(32, 256, scheme, 1));
  EXPECT_EQ(weight->weight_bytes(), 32u * 256 / 2 + 32 * 2 * (2 + 1));
  EXPECT_EQ(weight->format(), StrCat("packed-", scheme.ShortName()));
  Scheme tensor = SchemeOf(3, 0, ZeroPointKind::kNone, DType::kBF16);
  tensor.granularity = Granularity::kTensor;
  EXPECT_EQ(Pack(RandomLayer(16, 64, tensor, 1))->weight_bytes(), 16u * 64 * 3 / 8 + 16 * 2);
}

TEST_P(PackedTest, EveryCodeComesBackFromEveryPlace) {
  Matrix identity(32, 32);
  for (size_t k = 0; k < 32; ++k) identity(k, k) = 1;
  for (int bits = 1; bits <= 8; ++bits) {
    for (ZeroPointKind zero : {ZeroPointKind::kInteger, ZeroPointKind::kFloat}) {
      const int count = 1 << bits;
      QuantizedLinear layer = RandomLayer(16, 32, SchemeOf(bits, 0, zero, DType::kF16), 1);
      std::fill(layer.scales.begin(), layer.scales.end(), 1.0f);
      std::fill(layer.zeros.begin(), layer.zeros.end(), 0.0f);
      for (int first = 0; first < count; ++first) {
        for (size_t i = 0; i < layer.codes.size(); ++i) {
          layer.codes[i] = static_cast<uint8_t>((static_cast<int>(i + i / 32 * 5) + first) % count);
        }
        const auto weight = Pack(layer);
        const Matrix all = Product(*weight, identity, 1);
        for (size_t k = 0; k < 32; ++k) {
          const Matrix one = Product(*weight, identity.view().Rows(k, 1), 1);
          for (size_t row = 0; row < 16; ++row) {
            ASSERT_EQ(all(k, row), layer.codes[row * 32 + k]) << bits << " " << k << " " << row;
            ASSERT_EQ(one(0, row), layer.codes[row * 32 + k]) << bits << " " << k << " " << row;
          }
        }
      }
    }
  }
}

TEST_P(PackedTest, EqualsTheDequantizedProductForEveryScheme) {
  uint64_t seed = 0;
  for (int bits = 1; bits <= 8; ++bits) {
    for (int group : {0, 7, 16, 20, 32, 64, 100, 128}) {
      for (auto zero : {ZeroPointKind::kNone, ZeroPointKind::kInteger, ZeroPointKind::kFloat}) {
        for (DType type : {DType::kF16, DType::kBF16, DType::kF32}) {
          if (type != DType::kF16 && group % 32 == 20) continue;
          const Scheme scheme = SchemeOf(bits, group, zero, type);
          ExpectProductOfDequantized(RandomLayer(37, 172, scheme, seed++), 99);
        }
      }
    }
  }
}

TEST_P(PackedTest, EqualsTheDequantizedProductForEveryShape) {
  uint64_t seed = 0;
  for (size_t out : std::initializer_list<size_t>{1, 15, 16, 17, 64, 129}) {
    for (size_t in : std::initializer_list<size_t>{1, 5, 16, 31, 33, 255, 256, 257, 300, 520}) {
      for (int group : {0, 48, 128}) {
        const Scheme scheme = SchemeOf(4, group, ZeroPointKind::kInteger, DType::kF16);
        ExpectProductOfDequantized(RandomLayer(out, in, scheme, seed++), 99);
      }
    }
  }
}

TEST_P(PackedTest, OneScaleForTheWholeTensor) {
  for (auto zero : {ZeroPointKind::kNone, ZeroPointKind::kInteger, ZeroPointKind::kFloat}) {
    Scheme scheme = SchemeOf(4, 0, zero, DType::kF16);
    scheme.granularity = Granularity::kTensor;
    ExpectProductOfDequantized(RandomLayer(50, 300, scheme, 7), 8);
  }
}

TEST_P(PackedTest, EveryBatchSizeHasTheBitsOfOneTokenForAnyThreads) {
  for (int bits : {2, 3, 4, 8}) {
    const Scheme scheme = SchemeOf(bits, 64, ZeroPointKind::kInteger, DType::kF16);
    const QuantizedLinear layer = RandomLayer(150, 530, scheme, 9);
    const auto weight = Pack(layer);
    const Matrix x = Random(300, 530, 10);
    Matrix expected(300, 150);
    reference::Multiply(x, layer.Dequantize(), expected);
    for (size_t tokens : std::initializer_list<size_t>{
             1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 33, 300}) {
      for (int threads : {1, 2, 3}) {
        const size_t first = 300 - tokens;
        const Matrix y = Product(*weight, x.view().Rows(first, tokens), threads);
        ASSERT_TRUE(SameBits(y, expected.view().Rows(first, tokens))) << bits << " " << tokens;
      }
    }
  }
}

TEST_P(PackedTest, SmallestAndLargestScalesKeepTheirBits) {
  for (DType type : {DType::kF16, DType::kBF16}) {
    for (int bits : {4, 8}) {
      QuantizedLinear layer =
          RandomLayer(16, 64, SchemeOf(bits, 32, ZeroPointKind::kInteger, type), 11);
      // Subnormal and huge ones: one such scale takes the weight off the fused path.
      layer.scales[0] = type == DType::kF16 ? 0x1.0p-24f : 0x1.0p-130f;
      layer.scales[1] = type == DType::kF16 ? 65504.0f : 0x1.0p120f;
      ExpectProductOfDequantized(layer, 12);
    }
  }
}

TEST_P(PackedTest, StaysWithinTheDerivedBoundOfTheDoubleProduct) {
  const QuantizedLinear layer =
      RandomLayer(40, 1111, SchemeOf(4, 128, ZeroPointKind::kInteger, DType::kF16), 13);
  const Matrix x = Random(5, 1111, 14), w = layer.Dequantize(), y = Product(*Pack(layer), x, 2);
  std::vector<double> exact(5 * 40), size(5 * 40);
  reference::MultiplyInDouble(x, w, {exact.data(), 5, 40});
  reference::MagnitudeOfTerms(x, w, {size.data(), 5, 40});
  const double bound = reference::FloatSumBound(1111, kReductionBlock);
  for (size_t i = 0; i < exact.size(); ++i) {
    EXPECT_LE(std::abs(double{y.data()[i]} - exact[i]), bound * size[i]);
  }
}

TEST_P(PackedTest, NotANumberAndInfinityOfInputsReachEveryOutputOfTheirToken) {
  const QuantizedLinear layer =
      RandomLayer(20, 70, SchemeOf(4, 32, ZeroPointKind::kNone, DType::kF16), 15);
  const auto weight = Pack(layer);
  const Matrix w = layer.Dequantize();
  for (size_t tokens : std::initializer_list<size_t>{1, 5}) {
    Matrix x = Random(tokens, 70, 16);
    x(tokens - 1, 69) = std::numeric_limits<float>::quiet_NaN();
    const Matrix y = Product(*weight, x, 2);
    for (size_t n = 0; n < 20; ++n) EXPECT_TRUE(std::isnan(y(tokens - 1, n)));
    EXPECT_EQ(std::isnan(y(0, 0)), tokens == 1);
    x(tokens - 1, 69) = std::numeric_limits<float>::infinity();
    const Matrix z = Product(*weight, x, 2);
    for (size_t n = 0; n < 20; ++n) {
      if (w(n, 69) == 0) {
        EXPECT_TRUE(std::isnan(z(tokens - 1, n)));
      } else {
        EXPECT_EQ(z(tokens - 1, n), w(n, 69) * std::numeric_limits<float>::infinity());
      }
    }
  }
}

TEST_P(PackedTest, ScalesOfASecondLevelKeepTheirBits) {
  QuantizedLinear layer =
      RandomLayer(20, 64, SchemeOf(3, 16, ZeroPointKind::kFloat, DType::kF16), 17);
  layer.scheme.second_level = SecondLevel{3, 16};
  Rng rng(18);
  const auto values = [&](double scale) {
    SecondLevelValues level;
    for (size_t i = 0; i < 20 * 4; ++i) level.codes.push_back(static_cast<uint8_t>(rng.Below(8)));
    for (size_t i = 0; i < 2 * 4; ++i) {
      level.scales.push_back(RoundedTo(DType::kF16, scale * (1 + rng.Uniform())));
      level.zeros.push_back(RoundedTo(DType::kF16, -rng.Uniform()));
    }
    return level;
  };
  layer.scales.clear();
  layer.zeros.clear();
  layer.second_level_scales = values(0.01);
  layer.second_level_zeros = values(0.5);
  layer.Validate();
  ExpectProductOfDequantized(layer, 19);
}

TEST_P(PackedTest, NoTokensGiveNoRows) {
  const Scheme scheme = SchemeOf(4, 0, ZeroPointKind::kInteger, DType::kF16);
  EXPECT_EQ(Product(*Pack(RandomLayer(5, 7, scheme, 1)), Matrix(0, 7), 2).rows(), 0u);
}

QuantizedLinear RandomFormatLayer(size_t out, size_t in, NumberType type, int group_size,
                                  uint64_t seed) {
  Rng rng(seed);
  QuantizedLinear layer;
  layer.out_features = out;
  layer.in_features = in;
  layer.scheme = SchemeOfFormat(type);
  if (group_size > 0) {
    layer.scheme.granularity = Granularity::kGroup;
    layer.scheme.group_size = group_size;
  }
  const Codebook& book = Codebook::Of(type);
  while (layer.codes.size() < out * in) {
    const auto code = static_cast<uint8_t>(rng.Below(uint64_t{1} << book.bits()));
    if (!std::isnan(book.Value(code))) layer.codes.push_back(code);
  }
  for (size_t i = 0; i < out * layer.group_count(); ++i) {
    const auto scale = static_cast<float>(0.001 + 0.1 * rng.Uniform());
    layer.scales.push_back(HasByteScales(type) ? FitByteScale(type, scale * 1000)
                                               : RoundedTo(layer.scheme.scale_type, scale));
  }
  if (type == NumberType::kNvfp4) layer.tensor_scale = 0.0123f;
  layer.Validate();
  return layer;
}

constexpr NumberType kFormats[] = {NumberType::kNf4,         NumberType::kFp8E4m3,
                                   NumberType::kFp8E4m3Ieee, NumberType::kFp8E5m2,
                                   NumberType::kMxfp4,       NumberType::kNvfp4};

TEST_P(PackedTest, NumberFormatsEqualTheirDequantizedProduct) {
  uint64_t seed = 0;
  for (NumberType type : kFormats) {
    for (int group_size : {0, 16, 20, 32, 64, 128}) {
      if (GroupSizeOfFormat(type) != 0 && group_size != 0) continue;
      for (size_t in : std::initializer_list<size_t>{5, 16, 31, 48, 172, 256, 330}) {
        ExpectProductOfDequantized(RandomFormatLayer(37, in, type, group_size, seed++), 99);
      }
    }
  }
}

TEST_P(PackedTest, EveryCodeOfAFormatHasItsValue) {
  Matrix identity(32, 32);
  for (size_t k = 0; k < 32; ++k) identity(k, k) = 1;
  for (NumberType type : kFormats) {
    const Codebook& book = Codebook::Of(type);
    QuantizedLinear layer = RandomFormatLayer(16, 32, type, 0, 1);
    std::ranges::fill(layer.scales, 1.0f);
    layer.tensor_scale = 1;
    for (size_t first = 0; first < size_t{1} << book.bits(); ++first) {
      for (size_t i = 0; i < layer.codes.size(); ++i) {
        const auto code = static_cast<uint8_t>((i + i / 32 * 5 + first) % (1u << book.bits()));
        layer.codes[i] = std::isnan(book.Value(code)) ? uint8_t{0} : code;
      }
      const auto weight = Pack(layer);
      const Matrix all = Product(*weight, identity, 1);
      for (size_t k = 0; k < 32; ++k) {
        const Matrix one = Product(*weight, identity.view().Rows(k, 1), 1);
        for (size_t row = 0; row < 16; ++row) {
          ASSERT_EQ(all(k, row), book.Value(layer.codes[row * 32 + k])) << NameOf(type);
          ASSERT_EQ(one(0, row), book.Value(layer.codes[row * 32 + k])) << NameOf(type);
        }
      }
    }
  }
}

TEST_P(PackedTest, ExtremeScalesOfBytesKeepTheirBits) {
  QuantizedLinear mx = RandomFormatLayer(16, 64, NumberType::kMxfp4, 0, 11);
  mx.scales[0] = 0x1.0p-127f;
  mx.scales[1] = 0x1.0p120f;
  ExpectProductOfDequantized(mx, 12);
  QuantizedLinear nv = RandomFormatLayer(16, 64, NumberType::kNvfp4, 0, 13);
  nv.scales[0] = 0x1.0p-9f;  // the smallest, a subnormal e4m3 number
  nv.scales[1] = 448;
  nv.tensor_scale = 1.234e-20f;
  ExpectProductOfDequantized(nv, 14);
}

TEST_P(PackedTest, ByteScalesAreKeptAsBytes) {
  EXPECT_EQ(Pack(RandomFormatLayer(32, 256, NumberType::kMxfp4, 0, 1))->weight_bytes(),
            32u * 256 / 2 + 32 * 256 / 32);
  EXPECT_EQ(Pack(RandomFormatLayer(32, 256, NumberType::kNvfp4, 0, 1))->weight_bytes(),
            32u * 256 / 2 + 32 * 256 / 16);
}

Outliers RandomOutliers(size_t out, size_t in, double share, uint64_t seed) {
  Rng rng(seed);
  Outliers outliers;
  outliers.row_start.push_back(0);
  for (size_t row = 0; row < out; ++row) {
    for (uint32_t k = 0; k < in; ++k) {
      if (rng.Uniform() >= share) continue;
      outliers.column.push_back(k);
      outliers.value.push_back(HalfFromFloat(static_cast<float>(rng.Normal())));
    }
    outliers.row_start.push_back(static_cast<uint32_t>(outliers.column.size()));
  }
  return outliers;
}

TEST_P(PackedTest, OutliersAndFloatColumnsTakeTheirPlaces) {
  for (double share : {0.0, 0.01, 0.2, 1.0}) {
    for (size_t out : std::initializer_list<size_t>{16, 37}) {
      const Scheme scheme = SchemeOf(3, 16, ZeroPointKind::kFloat, DType::kF16);
      QuantizedLinear layer = RandomLayer(out, 300, scheme, 20);
      layer.outliers = RandomOutliers(out, 300, share, 21);
      layer.Validate();
      ExpectProductOfDequantized(layer, 22);
      layer.float_columns.emplace();
      Rng rng(23);
      for (uint32_t k : {0u, 7u, 31u, 32u, 255u, 256u, 299u})
        layer.float_columns->column.push_back(k);
      for (size_t i = 0; i < out * 7; ++i) {
        layer.float_columns->value.push_back(HalfFromFloat(static_cast<float>(rng.Normal())));
      }
      layer.Validate();
      ExpectProductOfDequantized(layer, 24);
    }
  }
}

TEST_P(PackedTest, PermutedGroupsKeepTheirBits) {
  for (auto zero : {ZeroPointKind::kNone, ZeroPointKind::kInteger, ZeroPointKind::kFloat}) {
    for (int bits : {2, 3, 4, 8}) {
      QuantizedLinear layer = RandomLayer(37, 300, SchemeOf(bits, 64, zero, DType::kF16), 25);
      for (uint32_t k = 0; k < 300; ++k) layer.g_idx.push_back(k * 7 % 300 / 64);
      layer.Validate();
      ExpectProductOfDequantized(layer, 26);
    }
  }
}

TEST_P(PackedTest, GroupsWithBitsOfTheirOwnKeepTheirBits) {
  for (auto zero : {ZeroPointKind::kNone, ZeroPointKind::kInteger, ZeroPointKind::kFloat}) {
    for (int group_size : {32, 96, 128}) {
      const Scheme scheme = SchemeOf(3, group_size, zero, DType::kF16);
      QuantizedLinear layer = RandomLayer(37, 300, scheme, 27);
      Rng rng(28);
      for (size_t group = 0; group < layer.group_count(); ++group) {
        layer.bits_per_group.push_back(static_cast<uint8_t>(1 + rng.Below(8)));
      }
      for (size_t i = 0; i < layer.codes.size(); ++i) {
        const int bits = layer.BitsOfGroup(layer.GroupOfColumn(i % 300));
        layer.codes[i] = static_cast<uint8_t>(rng.Below(uint64_t{1} << bits));
      }
      for (size_t i = 0; i < layer.zeros.size(); ++i) {
        const int bits = layer.BitsOfGroup(i % layer.group_count());
        if (zero == ZeroPointKind::kInteger) {
          layer.zeros[i] = static_cast<float>(rng.Below(uint64_t{1} << bits));
        }
      }
      layer.Validate();
      ExpectProductOfDequantized(layer, 29);
    }
  }
}

TEST_P(PackedTest, MixedBitsInGroupsThatAreNoChunksRunDequantizedAndSaySo) {
  QuantizedLinear layer =
      RandomLayer(18, 64, SchemeOf(4, 16, ZeroPointKind::kInteger, DType::kF16), 20);
  layer.bits_per_group = {4, 4, 4, 4};
  layer.Validate();
  const auto weight = Pack(layer);
  EXPECT_EQ(weight->format(), "dequantized-f32");
  const Matrix x = Random(3, 64, 21);
  Matrix expected(3, 18);
  reference::Multiply(x, layer.Dequantize(), expected);
  EXPECT_TRUE(SameBits(Product(*weight, x, 1), expected));
}

}  // namespace
}  // namespace qualm
