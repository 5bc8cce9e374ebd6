// The transforms of a recipe on one block: statistics of the float block's inputs, each transform's
// choice for each group, the edits, and in the end the bounds that weights are clipped to.
#pragma once

#include "quantize/block_run.h"
#include "quantize/block_tensors.h"

namespace qualm {

// On return `tensors` holds the edited weights and `block` runs on them: the same function as
// before, up to rounding. The hidden states are the block's inputs, and stay it.
void TransformBlock(const BlockRun& run, DecoderBlock& block, BlockTensors& tensors);

}  // namespace qualm
