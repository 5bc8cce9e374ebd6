// Small tokenizer.json files made here: ids computed by hand, and one test for each way to be
// broken.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "tokenize/hf_tokenizer.h"
#include "tokenize/test_support.h"

namespace qualm {
namespace {

using testing::BadInputFrom;
using ::testing::HasSubstr;
using Ids = std::vector<TokenId>;

// A Llama-like vocabulary: three special pieces, 256 bytes, characters, two merges.
Json LlamaLike() {
  Json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (int byte = 0; byte < 256; ++byte) {
    constexpr const char* kDigits = "0123456789ABCDEF";
    std::string piece = "<0x00>";
    piece[3] = kDigits[byte / 16];
    piece[4] = kDigits[byte % 16];
    vocab[piece] = 3 + byte;
  }
  int id = 259;
  for (const char* piece : {"▁", "a", "b", "ab", "▁ab"}) vocab[piece] = id++;
  return {{"added_tokens",
           {{{"id", 1}, {"content", "<s>"}, {"special", true}, {"normalized", false}},
            {{"id", 264}, {"content", "<extra>"}, {"special", false}, {"normalized", false}}}},
          {"normalizer",
           {{"type", "Sequence"},
            {"normalizers",
             {{{"type", "Prepend"}, {"prepend", "▁"}},
              {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}}},
          {"pre_tokenizer", nullptr},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single",
             {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
              {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
            {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}, {"tokens", {"<s>"}}}}}}}},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders",
             {{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}},
              {{"type", "ByteFallback"}},
              {{"type", "Fuse"}},
              {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"fuse_unk", true},
            {"byte_fallback", true},
            {"vocab", vocab},
            {"merges", {"a b", "▁ ab"}}}}};
}

std::unique_ptr<Tokenizer> Load(const Json& json, const TokenizerConfig& config = {}) {
  return ParseTokenizerJson(json.dump(), "tokenizer.json", config);
}

std::string MessageFor(const Json& json) {
  return BadInputFrom([&] { Load(json); });
}

TEST(TokenizerJson, MergesByHand) {
  auto tokenizer = Load(LlamaLike());
  EXPECT_EQ(tokenizer->Encode("ab"), (Ids{263}));
  EXPECT_EQ(tokenizer->Encode("ab abb"), (Ids{263, 263, 261}));
  EXPECT_EQ(tokenizer->Encode("é"), (Ids{259, 3 + 0xc3, 3 + 0xa9}));
  EXPECT_EQ(tokenizer->Encode(""), (Ids{}));
  EXPECT_EQ(tokenizer->vocab_size(), 265u);
  EXPECT_EQ(tokenizer->Piece(263), "▁ab");
  EXPECT_EQ(tokenizer->Piece(9999), "");
  EXPECT_EQ(tokenizer->IdOfPiece("▁ab"), 263);
  EXPECT_EQ(tokenizer->IdOfPiece("nothing"), std::nullopt);
}

TEST(TokenizerJson, MergesMayBePairs) {
  Json json = LlamaLike();
  json["model"]["merges"] = Json::array({{"a", "b"}, {"▁", "ab"}});
  EXPECT_EQ(Load(json)->Encode("ab"), (Ids{263}));
}

TEST(TokenizerJson, AddedTokensSplitTheTextAndAreNormalizedApart) {
  auto tokenizer = Load(LlamaLike());
  // Each part between them gets its own prefix.
  EXPECT_EQ(tokenizer->Encode("ab<extra>ab<s>"), (Ids{263, 264, 263, 1}));
  EXPECT_EQ(tokenizer->Decode(Ids{1, 263, 264, 263}), "ab<extra> ab");
  EXPECT_EQ(tokenizer->Decode(Ids{1, 263}, /*keep_special=*/true), "<s> ab");
}

TEST(TokenizerJson, NormalizedTokensAreFoundInTheirNormalizedSpelling) {
  Json json = LlamaLike();
  json["added_tokens"][0]["normalized"] = true;  // looked for as "▁<s>"
  auto tokenizer = Load(json);
  EXPECT_EQ(tokenizer->Encode("<s>"), (Ids{1}));
  EXPECT_EQ(tokenizer->Encode("a<s>").size(), 5u);  // ▁ a < s >
  EXPECT_EQ(tokenizer->Encode("a <s>"), (Ids{259, 260, 1}));
}

