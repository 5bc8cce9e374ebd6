// Rotary frequencies and the slopes of ALiBi against numbers that the published code's formulas
// give in float64, and which sequences turn alike.
#include "model/rotary.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "model/model_plan.h"
#include "model/standard_plan.h"
#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

// A model with two blocks of heads of `head_dim`, the base 10000, a context of 512 and this
// rope_scaling.
ModelPlan PlanWith(size_t head_dim, const Json& scaling, double theta = 10000) {
  return ParseModelPlan(Json{{"model_type", "llama"},
                             {"hidden_size", 64},
                             {"intermediate_size", 128},
                             {"num_hidden_layers", 2},
                             {"num_attention_heads", 4},
                             {"head_dim", head_dim},
                             {"vocab_size", 100},
                             {"max_position_embeddings", 512},
                             {"rope_theta", theta},
                             {"rope_scaling", scaling}},
                        "c.json");
}

RotaryPlan RotaryWith(size_t head_dim, const Json& scaling, double theta = 10000) {
  ModelPlan plan = PlanWith(head_dim, scaling, theta);
  return *AttentionIn(plan.blocks[0]).rotary;
}

void ExpectFrequencies(const RotaryPlan& plan, size_t length, const std::vector<double>& expected) {
  const std::vector<double> got = RopeInverseFrequencies(plan, length);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(got[i], expected[i], 1e-13 * expected[i]) << "pair " << i << ", length " << length;
  }
}

Json Yarn(double factor, double original_context) {
  return {{"rope_type", "yarn"},
          {"factor", factor},
          {"original_max_position_embeddings", original_context}};
}

TEST(YarnTest, KeepsFastPairsStretchesSlowOnesAndBlendsBetween) {
  const RotaryPlan plan = RotaryWith(16, Yarn(4, 128));
  EXPECT_EQ(plan.scaling.ramp_first, 0);
  EXPECT_EQ(plan.scaling.ramp_last, 3);
  ExpectFrequencies(plan, 100,
                    {1.0, 0.23717082451262847, 0.05, 0.007905694150420948, 0.0025,
                     0.000790569415042095, 0.00025, 7.905694150420948e-05});
}

TEST(YarnTest, ARampThatIsNotRoundedEndsBetweenPairs) {
  Json scaling = Yarn(4, 128);
  scaling["truncate"] = false;
  const RotaryPlan plan = RotaryWith(16, scaling);
  EXPECT_NEAR(plan.scaling.ramp_last, 2.6180602025795063, 1e-13);
  ExpectFrequencies(plan, 100,
                    {1.0, 0.22563747925454336, 0.04270567198866974, 0.007905694150420948, 0.0025,
                     0.000790569415042095, 0.00025, 7.905694150420948e-05});
}

TEST(YarnTest, TheNumbersOfTurnsMoveTheRamp) {
  Json scaling = Yarn(8, 64);
  scaling["beta_fast"] = 8;
  scaling["beta_slow"] = 2;
  ExpectFrequencies(
      RotaryWith(16, scaling, 1e6), 100,
      {1.0, 0.022228492625486537, 0.003952847075210474, 0.0007029266564879364, 0.000125,
       2.2228492625486534e-05, 3.952847075210474e-06, 7.029266564879364e-07});
}

// The ramp goes to pair 6 of 4, so that no pair is stretched fully.
TEST(YarnTest, ARampMayEndBehindTheLastPair) {
  const RotaryPlan plan = RotaryWith(8, Yarn(2, 2000), 100);
  EXPECT_EQ(plan.scaling.ramp_first, 1);
  EXPECT_EQ(plan.scaling.ramp_last, 6);
  ExpectFrequencies(plan, 100,
                    {1.0, 0.31622776601683794, 0.09000000000000001, 0.025298221281347035});
}

TEST(YarnTest, ARampWithoutWidthIsAStep) {
  RotaryPlan plan{8, RotaryLayout::kHalf, 10000, {.kind = RopeScaling::Kind::kYarn, .factor = 4}};
  plan.scaling.ramp_first = plan.scaling.ramp_last = 1;
  ExpectFrequencies(plan, 100, {1.0, 0.1, 0.01 / 4, 0.001 / 4});
}

