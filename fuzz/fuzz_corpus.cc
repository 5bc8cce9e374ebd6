// A .jsonl corpus: bad lines are refused, and what is accepted has text.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "data/corpus.h"
#include "support/temporary_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const qualm::testing::TemporaryFolder folder;
  const auto path = folder.Write("corpus.jsonl", {reinterpret_cast<const char*>(data), size});
  try {
    const qualm::Corpus corpus = qualm::LoadCorpus(path);
    QUALM_CHECK(corpus.size_bytes() > 0 && !corpus.Joined().empty());
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
