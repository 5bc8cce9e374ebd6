// One vocabulary in two files, read by two of our paths, over real text: the ids must be the same.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"
#include "base/strings.h"
#include "support/shared_data.h"
#include "tokenize/test_support.h"
#include "tokenize/tokenizer.h"

namespace qualm {
namespace {

constexpr const char* kEnglish = "datasets/text-domains/warandpeace.txt";
constexpr const char* kChinese = "datasets/text-domains/COVID-Dialogue-Dataset-Chinese.txt";
constexpr const char* kCode = "datasets/calib-exllamav2/code.utf8";

// Written-out special tokens mean something in tokenizer.json, where they are looked for with the
// space that the normalizer puts before them, and nothing in a SentencePiece model.
bool NamesSpecialToken(std::string_view text) {
  for (std::string_view token : {"<s>", "</s>", "<unk>"}) {
    if (text.starts_with(token)) return true;
    for (std::string_view before : {" ", "▁"}) {
      if (text.find(StrCat(before, token)) != std::string_view::npos) return true;
    }
  }
  return false;
}

void ExpectSameIdsOnLines(const Tokenizer& a, const Tokenizer& b, const std::string& text,
                          size_t* bytes) {
  for (const std::string& line : Split(text, '\n')) {
    if (NamesSpecialToken(line)) continue;
    ASSERT_EQ(a.Encode(line), b.Encode(line)) << line;
    *bytes += line.size();
  }
}

TEST(TokenizerAgreement, LlamaTokenizerJsonAndSentencePieceModelAgreeOnEveryLine) {
  QUALM_SHARED_OR_SKIP(folder, "tokenizers");
  auto spm = LoadTokenizer(folder / "llama2-spm");
  auto json = LoadTokenizer(folder / "llama-hf");
  size_t bytes = 0;
  for (const char* name : {kEnglish, kChinese, kCode}) {
    QUALM_SHARED_OR_SKIP(path, name);
    ExpectSameIdsOnLines(*spm, *json, ReadFile(path), &bytes);
  }
  EXPECT_GT(bytes, 2'000'000u);
}

TEST(TokenizerAgreement, LlamaTokenizerJsonAndSentencePieceModelAgreeOnWholeTexts) {
  QUALM_SHARED_OR_SKIP(folder, "tokenizers");
  auto spm = LoadTokenizer(folder / "llama2-spm");
  auto json = LoadTokenizer(folder / "llama-hf");
  for (const char* name : {kEnglish, kChinese, kCode}) {
    QUALM_SHARED_OR_SKIP(path, name);
    std::string text = ReadFile(path);
    ASSERT_FALSE(NamesSpecialToken(text)) << name;
    EXPECT_EQ(spm->Encode(text), json->Encode(text)) << name;
  }
}

TEST(TokenizerAgreement, Gpt2TokenizerJsonAgreesWithVocabAndMerges) {
  QUALM_SHARED_OR_SKIP(folder, "tokenizers/gpt2");
  auto json = LoadTokenizer(folder / "tokenizer.json");
  auto merges = LoadTokenizer(folder / "vocab.json");
  for (const char* name : {kEnglish, kChinese, kCode}) {
    QUALM_SHARED_OR_SKIP(path, name);
    std::string text = ReadFile(path);
    EXPECT_EQ(json->Encode(text), merges->Encode(text)) << name;
  }
}

// Byte-level and byte-fallback vocabularies lose nothing of valid UTF-8.
TEST(TokenizerAgreement, RealTextsComeBackAsTheyWere) {
  QUALM_SHARED_OR_SKIP(folder, "tokenizers");
  for (const char* name : {"gpt2", "llama2-spm", "llama-hf"}) {
    auto tokenizer = LoadTokenizer(folder / name);
    for (const char* text_name : {kChinese, kCode}) {
      QUALM_SHARED_OR_SKIP(path, text_name);
      std::string text = ReadFile(path);
      ASSERT_TRUE(IsValidUtf8(text)) << text_name;
      // U+2581 is the spelling of a space in the Llama vocabulary: the one character not kept.
      for (size_t at; (at = text.find("▁")) != std::string::npos;) text.replace(at, 3, "_");
      EXPECT_TRUE(tokenizer->Decode(tokenizer->Encode(text)) == text) << name << " " << text_name;
    }
  }
}

}  // namespace
}  // namespace qualm
