// config.json from any bytes: either an error that qualm throws itself, or a plan whose
// promises hold.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "io/json.h"
#include "model/model_plan.h"

namespace {

void CheckPromises(const qualm::ModelPlan& plan) {
  QUALM_CHECK(plan.hidden_size > 0 && plan.vocab_size() > 0 && plan.context > 0);
  QUALM_CHECK(!plan.blocks.empty());
  QUALM_CHECK(!plan.final_norm || std::isfinite(plan.final_norm->parameters.eps));
  for (const qualm::BlockPlan& block : plan.blocks) {
    qualm::CheckPlan(block, plan.hidden_size);
    const qualm::AttentionPlan* attention = qualm::AttentionOf(block);
    QUALM_CHECK(attention != nullptr);
    QUALM_CHECK(attention->query.out / attention->heads == attention->head_dim);  // no overflow
    QUALM_CHECK(attention->scale > 0 && std::isfinite(attention->scale));
    // Allowed by the parser, but a loop too long for a fuzzer.
    if (!attention->rotary || attention->rotary->dims > 1024 || plan.blocks.size() > 64) return;
    for (const double frequency : qualm::RopeInverseFrequencies(*attention->rotary, plan.context)) {
      QUALM_CHECK(frequency >= 0 && std::isfinite(frequency));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    CheckPromises(qualm::ParseModelPlan(qualm::ParseJson(text, "config.json"), "config.json"));
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
