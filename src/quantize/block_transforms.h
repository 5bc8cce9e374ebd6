// Applies a recipe's transforms to one block: collects statistics of the float block's inputs, lets
// each transform choose for each input, makes the edits, and finally chooses the bounds that
// weights are clipped to.
#pragma once

#include "quantize/block_run.h"
#include "quantize/block_tensors.h"

namespace qualm {

// On return `tensors` holds the edited weights and `block` runs on them; it computes the same
// function as before, up to rounding. The hidden states are the block's inputs, before and after.
void TransformBlock(const BlockRun& run, DecoderBlock& block, BlockTensors& tensors);

}  // namespace qualm
