// config.json from any bytes: either an error that qualm throws itself, or a configuration whose
// promises hold.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "io/json.h"
#include "model/config.h"

namespace {

void CheckPromises(const qualm::ModelConfig& config) {
  QUALM_CHECK(config.hidden_size > 0 && config.intermediate_size > 0 && config.layers > 0);
  QUALM_CHECK(config.vocab_size > 0 && config.context > 0);
  QUALM_CHECK(config.heads > 0 && config.kv_heads > 0 && config.heads % config.kv_heads == 0);
  QUALM_CHECK(config.head_dim > 0 && config.head_dim % 2 == 0);
  QUALM_CHECK(config.q_features() / config.heads == config.head_dim);  // no overflow
  QUALM_CHECK(config.rms_norm_eps > 0 && std::isfinite(config.rms_norm_eps));
  QUALM_CHECK(!config.sliding_window || *config.sliding_window > 0);
  if (config.head_dim > 1024) return;  // allowed by the parser, but a loop too long for a fuzzer
  for (const double frequency : qualm::RopeInverseFrequencies(config)) {
    QUALM_CHECK(frequency >= 0 && std::isfinite(frequency));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    CheckPromises(qualm::ParseModelConfig(qualm::ParseJson(text, "config.json"), "config.json"));
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
