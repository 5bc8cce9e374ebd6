#include "methods/rounders/gptq.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"
#include "io/yaml.h"
#include "methods/columns/hessian.h"
#include "methods/rounders/gptq_oracle.h"
#include "methods/rounders/rtn.h"
#include "methods/test_support.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using testing::Doubles;
using ::testing::ElementsAre;
using testing::Groups;
using ::testing::HasSubstr;
using testing::NaiveOptions;
using testing::NaiveResult;
using testing::NaiveRow;
using testing::Toy;

RounderResult Round(const RounderInput& input, const Scheme& scheme, const std::string& options,
                    int threads = 1) {
  testing::TestContext context(threads);
  const Yaml yaml = Yaml::Parse(options, "options");
  RounderResult result = MakeGptq(options.empty() ? nullptr : &yaml)->Round(input, scheme, context);
  result.layer.Validate();
  return result;
}

// Rows may differ from a near tie on: the float32 inverse moves values by up to 1e-3 of a step, and
// everything behind the tie in the order of columns depends on it.
void ExpectEqualCodes(const Toy& toy, const QuantizedLinear& layer, const NaiveOptions& options,
                      const std::string& name) {
  const size_t n = toy.weight.cols();
  Doubles h(n, std::vector<double>(n));
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      for (size_t t = 0; t < toy.inputs.rows(); ++t) {
        h[i][j] += 2.0 / static_cast<double>(toy.inputs.rows()) * double{toy.inputs(t, i)} *
                   double{toy.inputs(t, j)};
      }
    }
  }
  size_t near_ties = 0;
  for (size_t r = 0; r < toy.weight.rows(); ++r) {
    const auto row = toy.weight.row(r);
    const NaiveResult naive = NaiveRow({row.begin(), row.end()}, h, options);
    bool tie_before = false;
    for (const size_t c : naive.order) {
      tie_before = tie_before || naive.near_tie[c];
      if (layer.codes[r * n + c] == naive.codes[c]) continue;
      EXPECT_TRUE(tie_before) << name << ": row " << r << ", column " << c;
      ++near_ties;
      break;
    }
  }
  // A value is that near to a tie with probability 2e-3: the expected number of rows with one,
  // twice over, and a few for small toys. (Most ties do not tip.)
  const double expected = 2e-3 * static_cast<double>(n * toy.weight.rows());
  EXPECT_LE(static_cast<double>(near_ties), 2 + 2 * expected) << name << ": rows that differ";
}

TEST(Gptq, TwoColumnsByHand) {
  // XᵀX/tokens·2 = [[2, 1], [1, 2]], no damping: H⁻¹ = [[2, -1], [-1, 2]]/3. Scale 1 and zero 1 by
  // the range [-1, 2]. w_0 = 0.4 -> 0; w_1 = 2 - 0.4·(-1/2) = 2.2 -> 2; second row: -1 -> -1 and
  // w_1 = 2 stays; third row: 1.4 -> 1, w_1 = -1 + 0.2 = -0.8 -> -1.
  Toy toy(3, 2, 1, 1);
  std::ranges::copy(std::vector<float>{0.4f, 2}, toy.weight.row(0).begin());
  std::ranges::copy(std::vector<float>{-1, 2}, toy.weight.row(1).begin());
  std::ranges::copy(std::vector<float>{1.4f, -1}, toy.weight.row(2).begin());
  std::ranges::copy(std::vector<float>{1, 0.5f}, toy.gram.row(0).begin());
  std::ranges::copy(std::vector<float>{0.5f, 1}, toy.gram.row(1).begin());
  Scheme scheme = Groups(2, 0);
  scheme.granularity = Granularity::kTensor;
  const RounderResult result = Round(toy.Input(), scheme, "damp: 0");
  EXPECT_THAT(result.layer.codes, ElementsAre(1, 3, 0, 3, 2, 0));
  EXPECT_EQ(result.damping, 0);
}

