// Measures, in one pass over the float model, what error each layer has with each number of bits,
// and allocates the bits.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "calibrate/hidden_states.h"
#include "model/checkpoint.h"
#include "quantize/model_rotation.h"
#include "recipe/recipe.h"

namespace qualm {

struct Context;

// Bits of every layer that the recipe quantizes, by full name. Requires recipe.allocation and
// integer schemes. `float_block` builds a block, in the rotated basis if there is one. The hidden
// states are the first block's inputs, on return as well.
std::map<std::string, int> AllocateModelBits(
    const Checkpoint& checkpoint, const Recipe& recipe, const ModelRotation* rotation,
    HiddenStates& calibration,
    const std::function<std::unique_ptr<DecoderBlock>(size_t)>& float_block,
    const Context& context);

}  // namespace qualm