TEST(TokenizerJson, TheTemplateAsksForBosOnce) {
  auto tokenizer = Load(LlamaLike());
  EXPECT_TRUE(tokenizer->special().add_bos);
  EXPECT_FALSE(tokenizer->special().add_eos);
  EXPECT_EQ(tokenizer->special().bos, 1);
  EXPECT_EQ(tokenizer->EncodeWithSpecial("ab"), (Ids{1, 263}));
  EXPECT_EQ(tokenizer->EncodeWithSpecial("<s>ab"), (Ids{1, 263}));
  EXPECT_EQ(tokenizer->EncodeWithSpecial(""), (Ids{1}));
}

TEST(TokenizerJson, TheConfigurationNamesTokensButThePostProcessorAddsThem) {
  TokenizerConfig config;
  config.add_bos = false;
  config.add_eos = true;
  config.eos = "</s>";
  auto tokenizer = Load(LlamaLike(), config);
  EXPECT_EQ(tokenizer->EncodeWithSpecial("ab"), (Ids{1, 263}));
  EXPECT_EQ(tokenizer->special().eos, 2);
  config.eos = "<nowhere>";
  EXPECT_THAT(BadInputFrom([&] { Load(LlamaLike(), config); }),
              HasSubstr("a piece of the vocabulary as eos_token; got '<nowhere>'"));
}

TEST(TokenizerJson, APadOrUnknownTokenThatNoVocabularyHasIsAWarning) {
  TokenizerConfig config;
  config.folder = "folder";
  config.pad = "[PAD]";
  config.unk = "[UNK]";
  auto tokenizer = Load(LlamaLike(), config);
  EXPECT_EQ(tokenizer->special().pad, std::nullopt);
  ASSERT_EQ(tokenizer->warnings().size(), 2u);
  EXPECT_THAT(tokenizer->warnings()[1],
              HasSubstr("the pad_token '[PAD]' is not in the vocabulary"));
}

TEST(TokenizerJson, SpecialTokensMayBeKnownByNameOnly) {
  TokenizerConfig config;
  AddedToken token;
  token.content = "</s>";
  token.is_special = true;
  token.is_normalized = false;
  config.named_tokens.push_back(token);
  token.content = "<new>";
  config.further_tokens.push_back(token);
  auto tokenizer = Load(LlamaLike(), config);
  EXPECT_EQ(tokenizer->Encode("</s><new>"), (Ids{2, 265}));  // after <extra>
  EXPECT_EQ(tokenizer->Decode(Ids{2, 265}), "");
}

TEST(TokenizerJson, TheConfigurationAddsTokens) {
  TokenizerConfig config;
  AddedToken token;
  token.id = 300;
  token.content = "<pad>";
  token.is_special = true;
  token.is_normalized = false;
  config.added_tokens.push_back(token);
  auto tokenizer = Load(LlamaLike(), config);
  EXPECT_EQ(tokenizer->Encode("<pad>"), (Ids{300}));
  EXPECT_EQ(tokenizer->vocab_size(), 301u);
  EXPECT_EQ(tokenizer->Decode(Ids{270, 300, -5, 100000}), "");  // a hole, special, no ids at all
}

TEST(TokenizerJson, UnknownCharactersFuseOrNotAndMayBeDropped) {
  Json json = LlamaLike();
  json["model"]["byte_fallback"] = false;
  EXPECT_EQ(Load(json)->Encode("xx"), (Ids{259, 0}));
  json["model"]["fuse_unk"] = false;
  EXPECT_EQ(Load(json)->Encode("xx"), (Ids{259, 0, 0}));
  json["model"]["unk_token"] = nullptr;
  EXPECT_EQ(Load(json)->Encode("xx"), (Ids{259}));
}

TEST(TokenizerJson, BytesThatAreNoUtf8AreReadAsReplacementCharacters) {
  auto tokenizer = Load(LlamaLike());
  EXPECT_EQ(tokenizer->Encode("\xff"), tokenizer->Encode("\xef\xbf\xbd"));
}

