#include "tokenize/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tokenize/test_support.h"

namespace qualm {
namespace {

using testing::BadInputFrom;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Words(const PreTokenizer& pre_tokenizer, std::string_view text,
                               bool starts_text = true) {
  std::vector<Word> words = {{text, starts_text}};
  std::deque<std::string> storage;
  pre_tokenizer.Apply(words, storage);
  std::vector<std::string> out;
  for (const Word& word : words) out.emplace_back(word.text);
  return out;
}

std::vector<std::string> Words(const std::string& json, std::string_view text,
                               bool starts_text = true) {
  return Words(PreTokenizer::Parse(ParseJson(json, "test"), "pre_tokenizer"), text, starts_text);
}

std::string Split(const char* behavior, bool invert = false) {
  return StrCat(R"({"type": "Split", "pattern": {"String": "-"}, "behavior": ")", behavior,
                R"(", "invert": )", invert ? "true}" : "false}");
}

TEST(PreTokenizer, NoneLeavesOneWord) { EXPECT_THAT(Words("null", "a b"), ElementsAre("a b")); }

// The example of the Hugging Face documentation of SplitDelimiterBehavior.
TEST(PreTokenizer, EveryBehaviorSplitsAsDocumented) {
  const char* text = "the-final--countdown";
  EXPECT_THAT(Words(Split("Removed"), text), ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(Words(Split("Isolated"), text),
              ElementsAre("the", "-", "final", "-", "-", "countdown"));
  EXPECT_THAT(Words(Split("MergedWithPrevious"), text),
              ElementsAre("the-", "final-", "-", "countdown"));
  EXPECT_THAT(Words(Split("MergedWithNext"), text),
              ElementsAre("the", "-final", "-", "-countdown"));
  EXPECT_THAT(Words(Split("Contiguous"), text),
              ElementsAre("the", "-", "final", "--", "countdown"));
}

TEST(PreTokenizer, InvertExchangesMatchesAndTheRest) {
  EXPECT_THAT(Words(Split("Removed", true), "a-b--c"), ElementsAre("-", "-", "-"));
  EXPECT_THAT(Words(Split("MergedWithNext", true), "a-b"), ElementsAre("a-", "b"));
}

TEST(PreTokenizer, Gpt2SplitsWordsNumbersAndSpaces) {
  PreTokenizer gpt2 = PreTokenizer::Gpt2(/*add_prefix_space=*/false);
  EXPECT_TRUE(gpt2.is_byte_level());
  EXPECT_THAT(Words(gpt2, "Hello, it's  2024!\n x"),
              ElementsAre("Hello", ",", " it", "'s", " ", " 2024", "!", "\n", " x"));
  EXPECT_THAT(Words(PreTokenizer::Gpt2(true), "a b"), ElementsAre(" a", " b"));
  EXPECT_THAT(Words(PreTokenizer::Gpt2(true), " a"), ElementsAre(" a"));
}

TEST(PreTokenizer, Qwen2TakesDigitsOneByOne) {
  EXPECT_THAT(Words(PreTokenizer::Qwen2(false), "I'M 42 a.b\n\n"),
              ElementsAre("I", "'M", " ", "4", "2", " a", ".b", "\n\n"));
}

TEST(PreTokenizer, MetaspaceMarksAndSplits) {
  const char* always = R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"})";
  EXPECT_THAT(Words(always, "Hey   friend"), ElementsAre("▁Hey", "▁", "▁", "▁friend"));
  EXPECT_THAT(Words(always, " a"), ElementsAre("▁a"));
  const char* first =
      R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false})";
  EXPECT_THAT(Words(first, "a b"), ElementsAre("▁a▁b"));
  EXPECT_THAT(Words(first, "a b", /*starts_text=*/false), ElementsAre("a▁b"));
  const char* old = R"({"type": "Metaspace", "replacement": "_", "add_prefix_space": false})";
  EXPECT_THAT(Words(old, "a b"), ElementsAre("a", "_b"));
}

TEST(PreTokenizer, OnlyTheFirstWordStartsTheText) {
  const char* json = R"({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"},
      {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}]})";
  EXPECT_THAT(Words(json, "a b c"), ElementsAre("▁a", "b", "c"));
}

TEST(PreTokenizer, SequencesRunInOrder) {
  const char* json = R"({"type": "Sequence", "pretokenizers": [
      {"type": "Digits", "individual_digits": true},
      {"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "MergedWithPrevious"},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})";
  EXPECT_THAT(Words(json, "ab 12\n c"), ElementsAre("ab ", "1", "2", "\n ", "c"));
}

TEST(PreTokenizer, DigitsPunctuationAndWhitespaceSplit) {
  EXPECT_THAT(Words(R"({"type": "Digits", "individual_digits": false})", "a12b"),
              ElementsAre("a", "12", "b"));
  EXPECT_THAT(Words(R"({"type": "Punctuation"})", "a,b。$"), ElementsAre("a", ",", "b", "。", "$"));
  EXPECT_THAT(Words(R"({"type": "Whitespace"})", "a+ bc_1"), ElementsAre("a", "+", "bc_1"));
  // Its \\w is that of Rust's regex crate: no superscripts, but circled letters and joiners.
  EXPECT_THAT(Words(R"({"type": "Whitespace"})", "x² aⒷ a\u200db"),
              ElementsAre("x", "²", "aⒷ", "a\u200db"));
  EXPECT_THAT(Words(R"({"type": "WhitespaceSplit"})", " a  b+ "), ElementsAre("a", "b+"));
}

TEST(PreTokenizer, OthersAreRefusedByName) {
  for (const char* type : {"Sentences", "Bert"}) {
    EXPECT_THAT(BadInputFrom([&] { Words(StrCat(R"({"type": ")", type, "\"}"), ""); }),
                HasSubstr(StrCat("'", type, "', which is not supported")));
  }
}

TEST(PreTokenizer, WhatFollowsByteLevelSeesTheSpelledBytes) {
  EXPECT_THAT(Words(R"({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"},
                        {"type": "CharDelimiterSplit", "delimiter": "Ġ"}]})",
                    "é b"),
              ElementsAre("Ã©", "b"));
}

TEST(PreTokenizer, BrokenDescriptionsAreRefused) {
  for (const char* json :
       {R"({"type": "Split", "behavior": "Isolated"})", R"({"type": "Sequence"})",
        R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Isolatd"})",
        R"({"type": "Split", "pattern": {"String": "a"}})",
        R"({"type": "Metaspace", "replacement": "ab"})", R"({"type": "CharDelimiterSplit"})",
        R"({"type": "CharDelimiterSplit", "delimiter": "ab"})",
        R"({"type": "FixedLength", "length": 0})",
        R"({"type": "Metaspace", "replacement": "a", "prepend_scheme": "sometimes"})",
        R"({"type": "Metaspace", "replacement": "a", "prepend_scheme": "always",
            "add_prefix_space": false})",
        R"({"type": "ByteLevel", "use_regex": 1})"}) {
    EXPECT_NE(BadInputFrom([&] { Words(json, ""); }), "") << json;
  }
}

}  // namespace
}  // namespace qualm