TEST(Gptq, AnErrorCanTurnALaterCode) {
  // The same H beside an input of its own that sets the scale to 127/127: w_0 = 0.45 -> 0, and
  // w_1 = 1.3 + 0.45/2 = 1.525 -> 2, where rounding to nearest gives 1.
  Toy toy(1, 3, 1, 1);
  std::ranges::copy(std::vector<float>{0.45f, 1.3f, 127}, toy.weight.row(0).begin());
  std::ranges::copy(std::vector<float>{1, 0.5f, 0}, toy.gram.row(0).begin());
  std::ranges::copy(std::vector<float>{0.5f, 1, 0}, toy.gram.row(1).begin());
  std::ranges::copy(std::vector<float>{0, 0, 1}, toy.gram.row(2).begin());
  Scheme scheme = Groups(8, 0);
  scheme.zero_point = ZeroPointKind::kNone;
  scheme.symmetric_convention = SymmetricConvention::kMiAbsmax;
  const QuantizedLinear layer = Round(toy.Input(), scheme, "damp: 0").layer;
  EXPECT_THAT(layer.scales, ElementsAre(1));
  EXPECT_THAT(layer.codes, ElementsAre(128, 130, 255));
}

TEST(Gptq, MatchesNaiveObqOnTinyMatrices) {
  uint64_t seed = 0;
  for (size_t n : std::vector<size_t>{8, 13, 32}) {
    for (size_t group : std::vector<size_t>{0, 4, 5, n}) {
      for (bool act_order : {false, true}) {
        for (bool static_groups : {false, true}) {
          const Toy toy(20, n, 3 * n, ++seed);
          const NaiveOptions naive{3, group, act_order, static_groups, 0.01, 1};
          const std::string options =
              StrCat("{act_order: ", act_order, ", static_groups: ", static_groups,
                     ", block: ", 1 + seed % 9, "}");
          const RounderResult result =
              Round(toy.Input(), Groups(3, static_cast<int>(group)), options);
          ExpectEqualCodes(toy, result.layer, naive, StrCat(n, " inputs, group ", group, options));
          EXPECT_EQ(result.layer.g_idx.empty(), !(act_order && !static_groups && group > 0));
        }
      }
    }
  }
}

TEST(Gptq, ReferenceGroupScalesReadColumnsFromTheStartOfTheBlock) {
  for (size_t group : std::vector<size_t>{4, 6}) {
    for (size_t block : std::vector<size_t>{8, 12, 32}) {
      const Toy toy(40, 32, 90, 50 + group);
      const NaiveOptions naive{2, group, false, false, 0.01, block};
      const std::string options = StrCat("{reference_group_scales: true, block: ", block, "}");
      const RounderResult stale = Round(toy.Input(), Groups(2, static_cast<int>(group)), options);
      ExpectEqualCodes(toy, stale.layer, naive, options);
      const RounderResult fresh = Round(toy.Input(), Groups(2, static_cast<int>(group)), "");
      EXPECT_NE(stale.layer.scales, fresh.layer.scales);
    }
  }
}

TEST(Gptq, MatchesNaiveObqOnSymmetricGridsAndWithHalfScales) {
  uint64_t seed = 900;
  for (size_t group : std::vector<size_t>{0, 8}) {
    for (const bool symmetric : {false, true}) {
      for (const bool half : {false, true}) {
        for (const bool act_order : {false, true}) {
          const Toy toy(24, 24, 80, ++seed);
          Scheme scheme = Groups(3, static_cast<int>(group));
          if (symmetric) scheme.zero_point = ZeroPointKind::kNone;
          if (half) scheme.scale_type = DType::kF16;
          const RounderResult result =
              Round(toy.Input(), scheme, StrCat("{act_order: ", act_order, "}"));
          ExpectEqualCodes(toy, result.layer,
                           {.bits = 3,
                            .group = group,
                            .act_order = act_order,
                            .static_groups = act_order,
                            .symmetric = symmetric,
                            .half_scales = half},
                           StrCat("group ", group, ", symmetric ", symmetric, ", half ", half,
                                  ", act_order ", act_order));
        }
      }
    }
  }
}

TEST(Gptq, DeadColumnsAreZeroedAndTheRestMatchesTheOracle) {
  Toy toy(30, 24, 80, 77);
  for (size_t t = 0; t < 80; ++t) toy.inputs(t, 3) = toy.inputs(t, 20) = 0;
  toy.UpdateGram();
  for (const bool act_order : {false, true}) {
    for (size_t group : std::vector<size_t>{0, 8}) {
      const RounderResult result = Round(toy.Input(), Groups(4, static_cast<int>(group)),
                                         StrCat("{act_order: ", act_order, "}"));
      ExpectEqualCodes(toy, result.layer, {4, group, act_order, act_order, 0.01, 1}, "dead");
      const Matrix rounded = result.layer.Dequantize();
      for (size_t r = 0; r < 30; ++r) EXPECT_EQ(rounded(r, 3), 0);
      ASSERT_EQ(result.notes.size(), 1u);
      EXPECT_THAT(result.notes[0], HasSubstr("2 inputs were always 0"));
    }
  }
}

