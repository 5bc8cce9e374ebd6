// The walk over a block plan by hand, and what makes a plan impossible.
#include "model/block_plan.h"

#include <gmock/gmock.h>

#include "base/error_place.h"
#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

constexpr size_t kHidden = 8;

Branch AttentionBranch(const char* norm, bool is_parallel = false) {
  AttentionPlan plan;
  plan.heads = 2;
  plan.kv_heads = 1;
  plan.head_dim = 4;
  plan.scale = 0.5f;
  plan.query = {"q", SiteRole::kQuery, 8, kHidden};
  plan.key = {"k", SiteRole::kKey, 4, kHidden};
  plan.value = {"v", SiteRole::kValue, 4, kHidden};
  plan.output = {"o", SiteRole::kAttentionOutput, kHidden, 8};
  Branch branch;
  if (norm != nullptr) branch.norm = NormPlan{norm, kHidden, {}};
  branch.part = plan;
  branch.is_parallel = is_parallel;
  return branch;
}

Branch MlpBranch(const char* norm, bool is_gated, bool is_parallel = false) {
  MlpPlan plan;
  if (is_gated) plan.gate = LinearSite{"gate", SiteRole::kGate, 12, kHidden};
  plan.up = {"up", SiteRole::kUp, 12, kHidden};
  plan.down = {"down", SiteRole::kDown, kHidden, 12};
  Branch branch;
  if (norm != nullptr) branch.norm = NormPlan{norm, kHidden, {}};
  branch.part = plan;
  branch.is_parallel = is_parallel;
  return branch;
}

// "q k v | o | ..." : the layers of each input.
std::string Walk(const BlockPlan& plan) {
  std::string text;
  for (const SiteInput& input : SiteInputs(plan)) {
    text += text.empty() ? "" : " |";
    for (const LinearSite& site : input.sites) text += (text.empty() ? "" : " ") + site.name;
  }
  return text;
}

TEST(BlockPlan, SequentialBranchesReadOneAfterTheOther) {
  const BlockPlan plan{{AttentionBranch("n1"), MlpBranch("n2", true)}};
  EXPECT_EQ(Walk(plan), "q k v | o | gate up | down");
  const std::vector<SiteInput> inputs = SiteInputs(plan);
  EXPECT_EQ(inputs[0].name, "attention_input");
  EXPECT_EQ(inputs[0].norm->name, "n1");
  EXPECT_TRUE(inputs[0].reads_residual && inputs[0].needs_sequences);
  EXPECT_EQ(inputs[1].producer, "v");
  EXPECT_FALSE(inputs[1].reads_residual || inputs[1].norm.has_value());
  EXPECT_EQ(inputs[2].norm->name, "n2");
  EXPECT_FALSE(inputs[2].needs_sequences);
  EXPECT_EQ(inputs[3].producer, "up");
  EXPECT_EQ(inputs[3].width, 12u);
}

TEST(BlockPlan, ParallelBranchesOnOneNormShareItsOutput) {
  const BlockPlan plan{{AttentionBranch("n"), MlpBranch("n", false, /*is_parallel=*/true)}};
  EXPECT_EQ(Walk(plan), "q k v up | o | down");
  const std::vector<SiteInput> inputs = SiteInputs(plan);
  EXPECT_EQ(inputs[0].readers.size(), 2u);
  EXPECT_TRUE(inputs[0].needs_sequences);
  // An activation without a gate lets no scale through.
  EXPECT_EQ(inputs[2].producer, "");
  EXPECT_EQ(NormsOf(plan).size(), 1u);
}

TEST(BlockPlan, ParallelBranchesOnTwoNormsReadBeforeEitherAdds) {
  const BlockPlan plan{{AttentionBranch("n1"), MlpBranch("n2", true, /*is_parallel=*/true)}};
  EXPECT_EQ(Walk(plan), "q k v | gate up | o | down");
}

TEST(BlockPlan, BranchesWithoutANormReadTheHiddenStates) {
  BlockPlan plan{{AttentionBranch(nullptr), MlpBranch(nullptr, true)}};
  plan.branches[0].norm_after = NormPlan{"after", kHidden, {}};
  const std::vector<SiteInput> inputs = SiteInputs(plan);
  EXPECT_TRUE(inputs[0].reads_residual);
  EXPECT_FALSE(inputs[0].norm.has_value());
  EXPECT_EQ(NormsOf(plan)[0].name, "after");
}

TEST(BlockPlan, WhatCannotRunIsRefusedByItsField) {
  const auto complaint = [](auto edit) {
    BlockPlan plan{{AttentionBranch("n1"), MlpBranch("n2", true)}};
    edit(plan, std::get<AttentionPlan>(plan.branches[0].part),
         std::get<MlpPlan>(plan.branches[1].part));
    return ErrorOf([&] { At("block 3", [&] { CheckPlan(plan, kHidden); }); });
  };
  using Plan = BlockPlan;
  using A = AttentionPlan;
  using M = MlpPlan;
  EXPECT_EQ(complaint([](Plan&, A&, M&) {}), "no error");
  EXPECT_THAT(complaint([](Plan& p, A&, M&) { p.branches.clear(); }),
              HasSubstr("[block 3] expected a block with branches; got none"));
  EXPECT_THAT(complaint([](Plan& p, A&, M&) { p.branches[0].is_parallel = true; }),
              HasSubstr("is_parallel"));
  EXPECT_THAT(complaint([](Plan&, A& a, M&) { a.kv_heads = 3; }),
              HasSubstr("[block 3: attention.kv_heads] expected a divisor of 2 heads; got 3"));
  EXPECT_THAT(complaint([](Plan&, A& a, M&) { a.scale = 0; }), HasSubstr("attention.scale"));
  EXPECT_THAT(complaint([](Plan&, A& a, M&) { a.rotary.emplace().dims = 6; }),
              HasSubstr("expected pairs of values up to head_dim 4; got 6"));
  EXPECT_THAT(complaint([](Plan&, A& a, M&) { a.query.out = 4; }), HasSubstr("query.out"));
  EXPECT_THAT(complaint([](Plan&, A& a, M&) { a.key.out = 8; }), HasSubstr("key.out"));
  EXPECT_THAT(complaint([](Plan&, A& a, M&) { a.output.in = 4; }), HasSubstr("output.in"));
  EXPECT_THAT(complaint([](Plan&, A& a, M&) { a.output.out = 4; }),
              HasSubstr("[block 3: o.out] expected hidden size 8; got 4"));
  EXPECT_THAT(complaint([](Plan&, A&, M& m) { m.up.in = 4; }), HasSubstr("hidden size 8"));
  EXPECT_THAT(complaint([](Plan&, A&, M& m) { m.gate->in = 4; }),
              HasSubstr("[block 3: gate.in] expected 8; got 4"));
  EXPECT_THAT(complaint([](Plan&, A&, M& m) { m.gate->name = "up"; }), HasSubstr("two of up"));
  EXPECT_THAT(complaint([](Plan& p, A&, M&) { p.branches[1].norm->width = 4; }),
              HasSubstr("[block 3: n2]"));
  EXPECT_THAT(complaint([](Plan& p, A&, M&) { p.branches[1] = AttentionBranch("n2"); }),
              HasSubstr("at most one attention"));
}

}  // namespace
}  // namespace qualm
