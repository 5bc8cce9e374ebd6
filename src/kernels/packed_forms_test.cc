// Layers as the libraries of other tools mean them: own tables, offsets, scales of any sign, and
// weights that are rounded last. Each product is compared with the slow product of the dequantized
// weights, bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "artefact/codebook.h"
#include "artefact/packed_linear.h"
#include "artefact/quantized_linear.h"
#include "base/rng.h"
#include "base/strings.h"
#include "kernels/packed.h"
#include "support/test_context.h"
#include "tensor/isa.h"
#include "tensor/reference/linear_reference.h"

namespace qualm {
namespace {

Matrix Random(size_t rows, size_t cols, Rng& rng) {
  Matrix m(rows, cols);
  for (size_t i = 0; i < rows * cols; ++i) m.data()[i] = static_cast<float>(rng.Normal());
  return m;
}

bool SameBits(Span2D<const float> a, Span2D<const float> b) {
  for (size_t r = 0; r < a.rows(); ++r) {
    if (std::memcmp(a.row(r).data(), b.row(r).data(), a.cols() * sizeof(float)) != 0) return false;
  }
  return a.rows() == b.rows() && a.cols() == b.cols();
}

// What a layer has besides its shape.
struct Form {
  NumberType type = NumberType::kInteger;
  int bits = 4;
  int group_size = 0;  // 0: one group for each row
  ZeroPointKind zero = ZeroPointKind::kInteger;
  DType scale_type = DType::kF16;
  ValueForm value = {};
  bool tensor_scale_divides = false;
  bool has_signed_scales = false;  // negative ones and zeros too
};

QuantizedLinear LayerOf(const Form& form, size_t out, size_t in, Rng& rng) {
  QuantizedLinear layer;
  layer.out_features = out;
  layer.in_features = in;
  layer.scheme.type = form.type;
  layer.scheme.bits = form.bits;
  layer.scheme.granularity = form.group_size > 0 ? Granularity::kGroup : Granularity::kChannel;
  layer.scheme.group_size = form.group_size;
  layer.scheme.zero_point = form.zero;
  layer.scheme.scale_type = form.scale_type;
  layer.value_form = form.value;
  if (form.type == NumberType::kNvfp4) {
    layer.tensor_scale = form.tensor_scale_divides ? 37.5f : 0.0123f;
    layer.tensor_scale_divides = form.tensor_scale_divides;
  }

  // Tables and codes over their whole range.
  const uint64_t count = uint64_t{1} << form.bits;
  if (form.type == NumberType::kTable) {
    for (uint64_t i = 0; i < count; ++i) layer.table.push_back(static_cast<float>(rng.Normal()));
  }
  const bool is_fp8 = form.type == NumberType::kFp8E4m3 || form.type == NumberType::kFp8E5m2;
  while (layer.codes.size() < out * in) {
    const auto code = static_cast<uint8_t>(rng.Below(count));
    if (!is_fp8 || !std::isnan(layer.ValueOf(code))) layer.codes.push_back(code);
  }

  // One scale for each group, and what its zero point kind needs.
  for (size_t i = 0; i < out * layer.group_count(); ++i) {
    double scale = 0.001 + 0.1 * rng.Uniform();
    if (form.has_signed_scales) scale *= static_cast<double>(rng.Below(3)) - 1;
    layer.scales.push_back(form.type == NumberType::kNvfp4
                               ? FitByteScale(form.type, static_cast<float>(0.5 + rng.Uniform()))
                               : RoundTo(static_cast<float>(scale), form.scale_type));
    const double zero = rng.Uniform() * static_cast<double>(count - 1);
    if (form.zero == ZeroPointKind::kInteger) {
      layer.zeros.push_back(static_cast<float>(std::floor(zero + 0.5)));
    } else if (form.zero == ZeroPointKind::kFloat) {
      layer.zeros.push_back(RoundTo(static_cast<float>(zero), form.scale_type));
    } else if (form.zero == ZeroPointKind::kOffset) {
      layer.zeros.push_back(RoundTo(static_cast<float>(rng.Normal()), form.scale_type));
    }
  }
  layer.Validate();
  return layer;
}

std::unique_ptr<LinearWeight> Pack(const QuantizedLinear& layer) {
  testing::TestContext context(2);
  return MakePackedWeight(layer, context);
}

// The product for some numbers of tokens, which take different kernels.
void ExpectProductOfDequantized(const QuantizedLinear& layer, Rng& rng) {
  const auto weight = Pack(layer);
  ASSERT_TRUE(weight->format().starts_with(StrCat("packed-", layer.scheme.ShortName())));
  const Matrix x = Random(33, layer.in_features, rng);
  Matrix expected(33, layer.out_features);
  reference::Multiply(x, layer.Dequantize(), expected);

  testing::TestContext context(2);
  for (const size_t tokens : {size_t{1}, size_t{2}, size_t{7}, size_t{33}}) {
    Matrix y(tokens, layer.out_features);
    weight->Multiply(x.view().Rows(0, tokens), y, context);
    ASSERT_TRUE(SameBits(y, expected.view().Rows(0, tokens)))
        << weight->format() << " [" << layer.out_features << ", " << layer.in_features << "] "
        << tokens << " tokens, " << InstructionSet();
  }
}

class PackedFormsTest : public ::testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override { ASSERT_TRUE(SetInstructionSet(GetParam())); }
  void TearDown() override { SetInstructionSet(AvailableInstructionSets().back()); }
};

INSTANTIATE_TEST_SUITE_P(Isa, PackedFormsTest, ::testing::ValuesIn(AvailableInstructionSets()),
                         [](const auto& of) { return std::string(of.param); });

TEST_P(PackedFormsTest, TablesOfEveryWidthKeepTheirBits) {
  Rng rng(1);
  for (int bits = 1; bits <= 8; ++bits) {
    for (const int group : {0, 7, 16, 20, 64}) {
      Form form{.type = NumberType::kTable, .bits = bits, .group_size = group};
      form.zero = ZeroPointKind::kNone;
      for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
        form.value.type = type;
        ExpectProductOfDequantized(LayerOf(form, 37, 172, rng), rng);
      }
    }
  }
}

