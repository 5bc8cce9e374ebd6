// A quantized folder of another tool: config.json and one file of tensors, a zero byte between
// them. Every layer of every format is read, and what it says of itself is looked at.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/quantized_layers.h"
#include "parts.h"
#include "support/temporary_folder.h"

namespace {

void Run(const qualm::testing::TemporaryFolder& folder) {
  const qualm::Json config = qualm::ReadJsonFile(folder.path() / "config.json");
  const qualm::TensorFile tensors = qualm::TensorFile::Open(folder.path());
  const auto layers = qualm::OpenQuantizedLayers(tensors, folder.path(), config, {});
  if (layers == nullptr) return;
  for (const qualm::StoredLayer& layer : layers->layers()) {
    QUALM_CHECK(layers->Find(layer.name) == &layer);
    const qualm::QuantizedWeight weight = layers->Read(layer);
    QUALM_CHECK(qualm::ShapeOf(weight) == std::pair(layer.out, layer.in));
    (void)qualm::Dequantize(weight);
    (void)layers->Attention(layer.name);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const qualm::testing::TemporaryFolder folder;
  const auto parts = qualm::fuzz::SplitParts<2>(data, size);
  folder.Write("config.json", parts[0]);
  folder.Write("model.safetensors", parts[1]);
  try {
    Run(folder);
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