TEST(TokenizerJson, ByteLevelWithIgnoreMergesTakesWholeWords) {
  Json json = LlamaLike();
  json["normalizer"] = nullptr;
  json["post_processor"] = nullptr;
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  json["decoder"] = {{"type", "ByteLevel"}};
  Json vocab;
  for (const char* piece : {"a", "b", "c", "Ġ", "ab", "Ġabc", "Ã", "©", "é"}) {
    vocab[piece] = vocab.size();
  }
  json["model"] = {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b"}}};
  json["added_tokens"] = Json::array();
  EXPECT_EQ(Load(json)->Encode("ab abcé"), (Ids{4, 3, 4, 2, 6, 7}));
  json["model"]["ignore_merges"] = true;
  // "é" as a piece spells byte 0xE9, not the character.
  EXPECT_EQ(Load(json)->Encode("ab abc é"), (Ids{4, 5, 3, 6, 7}));
  EXPECT_EQ(Load(json)->Decode(Ids{5, 6, 7}), " abcé");
}

TEST(TokenizerJson, RandomUtf8ComesBackAsItWas) {
  auto tokenizer = Load(LlamaLike());
  Rng rng(11);
  const char* parts[] = {"a", "b", "ab", " ", "  ", "\n", "é", "我", "🦙", "<", "s>", "\t", "x"};
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (uint64_t n = rng.Below(300); n > 0; --n) text += parts[rng.Below(13)];
    if (text.find("<s>") != std::string::npos) continue;
    ASSERT_EQ(tokenizer->Decode(tokenizer->Encode(text)), text);
  }
}

TEST(BrokenTokenizerJson, TruncatedText) {
  std::string text = LlamaLike().dump();
  for (size_t length : {size_t{0}, size_t{1}, text.size() / 2, text.size() - 1}) {
    EXPECT_THAT(BadInputFrom([&] { ParseTokenizerJson(text.substr(0, length), "t.json", {}); }),
                HasSubstr("[t.json"));
  }
}

TEST(BrokenTokenizerJson, NotAnObjectOrWithoutAModel) {
  EXPECT_THAT(MessageFor(Json::array()), HasSubstr("a JSON object; got array"));
  EXPECT_THAT(MessageFor(Json::object()), HasSubstr("the key 'model'; got none"));
  EXPECT_THAT(MessageFor({{"model", 5}}), HasSubstr("a JSON object; got number"));
}

TEST(BrokenTokenizerJson, UnknownModelsAreNamed) {
  Json json = LlamaLike();
  json["model"]["type"] = "WordPeace";
  EXPECT_THAT(MessageFor(json), HasSubstr("'WordPeace'; did you mean 'WordPiece'"));
  json["model"].erase("type");
  json["model"].erase("merges");
  json["model"].erase("vocab");
  EXPECT_THAT(MessageFor(json), HasSubstr("'unknown'"));
}

TEST(BrokenTokenizerJson, DropoutIsNamed) {
  Json json = LlamaLike();
  json["model"]["dropout"] = 0.1;
  EXPECT_THAT(MessageFor(json), HasSubstr("model.dropout] expected no dropout"));
  json["model"]["dropout"] = 0.0;
  EXPECT_EQ(MessageFor(json), "");
}

TEST(BrokenTokenizerJson, UnigramVocabularies) {
  Json json = LlamaLike();
  json["post_processor"] = nullptr;
  json["added_tokens"] = nullptr;
  const auto message = [&](const Json& vocab, const Json& unknown) {
    json["model"] = {{"type", "Unigram"}, {"vocab", vocab}, {"unk_id", unknown}};
    return MessageFor(json);
  };
  const Json good = Json::array({Json::array({"<unk>", 0}), Json::array({"a", -1.5})});
  EXPECT_EQ(message(good, 0), "");
  EXPECT_EQ(message(good, nullptr), "");
  EXPECT_THAT(message(good, 2), HasSubstr("model.unk_id] expected an id below 2; got 2"));
  EXPECT_THAT(message(Json::object(), 0), HasSubstr("a list of pieces and scores; got object"));
  for (const Json& entry : {Json("a"), Json::array({"a"}), Json::array({1, 2})}) {
    EXPECT_THAT(message(Json::array({entry}), 0), HasSubstr("vocab[0]] expected")) << entry;
  }
}

