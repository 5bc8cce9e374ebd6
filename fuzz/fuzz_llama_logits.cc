// A file of llama-perplexity --kl-divergence-base in memory: its sizes, its token ids, every row.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "evaluate/llama_logits.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const qualm::LlamaLogits logits({reinterpret_cast<const std::byte*>(data), size}, "logits");
    std::vector<float> row(logits.vocab_size());
    for (size_t chunk = 0; chunk < logits.chunks(); ++chunk) {
      for (size_t i = 0; i < logits.rows(); ++i) logits.Read(chunk, i, row);
    }
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
