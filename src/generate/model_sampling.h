// The way of drawing tokens that a model's generation_config.json asks for.
#pragma once

#include "generate/sampling.h"
#include "model/generation_config.h"

namespace qualm {

// The sampling of transformers.generate with this configuration: greedy without do_sample, else
// with the temperature 1 and the top_k 50 where the file does not say. Throws bad input that names
// the key for a value of the wrong type or out of range, and for a setting that changes the text
// and is not supported.
Sampling ModelSampling(const GenerationConfig& config);

}  // namespace qualm