TEST(Gptq, TheBlockSizeDoesNotChangeABit) {
  const Toy toy(37, 200, 300, 5);
  for (const char* order :
       {"", "act_order: true, static_groups: false, ", "act_order: true, ", "mse: true, "}) {
    // Groups inside a block, across blocks, larger than a block, not dividing the inputs.
    for (int group : {0, 32, 48, 150}) {
      const RounderResult first =
          Round(toy.Input(), Groups(3, group), StrCat("{", order, "block: 128}"));
      for (int block : {1, 32, 100, 5000}) {
        const RounderResult other =
            Round(toy.Input(), Groups(3, group), StrCat("{", order, "block: ", block, "}"));
        EXPECT_EQ(first.layer.codes, other.layer.codes) << order << group << " " << block;
        EXPECT_EQ(first.layer.scales, other.layer.scales) << order << group << " " << block;
        EXPECT_EQ(first.layer.zeros, other.layer.zeros) << order << group << " " << block;
      }
    }
  }
}

TEST(Gptq, TheSameForAnyNumberOfThreads) {
  const Toy toy(150, 170, 256, 6);
  const RounderResult one = Round(toy.Input(), Groups(4, 64), "act_order: true", 1);
  for (int threads : {2, 5}) {
    const RounderResult many = Round(toy.Input(), Groups(4, 64), "act_order: true", threads);
    EXPECT_EQ(one.layer.codes, many.layer.codes);
    EXPECT_EQ(one.layer.scales, many.layer.scales);
  }
}

TEST(Gptq, GroupsOfPermutedColumnsAreFoundThroughGIdx) {
  const Toy toy(8, 30, 100, 23);
  testing::TestContext context(1);
  HessianOptions hessian;
  hessian.act_order = true;
  const HessianFactor factor = FactorHessian(toy.Input(), hessian, context);
  const QuantizedLinear layer =
      Round(toy.Input(), Groups(4, 8), "{act_order: true, static_groups: false}").layer;
  for (size_t p = 0; p < 30; ++p) EXPECT_EQ(layer.g_idx[factor.order[p]], p / 8);
}

TEST(Gptq, RowsDoNotDependOnEachOther) {
  const Toy toy(70, 40, 100, 8);
  const RounderResult all = Round(toy.Input(), Groups(3, 16), "");
  for (size_t first : std::vector<size_t>{0, 5, 64}) {
    RounderInput input = toy.Input();
    input.weight = toy.weight.view().Rows(first, 6);
    const RounderResult some = Round(input, Groups(3, 16), "");
    EXPECT_TRUE(std::equal(some.layer.codes.begin(), some.layer.codes.end(),
                           all.layer.codes.begin() + static_cast<std::ptrdiff_t>(first * 40)));
  }
}

TEST(Gptq, BeatsRoundToNearestTwiceOnCorrelatedInputs) {
  const Toy toy(48, 96, 400, 9);
  testing::TestContext context(1);
  for (int bits : {2, 3, 4}) {
    for (int group : {0, 32}) {
      const Scheme scheme = Groups(bits, group);
      const double rtn = toy.OutputError(
          RoundToNearest(toy.weight, scheme, ClipSearch::kNone, context).Dequantize());
      const double plain = toy.OutputError(Round(toy.Input(), scheme, "").layer.Dequantize());
      const double ordered =
          toy.OutputError(Round(toy.Input(), scheme, "act_order: true").layer.Dequantize());
      EXPECT_LT(2 * plain, rtn) << bits << " bits, group " << group;
      EXPECT_LT(2 * ordered, rtn) << bits << " bits, group " << group;
    }
  }
}

TEST(Gptq, UncorrelatedInputsOfEqualSizeGiveRoundToNearest) {
  Toy toy(20, 30, 10, 10);
  toy.gram = Matrix(30, 30);
  for (size_t i = 0; i < 30; ++i) toy.gram(i, i) = 5;
  testing::TestContext context(1);
  const Scheme scheme = Groups(3, 7);
  EXPECT_EQ(Round(toy.Input(), scheme, "").layer.codes,
            RoundToNearest(toy.weight, scheme, ClipSearch::kNone, context).codes);
}