TEST(TokenizerJson, AModelWithoutAnUnknownPieceFailsOnlyWhereItIsNeeded) {
  Json json = LlamaLike();
  json["normalizer"] = json["post_processor"] = json["added_tokens"] = nullptr;
  for (const char* type : {"WordLevel", "WordPiece"}) {
    json["model"] = {{"type", type}, {"unk_token", "<what>"}, {"vocab", {{"a", 0}, {"##b", 1}}}};
    EXPECT_EQ(Load(json)->Encode("a"), (Ids{0})) << type;
    EXPECT_THAT(BadInputFrom([&] { Load(json)->Encode("x"); }), HasSubstr("got '<what>'")) << type;
  }
  json["model"] = {{"type", "Unigram"}, {"vocab", Json::array({Json::array({"a", 0})})}};
  EXPECT_EQ(Load(json)->Encode("aa"), (Ids{0, 0}));
  EXPECT_THAT(BadInputFrom([&] { Load(json)->Encode("ax"); }), HasSubstr("model.unk_id]"));
}

TEST(TokenizerJson, LongWordsTakeLinearTime) {
  Json json = LlamaLike();
  json["normalizer"] = json["post_processor"] = json["added_tokens"] = nullptr;
  const std::string text(1 << 20, 'a');
  json["model"] = {{"type", "WordPiece"},
                   {"vocab", {{"[UNK]", 0}, {"a", 1}, {"##a", 2}}},
                   {"max_input_chars_per_word", 1 << 21}};
  EXPECT_EQ(Load(json)->Encode(text).size(), text.size());
  json["model"] = {{"type", "Unigram"},
                   {"vocab", Json::array({Json::array({"a", 0}), Json::array({"aa", 1})})}};
  EXPECT_EQ(Load(json)->Encode(text).size(), text.size() / 2);
}

TEST(BrokenTokenizerJson, VocabularyEmptyMissingOrOfWrongTypes) {
  Json json = LlamaLike();
  json["model"]["vocab"] = Json::object();
  EXPECT_THAT(MessageFor(json), HasSubstr("a vocabulary; got an empty one"));
  json["model"].erase("vocab");
  EXPECT_THAT(MessageFor(json), HasSubstr("an object of pieces and ids; got null"));
  json["model"]["vocab"] = Json::array({"a", "b"});
  EXPECT_THAT(MessageFor(json), HasSubstr("an object of pieces and ids; got array"));
  json["model"]["vocab"] = {{"a", "1"}};
  EXPECT_THAT(MessageFor(json), HasSubstr("integers as ids; got \"1\" for 'a'"));
  json["model"]["vocab"] = {{"a", 1.5}};
  EXPECT_THAT(MessageFor(json), HasSubstr("integers as ids"));
}

TEST(BrokenTokenizerJson, IdsTwiceOrOutOfRange) {
  Json json = LlamaLike();
  json["model"]["vocab"]["a"] = 261;
  EXPECT_THAT(MessageFor(json), HasSubstr("id 261 for 'a' and 'b'"));
  for (int64_t id : {int64_t{-1}, int64_t{1} << 22, int64_t{1} << 62}) {
    json["model"]["vocab"]["a"] = id;
    EXPECT_THAT(MessageFor(json), HasSubstr("token ids from 0 to 4194303"));
  }
  json["model"]["vocab"]["a"] = uint64_t{1} << 63;
  EXPECT_THAT(MessageFor(json), HasSubstr("token ids from 0 to 4194303"));
}

TEST(BrokenTokenizerJson, APieceTwice) {
  std::string text = R"({"model": {"type": "BPE", "vocab": {"a": 0, "a": 1}, "merges": []}})";
  EXPECT_NE(BadInputFrom([&] { ParseTokenizerJson(text, "t.json", {}); }), "");
}

TEST(BrokenTokenizerJson, MergesOfUnknownPieces) {
  for (const char* merge : {"a z", "z a", "b a", "a "}) {  // "ba" is no piece
    Json json = LlamaLike();
    json["model"]["merges"].push_back(merge);
    EXPECT_THAT(MessageFor(json), HasSubstr("merges[2]] expected pieces of the vocabulary"))
        << merge;
  }
}

TEST(BrokenTokenizerJson, MergesOfWrongShape) {
  for (const Json& merge : {Json("ab"), Json("a b c"), Json(5), Json({"a"}), Json({"a", 5}),
                            Json({"a", "b", "c"}), Json(nullptr)}) {
    Json json = LlamaLike();
    json["model"]["merges"].push_back(merge);
    EXPECT_THAT(MessageFor(json), HasSubstr("expected merges \"left right\"")) << merge;
  }
  Json json = LlamaLike();
  json["model"]["merges"] = {{"a", "b"}, 3};
  EXPECT_NE(MessageFor(json), "");
  json["model"]["merges"] = "a b";
  EXPECT_THAT(MessageFor(json), HasSubstr("merges] expected a list; got string"));
}

