// A whole quantized folder: config.json, the list of layers in the manifest, the index and one file
// of tensors, each between zero bytes. The manifest's hash is made to fit, so that what lies behind
// it is reached. What is accepted runs.
#include <array>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "artefact/manifest.h"
#include "base/error.h"
#include "model/model.h"
#include "parts.h"
#include "support/temporary_folder.h"
#include "support/test_context.h"

namespace {

void Run(const qualm::testing::TemporaryFolder& folder, std::string_view layers) {
  static qualm::testing::TestContext context(1);
  qualm::Manifest manifest;
  manifest.recipe_json = "{}";
  const qualm::Json list = qualm::ParseJson(layers, "layers");
  if (!list.is_array()) return;
  for (const qualm::Json& layer : list) {
    manifest.layers.push_back(qualm::LayerRecordFromJson(layer, "layers"));
  }
  qualm::WriteManifest(folder.path(), manifest);
  const qualm::Model model = qualm::LoadModel(folder.path(), {}, context);
  qualm::KvCache cache = model.decoder->MakeCache(2);
  const std::array<qualm::TokenId, 2> ids = {0, 0};
  const qualm::SequenceSlice slice = {&cache, ids};
  const qualm::Matrix hidden = model.decoder->Forward({&slice, 1}, context);
  qualm::Matrix logits(hidden.rows(), model.decoder->plan.vocab_size());
  model.decoder->Logits(hidden, logits, context);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const qualm::testing::TemporaryFolder folder;
  const auto parts = qualm::fuzz::SplitParts<4>(data, size);
  folder.Write("config.json", parts[0]);
  folder.Write("model.safetensors.index.json", parts[2]);
  folder.Write("block.safetensors", parts[3]);
  try {
    Run(folder, parts[1]);
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  } catch (const std::bad_alloc&) {  // sizes that no machine has; refused without harm
  }
  return 0;
}
