// Small tokenizers and whole folders against what the tokenizers library and transformers made of
// them: ids, ids with the tokens around the text, decoded texts.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "io/json.h"
#include "support/shared_data.h"
#include "tokenize/test_support.h"
#include "tokenize/tokenizer.h"

namespace qualm {
namespace {

using Ids = std::vector<TokenId>;

Ids WithTemplate(const Tokenizer& tokenizer, const Ids& ids) {
  Ids out = tokenizer.TokensBefore();
  const Ids after = tokenizer.TokensAfter();
  out.insert(out.end(), ids.begin(), ids.end());
  out.insert(out.end(), after.begin(), after.end());
  return out;
}

// Two texts that differ only in a kind of character are easy to miss; JSON escapes show it.
std::string Shown(const Json& text) {
  return text.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
}

// `item` may hold "decoded", else it is `fallback`, and "skipped", else it is the same.
void CheckDecoding(const Tokenizer& tokenizer, const Ids& ids, const Json& item,
                   const std::string& fallback) {
  const Json decoded = item.value("decoded", Json(fallback));
  const Json skipped = item.value("skipped", decoded);
  const std::string kept = tokenizer.Decode(ids, /*keep_special=*/true);
  const std::string left_out = tokenizer.Decode(ids);
  // Null: the library stops, and anything but a crash will do.
  EXPECT_TRUE(decoded.is_null() || Json(kept) == decoded) << Shown(kept) << " " << Shown(item);
  EXPECT_TRUE(skipped.is_null() || Json(left_out) == skipped) << Shown(left_out) << Shown(item);
}

void CheckCase(const Tokenizer& tokenizer, const Json& item) {
  const auto text = item["text"].get<std::string>();
  // Where the file asks for truncation, the library obeys and transformers does not; so do we not.
  const char* special_key = item.contains("transformers") ? "transformers" : "special";
  const Ids special = item.value(special_key, item["ids"]).get<Ids>();
  const Ids ids = tokenizer.Encode(text);
  EXPECT_EQ(WithTemplate(tokenizer, ids), special) << Shown(text);
  if (!item.contains("transformers")) {
    EXPECT_EQ(ids, item["ids"].get<Ids>()) << Shown(text);
  }

  const Ids decoded_ids = item.value("special", item["ids"]).get<Ids>();
  CheckDecoding(tokenizer, decoded_ids, item, text);
}

void CheckFolder(const std::filesystem::path& folder) {
  SCOPED_TRACE(folder.filename().string());
  const Json golden = ReadJsonFile(folder / "vectors.json");
  const auto tokenizer = LoadTokenizer(folder);
  ASSERT_GT(golden["cases"].size(), 0u);
  for (const Json& item : golden["cases"]) CheckCase(*tokenizer, item);

  for (const Json& item : golden["decode"]) {
    CheckDecoding(*tokenizer, item["ids"].get<Ids>(), item, "");
  }
}

// Checks every folder below `root` and returns how many there were.
size_t CheckFoldersIn(const std::filesystem::path& root) {
  std::set<std::filesystem::path> folders;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (entry.is_directory()) folders.insert(entry.path());
  }
  for (const auto& folder : folders) {
    EXPECT_NO_THROW(CheckFolder(folder)) << folder;
  }
  return folders.size();
}

TEST(TokenizerVectors, EveryTokenizerJsonEqualsTheLibrary) {
  QUALM_SHARED_OR_SKIP(root, "golden/tokenizers");
  EXPECT_GT(CheckFoldersIn(root), 0u);
}

TEST(TokenizerVectors, EveryFolderEqualsTransformers) {
  QUALM_SHARED_OR_SKIP(root, "golden/tokenizer-folders");
  EXPECT_GT(CheckFoldersIn(root), 0u);
}

}  // namespace
}  // namespace qualm
