// The families' own declarations, and what most of them share.
#pragma once

#include "model/family.h"

namespace qualm {

const Family& LlamaFamily();
const Family& MistralFamily();
const Family& Qwen2Family();

// The tensor names and linear groups of LLaMA, which its descendants kept.
Family StandardFamily(std::string_view model_type,
                      void (*complete_config)(const Json&, std::string_view, ModelConfig&));

// True if the key is there with the value null.
bool HasNull(const Json& object, std::string_view key);

}  // namespace qualm
