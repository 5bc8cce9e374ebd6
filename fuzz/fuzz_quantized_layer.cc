// A layer of a quantized folder: its record in the manifest (JSON), a zero byte, and the file that
// holds its tensors. What is accepted runs: its weights are finite or not, but nothing is read that
// is not there.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "artefact/manifest.h"
#include "artefact/store.h"
#include "base/error.h"
#include "kernels/packed.h"
#include "parts.h"
#include "support/temporary_folder.h"
#include "support/test_context.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const qualm::testing::TemporaryFolder folder;
  static qualm::testing::TestContext context(1);
  const auto parts = qualm::fuzz::SplitParts<2>(data, size);
  try {
    const qualm::LayerRecord record =
        qualm::LayerRecordFromJson(qualm::ParseJson(parts[0], "record"), "record");
    const auto file = qualm::TensorFile::Open(folder.Write("block.safetensors", parts[1]));
    const qualm::QuantizedLinear layer = qualm::ReadQuantizedLinear(file, record);
    (void)layer.Dequantize();
    const auto weight = qualm::MakePackedWeight(layer, context);
    const qualm::Matrix x(1, layer.in_features);
    qualm::Matrix y(1, layer.out_features);
    weight->Multiply(x, y, context);
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
