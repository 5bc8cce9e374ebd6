#include "quantize/layer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "base/rng.h"
#include "io/npy.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;

Matrix Random(size_t rows, size_t cols, uint64_t seed) {
  Rng rng(seed);
  Matrix matrix(rows, cols);
  for (size_t r = 0; r < rows; ++r) {
    float common = static_cast<float>(rng.Normal());
    for (float& value : matrix.row(r)) value = common + static_cast<float>(rng.Normal());
  }
  return matrix;
}

LayerReport Quantize(const Matrix& weight, const Matrix* inputs, const std::string& recipe) {
  testing::TestContext context(2);
  return QuantizeLayer(weight, inputs, FindRecipe(recipe), "W.npy", "X.npy", 0, context);
}

std::string MessageOf(const Matrix& weight, const Matrix* inputs, const std::string& recipe) {
  try {
    (void)Quantize(weight, inputs, recipe);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    return error.what();
  }
  return "";
}

TEST(QuantizeLayer, ReportsErrorsOfWeightsAndOutputs) {
  const Matrix weight = Random(20, 64, 1), inputs = Random(100, 64, 2);
  const LayerReport rtn = Quantize(weight, &inputs, "rtn-w4-g32");
  const LayerReport gptq = Quantize(weight, &inputs, "gptq-w4-g32");
  double error = 0, norm = 0, weight_error = 0, weight_norm = 0;
  for (size_t r = 0; r < 20; ++r) {
    for (size_t t = 0; t < 100; ++t) {
      double y = 0, difference = 0;
      for (size_t c = 0; c < 64; ++c) {
        y += double{inputs(t, c)} * double{weight(r, c)};
        difference += double{inputs(t, c)} * double{weight(r, c) - rtn.rounded(r, c)};
      }
      error += difference * difference;
      norm += y * y;
    }
    for (size_t c = 0; c < 64; ++c) {
      weight_error += std::pow(double{weight(r, c)} - double{rtn.rounded(r, c)}, 2);
      weight_norm += std::pow(double{weight(r, c)}, 2);
    }
  }
  // Products in float32 over 64 inputs.
  EXPECT_NEAR(*rtn.rel_output_error, std::sqrt(error / norm), 1e-5 * std::sqrt(error / norm));
  EXPECT_NEAR(rtn.rel_weight_error, std::sqrt(weight_error / weight_norm), 1e-9);
  EXPECT_LT(*gptq.rel_output_error, 0.8 * *rtn.rel_output_error);
  EXPECT_EQ(gptq.tokens, 100u);
  EXPECT_EQ(gptq.damping, 0.01);
  EXPECT_FALSE(rtn.damping.has_value());
  EXPECT_EQ(rtn.layer.BitsPerWeight(), 4 + 20.0 / 32);
}

TEST(QuantizeLayer, NeedsInputsOnlyWhereTheRecipeReadsThem) {
  const Matrix weight = Random(4, 32, 3);
  const LayerReport report = Quantize(weight, nullptr, "rtn-w4-g32");
  EXPECT_FALSE(report.rel_output_error.has_value());
  EXPECT_EQ(report.tokens, 0u);
  EXPECT_THAT(MessageOf(weight, nullptr, "gptq-w4-g32"), HasSubstr("--inputs"));
}

TEST(QuantizeLayer, RefusesWhatDoesNotFit) {
  const Matrix weight = Random(4, 32, 3), inputs = Random(5, 31, 4), none(0, 32);
  EXPECT_THAT(MessageOf(weight, &inputs, "rtn-w4-g32"),
              HasSubstr("[X.npy] expected 32 columns, the inputs of W.npy [4, 32]; got 31"));
  EXPECT_THAT(MessageOf(weight, &none, "rtn-w4-g32"), HasSubstr("at least one row"));
  EXPECT_THAT(MessageOf(Matrix(0, 32), nullptr, "rtn-w4-g32"), HasSubstr("[W.npy]"));
  EXPECT_THAT(MessageOf(weight, nullptr, "rtn-w4-g128"),
              HasSubstr("[layer W.npy] expected group_size of at most in_features 32"));
}

