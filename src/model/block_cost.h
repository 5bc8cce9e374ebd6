// What a block computes and moves for each token, counted from its plan. The one cost model: the
// roofline, a run's plan and a study's estimate multiply these counts by their own rates.
#pragma once

#include <cstddef>
#include <vector>

#include "model/block_plan.h"
#include "model/model_plan.h"

namespace qualm {

// Numbers for each token in one block, or summed over some.
struct TokenCounts {
  double linear_weights = 0;  // weights of linear layers: one multiply-add each
  double normed = 0;          // values that norms read and write
  double rotated = 0;         // values of queries and keys that are rotated
  double gated = 0;           // values that an activation makes and a second value multiplies
  double activated = 0;       // values that an activation alone makes
  double residual = 0;        // values that branches add to the hidden states
  double input_squares = 0;   // Σ width² over the inputs: products of a Gram matrix
  size_t widest_input = 0;
  // Most values inside parts that wait at once when a block is run input by input.
  size_t held_values = 0;

  void Add(const TokenCounts& other);
};
TokenCounts CountsOf(const BlockPlan& plan);
TokenCounts CountsOf(const ModelPlan& plan);  // all blocks; without embedding, last norm and head

// The attention of blocks that cost the same.
struct AttentionCount {
  size_t window = 0;       // 0: all positions
  size_t query_width = 0;  // heads·head_dim: a multiply-add each for a score, and for a value
  size_t heads = 0;
  std::vector<size_t> blocks;
};
// Blocks without attention are absent; those that see all positions come first.
std::vector<AttentionCount> AttentionCounts(const ModelPlan& plan);

// Pairs of a query and a position that it sees, over all queries of a text of `length`.
double PairsSeen(size_t window, double length);
// Positions that the one query after `context` others sees, itself among them.
double PositionsSeen(size_t window, double context);

// Operations of rounding a layer [out, in] column by column (GPTQ): the updates; and of the factor
// of its inverse Gram matrix, which layers with one input share.
double ColumnUpdateOps(size_t out, size_t in);
double FactorOps(size_t in);

}  // namespace qualm
