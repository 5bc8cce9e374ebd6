// RTN and GPTQ against the reference programs' outputs in golden/quantizers/small (its README tells
// who made them and how). Scales are float32 there, so they are here.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/strings.h"
#include "io/json.h"
#include "io/npy.h"
#include "io/yaml.h"
#include "kernels/packed.h"
#include "methods/columns/hessian.h"
#include "methods/quality.h"
#include "methods/rounders.h"
#include "methods/test_support.h"
#include "quantize/layer.h"
#include "support/shared_data.h"
#include "support/test_context.h"
#include "tensor/gram.h"

namespace qualm {
namespace {

using testing::Groups;

struct Golden {
  explicit Golden(const std::filesystem::path& path)
      : folder(path),
        weight(ReadNpy(folder / "W.npy")),
        inputs(ReadNpy(folder / "X.npy")),
        manifest(ReadJsonFile(folder / "manifest.json")),
        gram(inputs.cols(), inputs.cols()) {
    AccumulateGram(inputs, gram, context);
  }

  RounderInput Input() const {
    RounderInput input;
    input.layer = "golden";
    input.weight = weight;
    input.gram = gram;
    input.gram_tokens = inputs.rows();
    return input;
  }

  std::filesystem::path folder;
  Matrix weight, inputs;
  Json manifest;
  Matrix gram;
  testing::TestContext context;
};

struct Case {
  const char* name;
  Scheme scheme;
  const char* rounder;
  const char* options;
};

struct Comparison {
  size_t entries = 0, unequal_bits = 0, unequal_codes = 0, near_ties = 0;
  double output_error = 0, reference_error = 0;
};

// A code is called unequal if the values are more than half a step apart; of these, a near tie is a
// difference of one step.
Comparison Compare(const Golden& golden, const Case& c) {
  Yaml options = Yaml::Parse(c.options, "options");
  auto rounder = MakeRounder(c.rounder, options.IsMap() ? &options : nullptr, "test");
  testing::TestContext context(2);
  const RounderResult result = rounder->Round(golden.Input(), c.scheme, context);
  result.layer.Validate();
  EXPECT_FALSE(result.fell_back_to_rtn);
  const Matrix ours = result.layer.Dequantize();
  const Matrix reference = ReadNpy(golden.folder / StrCat(c.name, ".W_eff.npy"));
  Comparison comparison;
  comparison.entries = ours.rows() * ours.cols();
  for (size_t r = 0; r < ours.rows(); ++r) {
    for (size_t col = 0; col < ours.cols(); ++col) {
      const float difference = std::abs(ours(r, col) - reference(r, col));
      const float step = result.layer.ScaleAt(r, result.layer.GroupOfColumn(col));
      comparison.unequal_bits += ours(r, col) != reference(r, col);
      comparison.unequal_codes += difference > step / 2;
      comparison.near_ties += difference > step / 2 && difference < 1.5f * step;
    }
  }
  comparison.output_error = RelativeOutputError(golden.inputs, golden.weight, ours, context);
  comparison.reference_error =
      golden.manifest["cases"][c.name]["relative_output_error"].get<double>();
  ::testing::Test::RecordProperty(
      c.name,
      StrCat(comparison.unequal_bits, " unequal, ", comparison.unequal_codes, " other codes (",
             comparison.near_ties, " by one step) of ", comparison.entries, "; output error ",
             comparison.output_error, ", reference ", comparison.reference_error));
  return comparison;
}

TEST(QuantizerGolden, RtnEqualsTheReferenceBitForBit) {
  QUALM_SHARED_OR_SKIP(folder, "golden/quantizers/small");
  const Golden golden(folder);
  auto asymmetric = [](int bits, int group) {
    Scheme scheme = Groups(bits, group);
    scheme.range_includes_zero = false;
    return scheme;
  };
  auto symmetric = [](int bits, int group) {
    Scheme scheme = Groups(bits, group);
    scheme.zero_point = ZeroPointKind::kNone;
    scheme.symmetric_convention = SymmetricConvention::kMiAbsmax;
    return scheme;
  };
  for (const Case& c : {Case{"rtn_w2_g64_asym", asymmetric(2, 64), "rtn", ""},
                        Case{"rtn_w4_g128_asym", asymmetric(4, 128), "rtn", ""},
                        Case{"rtn_w4_g128_sym", symmetric(4, 128), "rtn", ""},
                        Case{"rtn_w8_pc_sym", symmetric(8, 0), "rtn", ""}}) {
    const Comparison comparison = Compare(golden, c);
    EXPECT_EQ(comparison.unequal_bits, 0u) << c.name;
    EXPECT_EQ(comparison.unequal_codes, 0u) << c.name;
    EXPECT_NEAR(comparison.output_error, comparison.reference_error,
                1e-5 * comparison.reference_error)
        << c.name;
  }
}

TEST(QuantizerGolden, Fp8TakesTheReferencesCodes) {
  QUALM_SHARED_OR_SKIP(folder, "golden/quantizers/small");
  const Golden golden(folder);
  // The reference keeps the highest exponent free: 240.
  Scheme scheme = SchemeOfFormat(NumberType::kFp8E4m3Ieee);
  scheme.scale_type = DType::kF32;
  testing::TestContext context(2);
  const Matrix ours = MakeRounder("rtn", nullptr, "test")
                          ->Round(golden.Input(), scheme, context)
                          .layer.Dequantize();
  const Matrix expected = ReadNpy(folder / "fp8_e4m3.W_eff.npy");
  // The reference gets its scale from 240/absmax in another order of operations: each side rounds
  // it and the product, so that equal codes may differ by 4 units of 2^-24 (neighbours by 2^-4).
  for (size_t r = 0; r < ours.rows(); ++r) {
    for (size_t c = 0; c < ours.cols(); ++c) {
      ASSERT_NEAR(ours(r, c), expected(r, c), 4 * 0x1p-24 * std::abs(expected(r, c)));
    }
  }
  const double error = RelativeOutputError(golden.inputs, golden.weight, ours, context);
  const double reference =
      golden.manifest["cases"]["fp8_e4m3"]["relative_output_error"].get<double>();
  EXPECT_NEAR(error, reference, 1e-5 * reference);
}

TEST(QuantizerGolden, GptqEqualsTheReferenceUpToNearTies) {
  QUALM_SHARED_OR_SKIP(folder, "golden/quantizers/small");
  const Golden golden(folder);
  for (const Case& c :
       {Case{"gptq_ref_w4_pc", Groups(4, 0), "gptq", ""},
        Case{"gptq_ref_w4_g128", Groups(4, 128), "gptq", "reference_group_scales: true"},
        Case{"gptq_ref_w3_g128", Groups(3, 128), "gptq", "reference_group_scales: true"},
        Case{"gptq_ref_w4_g128_act_static", Groups(4, 128), "gptq",
             "{act_order: true, static_groups: true}"}}) {
    const Comparison comparison = Compare(golden, c);
    // The reference's own float32 noise is up to 0.27 % of the codes.
    EXPECT_LE(comparison.unequal_codes, comparison.entries / 200) << c.name;
    EXPECT_NEAR(comparison.output_error, comparison.reference_error,
                1e-3 * comparison.reference_error)
        << c.name;
  }
}

TEST(QuantizerGolden, ActOrderIsTheReferencesPermutation) {
  QUALM_SHARED_OR_SKIP(folder, "golden/quantizers/small");
  const Golden golden(folder);
  testing::TestContext context(2);
  HessianOptions options;
  options.act_order = true;
  const HessianFactor factor = FactorHessian(golden.Input(), options, context);
  // int32 values behind a header; ReadNpy takes floats only.
  const std::string bytes = ReadFile(golden.folder / "gptq_ref_w4_g128_act_static.perm.npy");
  const std::string_view data =
      std::string_view(bytes).substr(bytes.size() - 4 * factor.order.size());
  for (size_t p = 0; p < factor.order.size(); ++p) {
    int32_t column = 0;
    std::memcpy(&column, data.data() + 4 * p, 4);
    EXPECT_EQ(static_cast<int32_t>(factor.order[p]), column) << "position " << p;
  }
}

LayerReport RunRecipe(const Golden& golden, const char* recipe) {
  testing::TestContext context(2);
  return QuantizeLayer(golden.weight, &golden.inputs, ParseRecipe(recipe, "test"), "W", "X", 0,
                       context);
}

void ExpectRelative(double got, double expected, double tolerance) {
  EXPECT_NEAR(got, expected, tolerance * expected);
}

// Largest |a − b| over the largest |b|.
double Distance(Span2D<const float> a, const Matrix& b) {
  double largest = 0, difference = 0;
  for (size_t r = 0; r < b.rows(); ++r) {
    for (size_t c = 0; c < b.cols(); ++c) {
      largest = std::max(largest, std::abs(double{b(r, c)}));
      difference = std::max(difference, std::abs(double{a(r, c)} - b(r, c)));
    }
  }
  return difference / largest;
}

Matrix Outputs(const Golden& golden, const LayerReport& report) {
  testing::TestContext context(2);
  Matrix y(golden.inputs.rows(), golden.weight.rows());
  MakePackedWeight(report.layer, context)->Multiply(golden.inputs, y, context);
  return y;
}

constexpr const char* kSigned =
    "symmetric: true, symmetric_convention: signed, scale_type: float32";

TEST(QuantizerGolden, ZeroQuantHasTheReferencesWeightsAndOutputs) {
  QUALM_SHARED_OR_SKIP(folder, "golden/quantizers/small");
  const Golden golden(folder);
  const std::string recipe = StrCat("weights: {type: int8, group_size: 128, ", kSigned,
                                    "}\nactivations: int8\nrounder: rtn\n");
  const LayerReport report = RunRecipe(golden, recipe.c_str());
  EXPECT_EQ(Distance(report.rounded, ReadNpy(folder / "zeroquant_w8_g128_a8.W_eff.npy")), 0);
  // Sums of 512 products in two orders: 512·2^-24 of what is summed at worst, its root in fact.
  EXPECT_LT(Distance(Outputs(golden, report), ReadNpy(folder / "zeroquant_w8_g128_a8.Y.npy")),
            512 * 0x1p-24);
  const Json& reference = golden.manifest["cases"]["zeroquant_w8_g128_a8"];
  ExpectRelative(*report.rel_output_error, reference["relative_output_error"].get<double>(), 1e-5);
  ExpectRelative(*report.rel_product_error, reference["rel_out_err_w_and_a"].get<double>(), 1e-5);
}

TEST(QuantizerGolden, SmoothQuantHasTheReferencesScalesAndOutputs) {
  QUALM_SHARED_OR_SKIP(folder, "golden/quantizers/small");
  const Golden golden(folder);
  const std::string recipe =
      StrCat("weights: {type: int8, granularity: channel, ", kSigned,
             "}\nactivations: int8\ntransforms: [smoothquant]\nrounder: rtn\n");
  const LayerReport report = RunRecipe(golden, recipe.c_str());
  ASSERT_EQ(report.layer.transforms.size(), 1u);
  const std::vector<float>& scale = report.layer.transforms[0].factors;
  const Matrix smooth = ReadNpy(folder / "smoothquant_w8a8_pc_token.smooth.npy");
  for (size_t c = 0; c < scale.size(); ++c)
    EXPECT_NEAR(scale[c], smooth(0, c), 1e-4 * smooth(0, c));
  const Json& reference = golden.manifest["cases"]["smoothquant_w8a8_pc_token"];
  ExpectRelative(*report.rel_output_error, reference["relative_output_error"].get<double>(), 1e-3);
  ExpectRelative(*report.rel_product_error, reference["rel_out_err_w_and_a"].get<double>(), 1e-3);
  EXPECT_LT(Distance(Outputs(golden, report), ReadNpy(folder / "smoothquant_w8a8_pc_token.Y.npy")),
            1e-3);  // a code may fall to the other side where the scales differ in the last bit
}

TEST(QuantizerGolden, AwqChoosesTheReferencesScales) {
  QUALM_SHARED_OR_SKIP(folder, "golden/quantizers/small");
  const Golden golden(folder);
  const LayerReport report = RunRecipe(
      golden,
      "weights: {type: int4, group_size: 128, range_includes_zero: false, scale_type: float32}\n"
      "transforms: [{awq: {scale: activation_over_weight, loss: layers, fold: false, clip_scores: "
      "true, clip_loss: first_token}}]\nrounder: rtn\n");
  EXPECT_THAT(report.choices, ::testing::ElementsAre("awq: ratio 0.35"));
  const std::vector<float>& scale = report.layer.transforms.at(0).factors;
  const Matrix smooth = ReadNpy(folder / "awq_w4_g128.smooth.npy");
  for (size_t c = 0; c < scale.size(); ++c) {
    EXPECT_NEAR(scale[c], smooth.data()[c], 1e-4 * smooth.data()[c]);
  }
  // A range clipped to ±m has its zero point exactly between two codes, and rounding noise decides
  // for one of them: the clip of 38 of 1024 groups is another.
  const Json& reference = golden.manifest["cases"]["awq_w4_g128"];
  ExpectRelative(*report.rel_output_error, reference["relative_output_error"].get<double>(), 1e-2);
}

// The rotations are random: the reference's error is one draw of many. With its clamp before the
// rounding and its damping (0.01 twice, the first time on the identity) it is among ours.
TEST(QuantizerGolden, QuipsErrorIsWithinTheSpreadOfRotations) {
  QUALM_SHARED_OR_SKIP(folder, "golden/quantizers/small");
  const Golden golden(folder);
  const Recipe recipe = ParseRecipe(
      "weights: {type: int4, granularity: tensor, zero_point: float, range_includes_zero: false, "
      "scale_type: float32}\nrounder: {quip: {clamp_first: true, damp: 0.0201}}\n",
      "test");
  const double reference =
      golden.manifest["cases"]["quip_w4"]["relative_output_error"].get<double>();
  testing::TestContext context(2);
  size_t near = 0;
  double least = INFINITY, most = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const LayerReport report =
        QuantizeLayer(golden.weight, &golden.inputs, recipe, "W", "X", seed, context);
    least = std::min(least, *report.rel_output_error);
    most = std::max(most, *report.rel_output_error);
    near += std::abs(*report.rel_output_error / reference - 1) < 0.05;
  }
  EXPECT_LT(least, reference);
  EXPECT_GT(most, reference);
  EXPECT_GE(near, 5u) << "of 20 seeds within 5 % of the reference's one";
}

TEST(QuantizerGolden, SpqrKeepsTheReferencesOutliersAndCodes) {
  QUALM_SHARED_OR_SKIP(folder, "golden/quantizers/small");
  const Golden golden(folder);
  const LayerReport report = RunRecipe(
      golden,
      "weights: {type: int4, group_size: 16, zero_point: float, range_includes_zero: false, "
      "scale_type: float32, second_level: {bits: 3, group_rows: 16}}\n"
      "rounder: {spqr: {act_order: false, damp: 0.01, outlier_threshold: 0.2}}\n");
  const Matrix expected = ReadNpy(folder / "spqr_w4_g16.W_eff.npy");
  // The mask is bytes behind a header; ReadNpy takes floats only.
  const std::string bytes = ReadFile(folder / "spqr_w4_g16.outlier_mask.npy");
  const std::string_view mask = std::string_view(bytes).substr(bytes.size() - 256 * 512);
  const Outliers& outliers = *report.layer.outliers;
  size_t in_both = 0, unequal = 0;
  for (size_t r = 0; r < 256; ++r) {
    for (uint32_t i = outliers.row_start[r]; i < outliers.row_start[r + 1]; ++i) {
      in_both += mask[r * 512 + outliers.column[i]] != 0;
    }
    for (size_t c = 0; c < 512; ++c) {
      unequal +=
          std::abs(report.rounded(r, c) - expected(r, c)) > report.layer.ScaleAt(r, c / 16) / 2;
    }
  }
  const auto reference = static_cast<double>(std::ranges::count(mask, '\1'));
  EXPECT_NEAR(static_cast<double>(in_both), reference, 0.01 * reference);
  EXPECT_NEAR(static_cast<double>(outliers.column.size()), reference, 0.01 * reference);
  EXPECT_LE(unequal, 256 * 512 / 200u);  // near ties, as for GPTQ
  ExpectRelative(*report.rel_output_error,
                 golden.manifest["cases"]["spqr_w4_g16"]["relative_output_error"].get<double>(),
                 1e-2);
}

}  // namespace
}  // namespace qualm