TEST(YarnTest, ItsAttentionFactorFollowsFromTheStretch) {
  const auto factor = [](Json scaling, const Json& more) {
    scaling.update(more);
    return RotaryWith(16, scaling).scaling.attention_factor;
  };
  EXPECT_NEAR(factor(Yarn(4, 128), Json::object()), 1.138629436111989, 1e-14);
  EXPECT_NEAR(factor(Yarn(4, 128), {{"mscale", 0.707}, {"mscale_all_dim", 1.2}}), 0.941403523749669,
              1e-14);
  // One of the two says nothing, and the file may say the factor itself.
  EXPECT_NEAR(factor(Yarn(4, 128), {{"mscale", 0.707}}), 1.138629436111989, 1e-14);
  EXPECT_EQ(factor(Yarn(4, 128), {{"attention_factor", 0.75}}), 0.75);
  EXPECT_EQ(factor(Yarn(1, 512), Json::object()), 1);
}

TEST(YarnTest, AMissingFactorIsTheRatioOfTheContexts) {
  Json scaling = Yarn(4, 128);
  scaling.erase("factor");
  EXPECT_EQ(RotaryWith(16, scaling).scaling, RotaryWith(16, Yarn(4, 128)).scaling);
}

// All pairs would turn alike, so none is the one that turns so many times.
TEST(YarnTest, ABaseOfOneIsRefused) {
  EXPECT_THAT(ErrorOf([] { RotaryWith(16, Yarn(4, 128), 1); }), HasSubstr("rope_theta"));
}

TEST(DynamicScalingTest, TheBaseGrowsBeyondTheContext) {
  // Its original context is max_position_embeddings, whatever else the file says.
  Json scaling = {{"rope_type", "dynamic"}, {"factor", 2.0}};
  RotaryPlan plan = RotaryWith(8, scaling);
  EXPECT_EQ(plan.scaling.original_context, 512);
  plan.scaling.original_context = 128;
  for (const size_t length : {size_t{1}, size_t{100}, size_t{128}})
    ExpectFrequencies(plan, length, {1.0, 0.1, 0.01, 0.001});
  ExpectFrequencies(plan, 129,
                    {1.0, 0.0994845269278865, 0.009897171098065373, 0.0009846153846153848});
  ExpectFrequencies(plan, 512,
                    {1.0, 0.052275795857471025, 0.0027327588325319844, 0.00014285714285714287});
}

Json LongRope() {
  return {{"rope_type", "longrope"},
          {"original_max_position_embeddings", 64},
          {"short_factor", {1.0, 1.25, 1.5, 2.0}},
          {"long_factor", {1.0, 3.0, 9.0, 27.5}}};
}

TEST(LongRopeTest, TakesTheListOfTheSequencesLength) {
  const RotaryPlan plan = RotaryWith(8, LongRope());
  for (const size_t length : {size_t{1}, size_t{64}}) {
    ExpectFrequencies(plan, length, {1.0, 0.08, 0.006666666666666667, 0.0005});
  }
  for (const size_t length : {size_t{65}, size_t{512}}) {
    ExpectFrequencies(plan, length,
                      {1.0, 0.03333333333333333, 0.0011111111111111111, 3.6363636363636364e-05});
  }
  // The square root of 1 + ln(512/64)/ln(64).
  EXPECT_NEAR(plan.scaling.attention_factor, 1.224744871391589, 1e-14);
}

TEST(LongRopeTest, ItsOlderNamesMeanTheSame) {
  Json scaling = LongRope();
  scaling.erase("rope_type");
  scaling["type"] = "su";
  EXPECT_EQ(RotaryWith(8, scaling), RotaryWith(8, LongRope()));
}

