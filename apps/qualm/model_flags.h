// The flags of the commands that read a model: which one, and what of it is taken otherwise than
// its files say.
#pragma once

#include <string>
#include <vector>

#include "arguments.h"
#include "model/model_source.h"

namespace qualm::cli {

struct ModelFlags {
  std::string name;  // a folder or ORG/NAME[@REVISION]
  std::vector<std::string> config, ignored_tensors;
  std::string gptq_zeros = "auto", weights = "library", adapter = {};
  bool weights_only = false;
};

// The positional argument, --config, --ignore-tensors, and how quantized layers are read.
void AddModelFlags(Arguments& arguments, ModelFlags& flags, const std::string& positional,
                   const std::string& help);
// The others alone; `model` is what the help calls the model.
void AddOverrideFlags(Arguments& arguments, ModelFlags& flags, const std::string& model);

// Throws bad input for a model of the hub that is not in the cache, and for a text that is not
// KEY=VALUE.
ModelSource SourceOf(const ModelFlags& flags);

}  // namespace qualm::cli
