// The walk over a block plan by hand, and what makes a plan impossible.
#include "model/block_plan.h"

#include <gmock/gmock.h>

#include <cmath>

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

// A clamp lies between the value layer and what the output layer reads.
TEST(BlockPlan, AClampLetsNoScaleThrough) {
  BlockPlan plan{{AttentionBranch("n")}};
  std::get<AttentionPlan>(plan.branches[0].part).clip = 2;
  EXPECT_EQ(SiteInputs(plan)[1].producer, "");
}

TEST(BlockPlan, ANormWhoseOutputIsAddedToSaysSo) {
  BlockPlan plan{{AttentionBranch("n1"), MlpBranch("n2", true)}};
  plan.branches[1].adds_to_norm = true;
  plan.branches[1].norm_of_sum = NormPlan{"sum", kHidden, {}};
  const std::vector<SiteInput> inputs = SiteInputs(plan);
  EXPECT_FALSE(inputs[0].norm_is_added);
  EXPECT_TRUE(inputs[2].norm_is_added);
  const std::vector<NormPlan> norms = NormsOf(plan);
  ASSERT_EQ(norms.size(), 3u);
  EXPECT_EQ(norms[2].name, "sum");
}

TEST(BlockPlan, NormsOfQueriesAndKeysAreInnerOnes) {
  BlockPlan plan{{MlpBranch("n1", true), AttentionBranch("n2")}};
  EXPECT_TRUE(InnerNormsOf(plan).empty());
  std::get<AttentionPlan>(plan.branches[1].part).norms =
      QueryKeyNorms{{"q_norm", 4, {}}, {"k_norm", 4, {}}};
  const std::vector<NormPlan> inner = InnerNormsOf(plan);
  ASSERT_EQ(inner.size(), 2u);
  EXPECT_EQ(inner[0].name, "q_norm");
  EXPECT_EQ(inner[1].name, "k_norm");
  EXPECT_EQ(NormsOf(plan).size(), 2u);
}

// What CheckPlan says about a plan that was right before the edit.
template <typename Edit>
std::string Complaint(Edit edit) {
  BlockPlan plan{{AttentionBranch("n1"), MlpBranch("n2", true)}};
  edit(plan.branches, std::get<AttentionPlan>(plan.branches[0].part));
  return ErrorOf([&] { At("block 3", [&] { CheckPlan(plan, kHidden); }); });
}
using Branches = std::vector<Branch>;

TEST(BlockPlan, SumsThatParallelBranchesWouldSeeAreRefused) {
  EXPECT_EQ(Complaint([](Branches& b, AttentionPlan&) {
              b[0].adds_to_norm = true;
              b[1].norm_of_sum = NormPlan{"sum", kHidden, {}};
            }),
            "no error");
  EXPECT_THAT(Complaint([](Branches& b, AttentionPlan&) {
                b[0].adds_to_norm = true;
                b[0].norm.reset();
              }),
              HasSubstr("[block 3: adds_to_norm] expected a branch with a norm in front"));
  // Of the first of two parallel branches as of the second.
  for (const size_t branch : {size_t{0}, size_t{1}}) {
    EXPECT_THAT(Complaint([&](Branches& b, AttentionPlan&) {
                  b[1].is_parallel = true;
                  b[branch].adds_to_norm = true;
                }),
                HasSubstr("adds_to_norm] expected branches one after the other"));
    EXPECT_THAT(Complaint([&](Branches& b, AttentionPlan&) {
                  b[1].is_parallel = true;
                  b[branch].norm_of_sum = NormPlan{"sum", kHidden, {}};
                }),
                HasSubstr("norm_of_sum] expected branches one after the other"));
  }
  for (const float scale : {0.0f, -1.0f, NAN}) {
    EXPECT_THAT(Complaint([&](Branches& b, AttentionPlan&) { b[1].output_scale = scale; }),
                HasSubstr("[block 3: output_scale] expected a positive number"));
  }
}

TEST(BlockPlan, NormsThatCannotBeAreRefused) {
  EXPECT_THAT(Complaint([](Branches& b, AttentionPlan&) { b[1].norm->groups = 2; }),
              HasSubstr("[block 3: n2.groups] expected one weight for all hidden states; got 2"));
  EXPECT_THAT(
      Complaint([](Branches& b, AttentionPlan&) { b[1].norm->stored_by_group = "x."; }),
      HasSubstr("n2.groups] expected one weight for all hidden states; got weights stored by"));
  EXPECT_THAT(Complaint([](Branches& b, AttentionPlan&) {
                b[1].norm_after = NormPlan{"after", kHidden, {.weight_offset = 1}};
                b[1].norm_after->has_weight = false;
              }),
              HasSubstr("[block 3: after.weight_offset] expected 0 in a norm without a weight"));
  EXPECT_THAT(Complaint([](Branches& b, AttentionPlan&) {
                b[1].norm_of_sum = NormPlan{"n1", kHidden, {}};
              }),
              HasSubstr("two of n1"));
  EXPECT_THAT(Complaint([](Branches& b, AttentionPlan&) {
                b[1].norm_of_sum = NormPlan{"sum", 4, {}};
              }),
              HasSubstr("[block 3: sum] expected hidden size 8; got 4"));
}

