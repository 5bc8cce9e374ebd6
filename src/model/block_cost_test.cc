// The counts of three small blocks, worked by hand.
#include "model/block_cost.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "model/standard_plan.h"

namespace qualm {
namespace {

// Hidden 8, two heads of 4 that share one of keys and values, inner width 16.
ModelPlan Llama(size_t blocks = 1) {
  return ParseModelPlan(Json{{"model_type", "llama"},
                             {"hidden_size", 8},
                             {"intermediate_size", 16},
                             {"num_hidden_layers", blocks},
                             {"num_attention_heads", 2},
                             {"num_key_value_heads", 1},
                             {"vocab_size", 10}},
                        "test");
}

TEST(BlockCost, OfASequentialBlock) {
  const TokenCounts counts = CountsOf(Llama().blocks[0]);
  EXPECT_EQ(counts.linear_weights, 8 * (8 + 4 + 4) + 8 * 8 + 3 * 8 * 16);
  EXPECT_EQ(counts.normed, 8 + 8);
  EXPECT_EQ(counts.rotated, 8 + 4);
  EXPECT_EQ(counts.gated, 16);
  EXPECT_EQ(counts.activated, 0);
  EXPECT_EQ(counts.residual, 8 + 8);
  EXPECT_EQ(counts.input_squares, 64 + 64 + 64 + 256);
  EXPECT_EQ(counts.widest_input, 16u);
  // First the attention's output waits (8), later the MLP's inner values (16).
  EXPECT_EQ(counts.held_values, 16u);
}

TEST(BlockCost, ParallelBranchesOnOneNormHoldBothOfTheirValues) {
  ModelPlan plan = Llama();
  BlockPlan& block = plan.blocks[0];
  block.branches[1].norm = block.branches[0].norm;
  block.branches[1].is_parallel = true;
  MlpIn(block).gate.reset();
  AttentionIn(block).rotary->dims = 2;
  const TokenCounts counts = CountsOf(block);
  EXPECT_EQ(counts.normed, 8);
  EXPECT_EQ(counts.rotated, 2 * 3);
  EXPECT_EQ(counts.gated, 0);
  EXPECT_EQ(counts.activated, 16);
  EXPECT_EQ(counts.held_values, 8u + 16u);
  EXPECT_EQ(counts.input_squares, 64 + 64 + 256);
}

TEST(BlockCost, SumsOverBlocksButTheLargestStaysTheLargest) {
  const TokenCounts one = CountsOf(Llama(1)), three = CountsOf(Llama(3));
  EXPECT_EQ(three.linear_weights, 3 * one.linear_weights);
  EXPECT_EQ(three.residual, 3 * one.residual);
  EXPECT_EQ(three.widest_input, one.widest_input);
  EXPECT_EQ(three.held_values, one.held_values);
}

TEST(BlockCost, AttentionOfEqualBlocksIsCountedTogetherFullOnesFirst) {
  ModelPlan plan = Llama(3);
  AttentionIn(plan.blocks[0]).window = 5;
  AttentionIn(plan.blocks[2]).window = 5;
  const std::vector<AttentionCount> counts = AttentionCounts(plan);
  ASSERT_EQ(counts.size(), 2u);
  EXPECT_EQ(counts[0].window, 0u);
  EXPECT_THAT(counts[0].blocks, ::testing::ElementsAre(1));
  EXPECT_EQ(counts[1].window, 5u);
  EXPECT_THAT(counts[1].blocks, ::testing::ElementsAre(0, 2));
}

TEST(BlockCost, PairsSeenAreTheSumOverQueries) {
  for (const size_t window : std::vector<size_t>{0, 1, 4, 20}) {
    double pairs = 0;
    for (size_t t = 0; t < 10; ++t) {
      pairs += static_cast<double>(window == 0 ? t + 1 : std::min(window, t + 1));
    }
    EXPECT_EQ(PairsSeen(window, 10), pairs) << window;
    EXPECT_EQ(PositionsSeen(window, 9),
              window == 0 ? 10 : std::min(static_cast<double>(window), 10.0));
  }
}

}  // namespace
}  // namespace qualm