TEST(TokenizerJson, UnknownTokenAndBytePiecesMayBeMissing) {
  Json json = LlamaLike();
  json["model"]["unk_token"] = "<what>";
  json["model"]["vocab"].erase("<0x41>");
  // Both matter only to a text that needs them.
  EXPECT_EQ(Load(json)->Encode("ab"), (Ids{263}));
  EXPECT_THAT(BadInputFrom([&] { Load(json)->Encode("A"); }),
              HasSubstr("a piece of the vocabulary, which this text needs; got '<what>'"));
  json["model"]["unk_token"] = "<unk>";
  EXPECT_EQ(Load(json)->Encode("A"), (Ids{259, 0}));
}

TEST(BrokenTokenizerJson, AddedTokensThatClash) {
  Json json = LlamaLike();
  json["added_tokens"][0]["id"] = 5;
  EXPECT_THAT(MessageFor(json), HasSubstr("the vocabulary's id 1 for '<s>'; got 5"));
  json = LlamaLike();
  json["added_tokens"][1]["id"] = 260;
  EXPECT_THAT(MessageFor(json), HasSubstr("id 260 for 'a' and '<extra>'"));
  json["added_tokens"][1]["id"] = -1;
  EXPECT_THAT(MessageFor(json), HasSubstr("-1 for '<extra>'"));
  json["added_tokens"][1] = "<extra>";
  EXPECT_NE(MessageFor(json), "");
  json["added_tokens"] = Json::object();
  EXPECT_THAT(MessageFor(json), HasSubstr("added_tokens] expected a list; got object"));
}

TEST(BrokenTokenizerJson, TemplatesOfMoreThanOneText) {
  Json bos = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  Json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  for (const Json& single :
       {Json::array({bos}), Json::array({text, text}), Json::array({text, 5})}) {
    Json json = LlamaLike();
    json["post_processor"]["single"] = single;
    EXPECT_THAT(MessageFor(json), HasSubstr("a template of special tokens around one text"))
        << single;
  }
  Json json = LlamaLike();
  json["post_processor"]["special_tokens"]["<s>"]["ids"] = {1, 2};
  EXPECT_EQ(Load(json)->EncodeWithSpecial("ab"), (Ids{1, 2, 263}));
  json["post_processor"]["special_tokens"]["<s>"]["ids"] = {999};
  EXPECT_THAT(MessageFor(json), HasSubstr("ids of the vocabulary; got 999"));
  json["post_processor"]["special_tokens"]["<s>"]["ids"] = {-1};
  EXPECT_THAT(MessageFor(json), HasSubstr("got -1"));
  json["post_processor"]["special_tokens"] = nullptr;
  EXPECT_THAT(MessageFor(json), HasSubstr("a list of ids for '<s>'"));
  json["post_processor"]["single"] = "$A";
  EXPECT_THAT(MessageFor(json), HasSubstr("a list 'single'"));
}

TEST(BrokenTokenizerJson, PostProcessorsNotImplementedAreNamed) {
  Json json = LlamaLike();
  json["post_processor"] = {{"type", "Roberta"}};
  EXPECT_THAT(MessageFor(json), HasSubstr("'Roberta', which is not supported"));
  json["post_processor"] = {{"type", "RobertaProcessing"}, {"cls", {"<s>", 1}}};
  EXPECT_THAT(MessageFor(json), HasSubstr("a pair of token and id as 'sep'; got null"));
  json["post_processor"]["sep"] = {"</s>", 2};
  EXPECT_EQ(Load(json)->EncodeWithSpecial("ab"), (Ids{1, 263, 2}));
  json["post_processor"] = {{"type", "Sequence"}, {"processors", {{{"type", "ByteLevel"}}}}};
  EXPECT_EQ(MessageFor(json), "");
  json["post_processor"] = {{"type", "Sequence"}};
  EXPECT_THAT(MessageFor(json), HasSubstr("a list 'processors'"));
}

TEST(BrokenTokenizerJson, ABadExpressionIsNamedWithItsPlace) {
  Json json = LlamaLike();
  json["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"Regex", "(a"}}}, {"behavior", "Isolated"}};
  EXPECT_THAT(MessageFor(json),
              HasSubstr("[tokenizer.json.pre_tokenizer.Split] expected a regular"));
}

}  // namespace
}  // namespace qualm