TEST(BlockPlan, NormsOfQueriesAndKeysFitTheirHeads) {
  const auto complaint = [](auto edit) {
    return Complaint([&](Branches&, AttentionPlan& a) {
      a.norms = QueryKeyNorms{{"q_norm", 4, {}}, {"k_norm", 4, {}}};
      edit(a.norms->query, a.norms->key);
    });
  };
  using N = NormPlan;
  EXPECT_EQ(complaint([](N&, N&) {}), "no error");
  EXPECT_EQ(complaint([](N& q, N&) { q.width = 8; }), "no error");
  EXPECT_EQ(complaint([](N& q, N&) { q.groups = 2; }), "no error");
  EXPECT_THAT(complaint([](N& q, N&) { q.width = 2; }),
              HasSubstr("[block 3: q_norm] expected 4 or 8; got 2"));
  // There is one key head.
  EXPECT_THAT(complaint([](N&, N& k) { k.width = 8; }), HasSubstr("[block 3: k_norm]"));
  EXPECT_THAT(complaint([](N& q, N&) { q.groups = 3; }),
              HasSubstr("weights for all heads or for each of 2; got for 3"));
  EXPECT_THAT(complaint([](N&, N& k) { k.name = "q_norm"; }), HasSubstr("two of q_norm"));
  EXPECT_THAT(complaint([](N&, N& k) { k.name = "v"; }), HasSubstr("two of v"));
  EXPECT_THAT(complaint([](N&, N& k) { k.name = "n2"; }), HasSubstr("two of n2"));
}

TEST(BlockPlan, PositionsAndBoundsOfAnAttentionAreChecked) {
  const auto complaint = [](auto edit) {
    return Complaint([&](Branches&, AttentionPlan& a) { edit(a); });
  };
  using A = AttentionPlan;
  EXPECT_EQ(complaint([](A& a) { a.alibi_slopes = {0.5f, 0.25f}; }), "no error");
  EXPECT_THAT(complaint([](A& a) { a.alibi_slopes = {0.5f}; }),
              HasSubstr("[block 3: attention.alibi_slopes] expected one for each of 2 heads"));
  EXPECT_THAT(complaint([](A& a) { a.alibi_in_bfloat16 = true; }),
              HasSubstr("attention.alibi_in_bfloat16"));
  EXPECT_THAT(complaint([](A& a) { a.clip = -1; }), HasSubstr("attention.clip"));
  EXPECT_THAT(complaint([](A& a) { a.soft_cap = -1; }), HasSubstr("attention.soft_cap"));
  EXPECT_THAT(complaint([](A& a) {
                a.query_growth = QueryGrowth{0.1, 0.5};
              }),
              HasSubstr("[block 3: attention.query_growth] expected a context of 1 or more"));
  for (const size_t too_few : {size_t{0}, size_t{1}}) {
    EXPECT_THAT(complaint([&](A& a) {
                  a.rotary = RotaryPlan{4, RotaryLayout::kHalf, 1e4, {}};
                  a.rotary->scaling.kind = RopeScaling::Kind::kLongRope;
                  a.rotary->scaling.short_factors.assign(too_few == 0 ? 1 : 2, 1.0);
                  a.rotary->scaling.long_factors.assign(too_few == 1 ? 1 : 2, 1.0);
                }),
                HasSubstr("short_factor and long_factor of 2 numbers; got 1"));
  }
}

TEST(BlockPlan, StoredRowsAreWholeRunsThatDoNotOverlap) {
  const auto complaint = [](const StoredRows& rows) {
    return Complaint([&](Branches&, AttentionPlan& a) { a.query.stored = rows; });
  };
  EXPECT_EQ(complaint({"all", 0, 4, 6}), "no error");
  EXPECT_EQ(complaint({"all", 3}), "no error");
  EXPECT_THAT(complaint({"all", 0, 4, 3}),
              HasSubstr("[block 3: q.stored] expected whole runs of 8 rows that do not overlap"));
  EXPECT_THAT(complaint({"all", 0, 3, 6}), HasSubstr("got runs of 3, 6 rows apart"));
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