TEST(QuantizeLayer, RefusesValuesThatAreNotFiniteByFileAndPosition) {
  Matrix weight = Random(4, 32, 3), inputs = Random(50, 32, 4);
  inputs(7, 9) = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(MessageOf(weight, &inputs, "gptq-w4-g32"),
              HasSubstr("[X.npy] expected finite values; got nan; at row 7, column 9"));
  weight(1, 2) = -HUGE_VALF;
  EXPECT_THAT(MessageOf(weight, nullptr, "rtn-w4-g32"), HasSubstr("[W.npy]"));
  EXPECT_THAT(MessageOf(weight, nullptr, "rtn-w4-g32"), HasSubstr("got -inf; at row 1, column 2"));
}

TEST(QuantizeLayer, NotesThatThereAreFewTokens) {
  const Matrix weight = Random(4, 32, 3), inputs = Random(20, 32, 4);
  const LayerReport report = Quantize(weight, &inputs, "gptq-w4-g32");
  ASSERT_EQ(report.notes.size(), 1u);
  EXPECT_THAT(report.notes[0], HasSubstr("fewer tokens (20) than inputs (32)"));
  EXPECT_TRUE(Quantize(weight, &inputs, "rtn-w4-g32").notes.empty());
}

TEST(QuantizeLayer, ScalesAtTheEndOfTheirTypeAreNoted) {
  Matrix weight = Random(4, 64, 3);
  weight(1, 5) = 1e7f;  // beyond 15 times the largest float16
  const LayerReport clipped = Quantize(weight, nullptr, "rtn-w4-g32");
  ASSERT_EQ(clipped.notes.size(), 1u);
  EXPECT_NE(clipped.notes[0].find("1 scales were lowered to 65504"), std::string::npos);
  EXPECT_TRUE(Quantize(Random(4, 64, 3), nullptr, "rtn-w4-g32").notes.empty());
}

TEST(WriteLayerFiles, PartsGiveTheWeightAndTheOutputAgain) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "qualm_layer_test" / "parts";
  std::filesystem::remove_all(folder.parent_path());
  const Matrix weight = Random(6, 70, 5), inputs = Random(90, 70, 6);
  for (const char* recipe : {"gptq-w3-g32-act", "rtn-w4-channel-sym"}) {
    const LayerReport report = Quantize(weight, &inputs, recipe);
    testing::TestContext context(1);
    WriteLayerFiles(folder, report, &inputs, context);
    const Matrix scales = ReadNpy(folder / "scales.npy"), zeros = ReadNpy(folder / "zeros.npy");
    const Matrix y = ReadNpy(folder / "Y.npy");
    EXPECT_EQ(y.rows(), 90u);
    EXPECT_EQ(y.cols(), 6u);
    std::ifstream file(folder / "codes.npy", std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    const std::string_view codes = std::string_view(bytes).substr(bytes.size() - 6 * 70);
    for (size_t r = 0; r < 6; ++r) {
      for (size_t c = 0; c < 70; ++c) {
        const size_t group = report.layer.GroupOfColumn(c);
        const auto code = static_cast<float>(static_cast<unsigned char>(codes[r * 70 + c]));
        EXPECT_EQ(scales(r, group) * (code - zeros(r, group)), report.rounded(r, c));
      }
      for (size_t t = 0; t < 90; ++t) {
        double expected = 0, magnitude = 0;
        for (size_t c = 0; c < 70; ++c) {
          const double term = double{inputs(t, c)} * double{report.rounded(r, c)};
          expected += term;
          magnitude += std::abs(term);
        }
        // A chain of 70 fused operations: each rounds a partial sum of at most Σ|term|.
        EXPECT_NEAR(y(t, r), expected, 70 * 0x1p-24 * magnitude);
      }
    }
  }
}

}  // namespace
}  // namespace qualm
