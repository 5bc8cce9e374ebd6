// Real tokenizers against the ids that their own programs gave.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "io/json.h"
#include "support/shared_data.h"
#include "tokenize/test_support.h"
#include "tokenize/tokenizer.h"

namespace qualm {
namespace {

using testing::ReadTokenVectors;

void ExpectVectors(const Tokenizer& tokenizer, const std::filesystem::path& stem) {
  auto vectors = ReadTokenVectors(stem);
  ASSERT_GT(vectors.size(), 40u);
  for (const auto& vector : vectors) {
    EXPECT_EQ(tokenizer.Encode(vector.text), vector.ids) << "text: " << vector.text;
    EXPECT_EQ(tokenizer.Decode(vector.ids), vector.text);
  }
}

TEST(TokenizerGolden, LlamaSentencePieceModelPassesItsVectors) {
  QUALM_SHARED_OR_SKIP(folder, "tokenizers");
  auto tokenizer = LoadTokenizer(folder / "llama2-spm");
  EXPECT_EQ(tokenizer->kind(), "sentencepiece-bpe");
  EXPECT_EQ(tokenizer->vocab_size(), 32000u);
  EXPECT_TRUE(tokenizer->special().add_bos);
  EXPECT_EQ(tokenizer->special().bos, 1);
  EXPECT_EQ(tokenizer->special().eos, 2);
  ExpectVectors(*tokenizer, folder / "ggml-vocab/ggml-vocab-llama-spm.gguf");
}

TEST(TokenizerGolden, LlamaTokenizerJsonPassesItsVectors) {
  QUALM_SHARED_OR_SKIP(folder, "tokenizers");
  auto tokenizer = LoadTokenizer(folder / "llama-hf");
  EXPECT_EQ(tokenizer->kind(), "tokenizer.json-bpe");
  EXPECT_TRUE(tokenizer->special().add_bos);
  EXPECT_EQ(tokenizer->special().bos, 1);
  ExpectVectors(*tokenizer, folder / "ggml-vocab/ggml-vocab-llama-spm.gguf");
}

TEST(TokenizerGolden, Gpt2TokenizerJsonPassesItsVectors) {
  QUALM_SHARED_OR_SKIP(folder, "tokenizers");
  auto tokenizer = LoadTokenizer(folder / "gpt2/tokenizer.json");
  EXPECT_FALSE(tokenizer->special().add_bos);
  ExpectVectors(*tokenizer, folder / "ggml-vocab/ggml-vocab-gpt-2.gguf");
}

TEST(TokenizerGolden, Gpt2VocabAndMergesPassTheirVectors) {
  QUALM_SHARED_OR_SKIP(folder, "tokenizers");
  auto tokenizer = LoadTokenizer(folder / "gpt2/vocab.json");
  EXPECT_EQ(tokenizer->kind(), "vocab.json+merges.txt-bpe");
  EXPECT_EQ(tokenizer->special().eos, 50256);
  ExpectVectors(*tokenizer, folder / "ggml-vocab/ggml-vocab-gpt-2.gguf");
}

std::filesystem::path FindText(const std::string& name) {
  for (const char* folder : {"text", "datasets/wikitext-2-raw-v1", "datasets/ptb"}) {
    auto path = testing::SharedRoot() / folder / name;
    if (std::filesystem::exists(path)) return path;
  }
  return {};
}

// The first `characters` characters of a UTF-8 text.
std::string_view FirstCharacters(std::string_view text, size_t characters) {
  size_t end = 0;
  for (; end < text.size(); ++end) {
    bool starts_character = (static_cast<unsigned char>(text[end]) & 0xc0) != 0x80;
    if (starts_character && characters-- == 0) break;
  }
  return text.substr(0, end);
}

class ReferenceRun : public ::testing::TestWithParam<const char*> {};

TEST_P(ReferenceRun, TextsGiveTheReferenceIdsAndBack) {
  QUALM_SHARED_OR_SKIP(root, "golden/models");
  auto tokenizer = LoadTokenizer(testing::SharedRoot() / "models" / GetParam());
  Json golden = ReadJsonFile(root / (std::string(GetParam()) + ".json"));
  size_t compared = 0;
  for (const Json& item : golden["cases"]) {
    auto ids = item["ids"].get<std::vector<TokenId>>();
    // Where the file has no text, the ids must be what their own text gives.
    std::string text =
        item.contains("text") ? item["text"].get<std::string>() : tokenizer->Decode(ids);
    EXPECT_EQ(tokenizer->EncodeWithSpecial(text), ids) << text;
    if (item.contains("greedy_text")) {
      EXPECT_EQ(tokenizer->Decode(item["greedy_48"].get<std::vector<TokenId>>()),
                item["greedy_text"].get<std::string>());
    }
    ++compared;
  }
  EXPECT_GE(compared, 2u);
}

class ReferenceTexts : public ReferenceRun {};

TEST_P(ReferenceTexts, WholeTextsBeginWithTheReferenceIds) {
  QUALM_SHARED_OR_SKIP(root, "golden/models");
  auto tokenizer = LoadTokenizer(testing::SharedRoot() / "models" / GetParam());
  Json golden = ReadJsonFile(root / (std::string(GetParam()) + ".json"));
  for (const Json& item : golden["perplexity"]) {
    auto path = FindText(item["text"].get<std::string>());
    if (path.empty()) GTEST_SKIP() << "shared data absent: " << item["text"];
    std::string text = ReadFile(path);
    auto first = item["first_ids"].get<std::vector<TokenId>>();
    std::vector<TokenId> ids =
        tokenizer->EncodeWithSpecial(FirstCharacters(text, item["characters"].get<size_t>()));
    ASSERT_GE(ids.size(), first.size());
    ids.resize(first.size());
    EXPECT_EQ(ids, first) << path;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ReferenceRun,
                         ::testing::Values("qualm-bilingual", "stories260K", "tinystories-656K"));
INSTANTIATE_TEST_SUITE_P(Models, ReferenceTexts,
                         ::testing::Values("qualm-bilingual", "stories260K"));

}  // namespace
}  // namespace qualm