TEST_P(PackedFormsTest, OffsetsKeepTheirBits) {
  Rng rng(2);
  for (int bits = 1; bits <= 8; ++bits) {
    for (const int group : {0, 20, 32, 100}) {
      for (const DType scale : {DType::kF16, DType::kBF16, DType::kF32}) {
        Form form{.bits = bits, .group_size = group, .zero = ZeroPointKind::kOffset};
        form.scale_type = scale;
        QuantizedLinear layer = LayerOf(form, 37, 172, rng);
        ExpectProductOfDequantized(layer, rng);
        // A scale too small for the fused form.
        if (scale == DType::kF32) layer.scales[3] = 0x1.8p-120f;
        layer.value_form.type = DType::kF16;
        ExpectProductOfDequantized(layer, rng);
      }
    }
  }
}

TEST_P(PackedFormsTest, ScalesOfAnySignKeepTheirBits) {
  Rng rng(3);
  for (const int bits : {2, 3, 4, 8}) {
    for (const ZeroPointKind zero : {ZeroPointKind::kNone, ZeroPointKind::kInteger,
                                     ZeroPointKind::kFloat, ZeroPointKind::kOffset}) {
      for (const DType type : {DType::kF32, DType::kF16}) {
        Form form{.bits = bits, .group_size = 32, .zero = zero};
        form.value.type = type;
        form.has_signed_scales = true;
        ExpectProductOfDequantized(LayerOf(form, 37, 172, rng), rng);
      }
    }
  }
}

TEST_P(PackedFormsTest, FactorsAndRoundedDifferencesKeepTheirBits) {
  Rng rng(4);
  for (const int bits : {1, 2, 3, 4, 8}) {
    for (const int group : {0, 20, 64}) {
      for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
        for (const bool rounds_difference : {false, true}) {
          Form form{.bits = bits, .group_size = group, .zero = ZeroPointKind::kFloat};
          form.value = {1.0f / 127, type, rounds_difference};
          ExpectProductOfDequantized(LayerOf(form, 37, 172, rng), rng);
          form.zero = ZeroPointKind::kInteger;
          ExpectProductOfDequantized(LayerOf(form, 21, 300, rng), rng);
        }
      }
    }
  }
}

TEST_P(PackedFormsTest, TensorScalesThatDivideKeepTheirBits) {
  Rng rng(5);
  for (const DType type : {DType::kF32, DType::kBF16}) {
    Form form{.type = NumberType::kNvfp4, .group_size = 16, .zero = ZeroPointKind::kNone};
    form.value.type = type;
    form.tensor_scale_divides = true;
    ExpectProductOfDequantized(LayerOf(form, 37, 172, rng), rng);
  }
}

TEST_P(PackedFormsTest, RoundingMeetsTiesSubnormalNumbersAndInfinity) {
  Rng rng(6);
  for (const DType type : {DType::kF16, DType::kBF16}) {
    Form form{.bits = 8, .group_size = 32, .zero = ZeroPointKind::kOffset};
    form.scale_type = DType::kF32;
    form.value.type = type;
    QuantizedLinear layer = LayerOf(form, 16, 256, rng);
    // Steps of half a unit in the last place of the type, around powers of two and its limits.
    const float base[] = {1, -1, 2, 0x1p-14f, -0x1p-14f, 0x1p-24f, 65408, -65408};
    for (size_t i = 0; i < layer.scales.size(); ++i) {
      layer.zeros[i] = base[i % 8];
      layer.scales[i] = std::abs(base[i % 8]) * (type == DType::kF16 ? 0x1p-11f : 0x1p-8f);
      if (i % 8 >= 6) layer.scales[i] = 0.5f;
    }
    layer.Validate();

    // Single weights. A row with an infinity has no other sum than NaN.
    const auto weight = Pack(layer);
    const Matrix w = layer.Dequantize();
    testing::TestContext context(1);
    for (size_t k = 0; k < 256; k += 17) {
      Matrix x(1, 256), y(1, 16);
      x(0, k) = 1;
      weight->Multiply(x, y, context);
      for (size_t row = 0; row < 16; ++row) {
        if (std::ranges::all_of(w.row(row), [](float v) { return std::isfinite(v); })) {
          ASSERT_EQ(y(0, row), w(row, k)) << row << " " << k;
        } else {
          ASSERT_FALSE(std::isfinite(y(0, row))) << row << " " << k;
        }
      }
    }
  }
}