TEST(LongRopeTest, ListsThatDoNotFitAreRefused) {
  const auto complaint = [](const char* key, const Json& value) {
    Json scaling = LongRope();
    scaling[key] = value;
    return ErrorOf([&] { RotaryWith(8, scaling); });
  };
  EXPECT_THAT(complaint("short_factor", {1, 2, 3}), HasSubstr("a list of 4 numbers"));
  EXPECT_THAT(complaint("long_factor", nullptr),
              HasSubstr("long_factor] expected a list of 4 numbers; got none"));
  EXPECT_THAT(complaint("long_factor", {1, 2, 3, 0}), HasSubstr("positive numbers"));
  // The logarithm of the context divides.
  for (const double context : {1.0, 0.5}) {
    EXPECT_THAT(complaint("original_max_position_embeddings", context),
                HasSubstr("original_max_position_embeddings"))
        << context;
  }
}

TEST(RotaryRegimeTest, LengthsThatTurnAlikeHaveOneNumber) {
  const ModelPlan plain = PlanWith(8, nullptr), yarn = PlanWith(8, Yarn(4, 128));
  for (const size_t length : {size_t{1}, size_t{128}, size_t{5000}}) {
    EXPECT_EQ(RotaryRegime(plain, length), 0u);
    EXPECT_EQ(RotaryRegime(yarn, length), 0u);
  }
  const ModelPlan dynamic = PlanWith(8, {{"rope_type", "dynamic"}, {"factor", 2.0}});
  EXPECT_EQ(RotaryRegime(dynamic, 1), RotaryRegime(dynamic, 512));
  EXPECT_NE(RotaryRegime(dynamic, 512), RotaryRegime(dynamic, 513));
  EXPECT_NE(RotaryRegime(dynamic, 513), RotaryRegime(dynamic, 514));
  const ModelPlan longrope = PlanWith(8, LongRope());
  EXPECT_EQ(RotaryRegime(longrope, 1), RotaryRegime(longrope, 64));
  EXPECT_NE(RotaryRegime(longrope, 64), RotaryRegime(longrope, 65));
  EXPECT_EQ(RotaryRegime(longrope, 65), RotaryRegime(longrope, 512));
}

TEST(RotaryRegimeTest, BlocksThatDifferGiveEveryMixtureItsOwn) {
  ModelPlan plan = PlanWith(8, LongRope());
  AttentionIn(plan.blocks[1]).rotary->scaling.original_context = 100;
  EXPECT_EQ(RotaryRegime(plan, 65), RotaryRegime(plan, 100));
  EXPECT_NE(RotaryRegime(plan, 64), RotaryRegime(plan, 100));
  EXPECT_NE(RotaryRegime(plan, 100), RotaryRegime(plan, 101));
  EXPECT_NE(RotaryRegime(plan, 64), RotaryRegime(plan, 101));
  AttentionIn(plan.blocks[1]).rotary.reset();
  EXPECT_NE(RotaryRegime(plan, 64), RotaryRegime(plan, 65));

  // A block with dynamic scaling tells every length from every other.
  plan.blocks.push_back(plan.blocks[0]);
  AttentionIn(plan.blocks[2]).rotary->scaling = {
      .kind = RopeScaling::Kind::kDynamic, .factor = 2, .original_context = 70};
  EXPECT_EQ(RotaryRegime(plan, 65), RotaryRegime(plan, 70));
  EXPECT_NE(RotaryRegime(plan, 70), RotaryRegime(plan, 71));
  EXPECT_NE(RotaryRegime(plan, 71), RotaryRegime(plan, 72));
}

TEST(AlibiSlopesTest, AreThoseOfTheirAuthors) {
  EXPECT_EQ(AlibiSlopes(1), std::vector<float>{0.00390625f});
  EXPECT_EQ(AlibiSlopes(5), (std::vector<float>{0.25f, 0.0625f, 0.015625f, 0.00390625f, 0.5f}));
  const std::vector<float> of_8 = {0.5f,     0.25f,     0.125f,     0.0625f,
                                   0.03125f, 0.015625f, 0.0078125f, 0.00390625f};
  EXPECT_EQ(AlibiSlopes(8), of_8);
  std::vector<float> of_12 = of_8;
  for (const float slope :
       {0.7071067811865476f, 0.35355339059327384f, 0.17677669529663695f, 0.08838834764831849f}) {
    of_12.push_back(slope);
  }
  EXPECT_THAT(AlibiSlopes(12), ::testing::Pointwise(::testing::FloatEq(), of_12));
}

}  // namespace
}  // namespace qualm
