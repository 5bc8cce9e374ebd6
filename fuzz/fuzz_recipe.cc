// Arbitrary bytes as a recipe file: bad input is refused; what is accepted has a canonical form
// that is JSON, and an answer for every layer.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "io/json.h"
#include "recipe/recipe.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const qualm::Recipe recipe =
        qualm::ParseRecipe({reinterpret_cast<const char*>(data), size}, "fuzz.yaml");
    for (const char* layer : {"model.layers.0.self_attn.q_proj", "lm_head", ""}) {
      const qualm::LayerPlan plan = recipe.PlanFor(layer);
      plan.scheme.Validate();
      QUALM_CHECK(plan.rounder != nullptr);
    }
    (void)recipe.NeedsCalibration();
    // A name that is not UTF-8 must not get as far as this.
    (void)qualm::ParseJson(recipe.CanonicalJson(), "canonical form");
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
