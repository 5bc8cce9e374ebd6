// A GGUF file in memory: its metadata and tensors, the model as Hugging Face has it, every weight,
// and the tokenizer.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/gguf_model.h"
#include "tokenize/gguf_tokenizer.h"

namespace {

void Run(std::span<const std::byte> bytes) {
  const auto model = qualm::GgufModel::Of(qualm::GgufFile::FromBytes(bytes, "gguf"));
  const qualm::TensorFile floats = qualm::GgufFloatTensors(model);
  const auto layers = qualm::OpenGgufLayers(model, {});
  for (const qualm::StoredLayer& layer : layers->layers()) {
    (void)qualm::Dequantize(layers->Read(layer));
  }
  if (!qualm::HasGgufTokenizer(model->file())) return;
  const auto tokenizer = qualm::MakeGgufTokenizer(model->file());
  (void)tokenizer->Decode(tokenizer->Encode("A text of 12 words, isn't it?"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    Run({reinterpret_cast<const std::byte*>(data), size});
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