TEST(Gptq, AScaledGramMatrixChangesNothing) {
  Toy toy(20, 30, 64, 11);
  const RounderResult first = Round(toy.Input(), Groups(3, 8), "act_order: true");
  RounderInput input = toy.Input();
  input.gram_tokens *= 4;  // H/4, exact
  EXPECT_EQ(first.layer.codes, Round(input, Groups(3, 8), "act_order: true").layer.codes);
}

TEST(Gptq, DegenerateLayersAreRounded) {
  Toy zero_row(18, 20, 64, 12);
  std::ranges::fill(zero_row.weight.row(17), 0.0f);
  const Matrix rounded = Round(zero_row.Input(), Groups(4, 8), "").layer.Dequantize();
  EXPECT_THAT(std::vector<float>(rounded.row(17).begin(), rounded.row(17).end()),
              ::testing::Each(0.0f));
  Toy equal(5, 20, 64, 13);
  for (size_t r = 0; r < 5; ++r) std::ranges::fill(equal.weight.row(r), 0.3f);
  EXPECT_FALSE(Round(equal.Input(), Groups(4, 8), "").fell_back_to_rtn);
  const Toy one_column(5, 1, 64, 14);
  EXPECT_FALSE(Round(one_column.Input(), Groups(4, 1), "act_order: true").fell_back_to_rtn);
  const Toy one_row(1, 9, 64, 15);
  EXPECT_FALSE(Round(one_row.Input(), Groups(2, 4), "").fell_back_to_rtn);
}

TEST(Gptq, FewerTokensThanInputsNeedNothingButDamping) {
  const Toy toy(30, 64, 10, 16);
  const RounderResult result = Round(toy.Input(), Groups(4, 0), "");
  EXPECT_EQ(result.damping_attempts, 1);
  EXPECT_EQ(result.damping, 0.01);
  testing::TestContext context(1);
  const QuantizedLinear rtn = RoundToNearest(toy.weight, Groups(4, 0), ClipSearch::kNone, context);
  EXPECT_LT(2 * toy.OutputError(result.layer.Dequantize()), toy.OutputError(rtn.Dequantize()));
}

TEST(Gptq, ASingularMatrixWithoutDampingGetsSome) {
  Toy toy(10, 16, 8, 17);  // rank 8
  const RounderResult result = Round(toy.Input(), Groups(4, 0), "damp: 0");
  EXPECT_FALSE(result.fell_back_to_rtn);
  EXPECT_GT(result.damping_attempts, 1);
  EXPECT_EQ(result.damping, 0.001);
  ASSERT_EQ(result.notes.size(), 1u);
  EXPECT_THAT(result.notes[0], HasSubstr("damping raised from 0 to 0.001"));
}

TEST(Gptq, DampingIsRaisedTenfoldUntilTheMatrixIsPositiveDefinite) {
  Toy toy(10, 16, 40, 18);
  // Eigenvalue -0.5 in units of the mean diagonal: only damping 1 lifts it.
  toy.gram = Matrix(16, 16);
  for (size_t i = 0; i < 16; ++i) toy.gram(i, i) = 1;
  toy.gram(3, 7) = toy.gram(7, 3) = 1.5f;
  const RounderResult result = Round(toy.Input(), Groups(4, 0), "");
  EXPECT_FALSE(result.fell_back_to_rtn);
  EXPECT_EQ(result.damping_attempts, 3);
  EXPECT_DOUBLE_EQ(*result.damping, 1.0);
}

TEST(Gptq, FallsBackToRoundToNearestWithAFlag) {
  Toy toy(10, 16, 40, 19);
  toy.gram(5, 5) = -1e6f;
  testing::TestContext context(1);
  const RounderResult result = Round(toy.Input(), Groups(4, 8), "");
  EXPECT_TRUE(result.fell_back_to_rtn);
  EXPECT_EQ(result.damping_attempts, 4);
  EXPECT_FALSE(result.damping.has_value());
  EXPECT_EQ(result.layer.codes,
            RoundToNearest(toy.weight, Groups(4, 8), ClipSearch::kNone, context).codes);
  EXPECT_THAT(result.notes[0], HasSubstr("not positive definite"));
}

