// The files of a tokenizer that consists of several: vocab.json, merges.txt and what stands beside
// any tokenizer (tokenizer_config.json, special_tokens_map.json, added_tokens.json). A part that is
// empty is a file that is not there.
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "base/error.h"
#include "check_ids.h"
#include "parts.h"
#include "support/temporary_folder.h"
#include "tokenize/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const qualm::testing::TemporaryFolder folder;
  constexpr std::array<const char*, 5> kNames = {"vocab.json", "merges.txt",
                                                 "tokenizer_config.json", "special_tokens_map.json",
                                                 "added_tokens.json"};
  const auto parts = qualm::fuzz::SplitParts<kNames.size()>(data, size);
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (parts[i].empty()) {
      std::filesystem::remove(folder / kNames[i]);
    } else {
      folder.Write(kNames[i], parts[i]);
    }
  }
  try {
    const auto tokenizer = qualm::LoadTokenizer(folder.path());
    const std::vector<qualm::TokenId> ids = tokenizer->EncodeWithSpecial("a b\n1 \xc3\xa9\xff");
    qualm::fuzz::CheckIds(*tokenizer, ids);
    tokenizer->Decode(ids, /*keep_special=*/true);
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