TEST_P(PackedFormsTest, RandomFormsKeepTheirBits) {
  Rng rng(7);
  for (int draw = 0; draw < 300; ++draw) {
    Form form;
    constexpr NumberType kTypes[] = {NumberType::kInteger, NumberType::kInteger,
                                     NumberType::kTable,   NumberType::kNf4,
                                     NumberType::kFp8E4m3, NumberType::kFp8E5m2};
    form.type = kTypes[rng.Below(6)];
    const bool has_width = form.type == NumberType::kInteger || form.type == NumberType::kTable;
    form.bits = has_width ? static_cast<int>(1 + rng.Below(8)) : BitsOfFormat(form.type);
    form.group_size = static_cast<int>(rng.Below(3) == 0 ? rng.Below(70) : 16 * rng.Below(9));

    // Only integers have zero points, and only differences can be rounded.
    form.zero = form.type == NumberType::kInteger ? static_cast<ZeroPointKind>(rng.Below(4))
                                                  : ZeroPointKind::kNone;
    constexpr DType kFloats[] = {DType::kF16, DType::kBF16, DType::kF32};
    form.scale_type = kFloats[rng.Below(3)];
    form.value.type = kFloats[rng.Below(3)];
    if (rng.Below(3) == 0) form.value.factor = 1.0f / 127;
    form.value.rounds_difference = form.zero != ZeroPointKind::kOffset && rng.Below(3) == 0;
    form.has_signed_scales = rng.Below(2) == 0;

    // Permuted columns and outliers on top.
    const size_t out = 1 + rng.Below(50), in = 1 + rng.Below(300);
    if (form.bits == 1 && form.zero == ZeroPointKind::kNone) form.bits = 2;
    if (form.type == NumberType::kTable && form.bits == 2) form.bits = 3;
    QuantizedLinear layer = LayerOf(form, out, in, rng);
    if (rng.Below(4) == 0) {
      for (uint32_t k = 0; k < in; ++k) {
        layer.g_idx.push_back(static_cast<uint32_t>((in - 1 - k) / layer.group_size()));
      }
    }
    if (rng.Below(4) == 0) {
      layer.float_columns.emplace();
      layer.float_columns->column.push_back(static_cast<uint32_t>(rng.Below(in)));
      for (size_t r = 0; r < out; ++r) {
        layer.float_columns->value.push_back(HalfFromFloat(static_cast<float>(rng.Normal())));
      }
    }
    layer.Validate();
    ASSERT_NO_FATAL_FAILURE(ExpectProductOfDequantized(layer, rng)) << draw;
  }
}

TEST_P(PackedFormsTest, PackedCodesGiveTheSameWeight) {
  Rng rng(9);
  for (int draw = 0; draw < 200; ++draw) {
    Form form;
    form.bits = static_cast<int>(1 + rng.Below(8));
    form.group_size = static_cast<int>(8 * rng.Below(9));
    const size_t out = 1 + rng.Below(50), in = 1 + rng.Below(700);
    const QuantizedLinear layer = LayerOf(form, out, in, rng);

    // The rows as a file has them, with nothing after the last one.
    const size_t row_bytes = PackedRowBytes(in, form.bits);
    std::vector<uint8_t> bytes(out * row_bytes);
    for (size_t row = 0; row < out; ++row) {
      PackCodes(std::span(layer.codes).subspan(row * in, in), form.bits,
                std::span(bytes).subspan(row * row_bytes, row_bytes));
    }
    PackedLinear packed{layer, bytes};
    packed.layer.codes.clear();
    packed.Validate();
    ASSERT_EQ(packed.Unpacked().codes, layer.codes);

    testing::TestContext context(2);
    const auto weight = MakePackedWeight(packed, context), expected = Pack(layer);
    EXPECT_EQ(weight->format(), expected->format());
    for (const size_t tokens : {size_t{1}, size_t{20}}) {
      const Matrix x = Random(tokens, in, rng);
      Matrix y(tokens, out), y_expected(tokens, out);
      weight->Multiply(x, y, context);
      expected->Multiply(x, y_expected, context);
      ASSERT_TRUE(SameBits(y, y_expected)) << form.bits << " [" << out << ", " << in << "]";
    }
  }
}

TEST(PackedFormsFormatTest, NamesTheTypeThatWeightsAreRoundedTo) {
  Rng rng(8);
  Form form{.group_size = 128, .zero = ZeroPointKind::kNone};
  form.value.type = DType::kF16;
  EXPECT_EQ(Pack(LayerOf(form, 16, 128, rng))->format(), "packed-int4-g128-sym+f16");
  form.value = {0.5f, DType::kF32, false};
  EXPECT_EQ(Pack(LayerOf(form, 16, 128, rng))->format(), "packed-int4-g128-sym+f32");
}

}  // namespace
}  // namespace qualm