TEST(Gptq, InputsThatAreAllZeroLeaveRoundToNearest) {
  Toy toy(10, 16, 40, 20);
  toy.gram = Matrix(16, 16);
  const RounderResult result = Round(toy.Input(), Groups(4, 8), "");
  EXPECT_TRUE(result.fell_back_to_rtn);
  EXPECT_THAT(result.notes[0], HasSubstr("all inputs were 0"));
}

TEST(Gptq, RefusesDataThatAreNotFinite) {
  auto message = [](const Toy& toy) -> std::string {
    try {
      (void)Round(toy.Input(), Groups(4, 8), "");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
      return error.what();
    }
    return "";
  };
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), HUGE_VALF}) {
    Toy toy(10, 16, 40, 21);
    toy.gram(9, 9) = bad;
    EXPECT_THAT(message(toy), HasSubstr("finite calibration inputs"));
    EXPECT_THAT(message(toy), HasSubstr("at input 9"));
    toy = Toy(10, 16, 40, 21);
    toy.weight(4, 2) = bad;
    EXPECT_THAT(message(toy), HasSubstr("at row 4, column 2"));
  }
}

TEST(Gptq, TheGramMatrixMayBeDouble) {
  // H = c·11ᵀ + I: float32 loses the I beside c = 2^30, so that it has to raise the damping;
  // float64 keeps it.
  const Toy toy(10, 16, 40, 22);
  Matrix gram(16, 16);
  std::vector<double> gram64(16 * 16);
  for (size_t i = 0; i < 16; ++i) {
    for (size_t j = 0; j < 16; ++j) {
      gram64[i * 16 + j] = 0x1p30 + (i == j ? 1 : 0);
      gram(i, j) = static_cast<float>(gram64[i * 16 + j]);
    }
  }
  RounderInput input = toy.Input();
  input.gram_tokens = 2;
  input.gram = gram;
  EXPECT_GT(Round(input, Groups(4, 8), "damp: 0").damping_attempts, 1);
  input.gram = {};
  input.gram64 = gram64;
  const RounderResult exact = Round(input, Groups(4, 8), "{gram64: true, damp: 0}");
  EXPECT_EQ(exact.damping_attempts, 1);
  EXPECT_EQ(exact.damping, 0);
}

TEST(Gptq, OptionsAreStrictAndSpelledOut) {
  auto make = [](const char* text) {
    const Yaml options = Yaml::Parse(text, "recipe.yaml");
    return MakeGptq(&options)->OptionsJson();
  };
  EXPECT_EQ(MakeGptq(nullptr)->OptionsJson(),
            R"({"act_order": false, "static_groups": false, "damp": 0.01, "block": 128, )"
            R"("reference_group_scales": false, "mse": false, "gram64": false})");
  EXPECT_THAT(make("act_order: true"), HasSubstr(R"("static_groups": true)"));
  EXPECT_THAT(make("{act_order: true, static_groups: false}"),
              HasSubstr(R"("static_groups": false)"));
  EXPECT_EQ(make(make("{damp: 0.05, block: 64, mse: true}").c_str()),
            make("{damp: 0.05, block: 64, mse: true}"));
  for (const char* bad :
       {"damp: -0.1", "damp: nan", "block: 0", "block: 1e3", "act_order: yes", "percdamp: 0.01",
        "{static_groups: true, reference_group_scales: true}", "[]"}) {
    EXPECT_THROW(make(bad), Error) << bad;
  }
  try {
    make("act_order: true\nact_ordr: true");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("recipe.yaml:2"));
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'act_order'"));
  }
}

TEST(Gptq, BeatsRoundingToNearestOnEveryNumberFormat) {
  const Toy toy(40, 64, 200, 31);
  for (NumberType type : {NumberType::kNf4, NumberType::kFp8E4m3, NumberType::kFp8E5m2,
                          NumberType::kMxfp4, NumberType::kNvfp4}) {
    const Scheme scheme = SchemeOfFormat(type);
    testing::TestContext context(2);
    const double nearest = toy.OutputError(
        RoundToNearest(toy.weight, scheme, ClipSearch::kNone, context).Dequantize());
    EXPECT_LT(toy.OutputError(Round(toy.Input(), scheme, "").layer.Dequantize()), 0.7 * nearest)
        << NameOf(type);
  }
}

}  // namespace
}  // namespace qualm
