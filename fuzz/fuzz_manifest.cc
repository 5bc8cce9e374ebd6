// The manifest of a quantized folder.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "artefact/manifest.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    qualm::Manifest manifest = qualm::ManifestFromJson(qualm::ParseJson(text, "fuzz"), "fuzz");
    for (const qualm::LayerRecord& layer : manifest.layers) ToJson(layer).dump();
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
