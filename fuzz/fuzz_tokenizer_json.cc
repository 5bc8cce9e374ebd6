// Arbitrary bytes as tokenizer.json: bad input is refused; what is accepted encodes any text and
// decodes what it gave.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "check_ids.h"
#include "tokenize/hf_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer = qualm::ParseTokenizerJson(text, "fuzz.json", {});
    for (std::string_view sample : {text, std::string_view("a b\n1 \xc3\xa9\xff")}) {
      const std::vector<qualm::TokenId> ids = tokenizer->Encode(sample);
      qualm::fuzz::CheckIds(*tokenizer, ids);
      tokenizer->Decode(ids, /*keep_special=*/true);
      tokenizer->EncodeWithSpecial(sample.substr(0, 10));
    }
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
