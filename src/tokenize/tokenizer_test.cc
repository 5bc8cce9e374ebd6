// Folders and what stands in them; streaming.
#include "tokenize/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/rng.h"
#include "tokenize/piece_decoder.h"
#include "tokenize/test_support.h"
#include "tokenize/tokenizer_files.h"

namespace qualm {
namespace {

using testing::BadInputFrom;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using Ids = std::vector<TokenId>;

constexpr const char* kVocab = R"({"a": 0, "b": 1, "ab": 2, "Ġ": 3, "1": 4, "<|endoftext|>": 5,
                                   "Ì": 6, "ģ": 7, "Ã": 8, "¡": 9})";
constexpr const char* kMerges = "#version: 0.2\na b\n";

// Byte pieces, a, b, ab and the visible blank.
SentencePieceModel SmallModel() {
  using Type = SentencePieceModel::PieceType;
  SentencePieceModel model;
  model.type = SentencePieceModel::Type::kBpe;
  model.byte_fallback = true;
  model.remove_extra_whitespaces = false;
  model.pieces = {
      {"<unk>", 0, Type::kUnknown}, {"<s>", 0, Type::kControl}, {"</s>", 0, Type::kControl}};
  for (int byte = 0; byte < 256; ++byte) {
    model.pieces.push_back({FallbackPieceOfByte(static_cast<unsigned char>(byte)), 0, Type::kByte});
  }
  model.pieces.push_back({"ab", -1, Type::kNormal});
  for (const char* piece : {"▁", "a", "b"}) model.pieces.push_back({piece, -9, Type::kNormal});
  return model;
}

TEST(LoadTokenizer, VocabAndMergesMakeAGpt2Tokenizer) {
  TemporaryFolder folder;
  folder.Write("vocab.json", kVocab);
  folder.Write("merges.txt", kMerges);
  auto tokenizer = LoadTokenizer(folder.path());
  EXPECT_EQ(tokenizer->Encode("ab a11<|endoftext|>"), (Ids{2, 3, 0, 4, 4, 5}));
  EXPECT_EQ(tokenizer->Decode(Ids{2, 3, 0, 5}), "ab a");
  EXPECT_EQ(tokenizer->special().eos, 5);
  EXPECT_FALSE(tokenizer->special().add_bos);
}

TEST(LoadTokenizer, TheClassChoosesHowWordsAreSplit) {
  TemporaryFolder folder;
  folder.Write("vocab.json", kVocab);
  folder.Write("merges.txt", "a b\r\n");
  folder.Write("tokenizer_config.json",
               R"({"tokenizer_class": "Qwen2Tokenizer", "eos_token": {"content": "<|endoftext|>"},
                   "bos_token": null, "add_bos_token": false})");
  auto tokenizer = LoadTokenizer(folder.path());
  // NFC turns a + U+0301 into á (C3 A1); GPT-2 would leave it.
  EXPECT_EQ(tokenizer->Encode("ab a\u0301"), (Ids{2, 3, 8, 9}));
  EXPECT_EQ(tokenizer->special().eos, 5);
  EXPECT_EQ(tokenizer->special().bos, std::nullopt);
  folder.Write("tokenizer_config.json", R"({"tokenizer_class": "Qwen3Tokenizer"})");
  EXPECT_THAT(BadInputFrom([&] { LoadTokenizer(folder.path()); }),
              HasSubstr("'Qwen3Tokenizer'; did you mean 'Qwen2Tokenizer'"));
}

TEST(LoadTokenizer, APrefixSpaceIsTheConfigurationsChoice) {
  TemporaryFolder folder;
  folder.Write("vocab.json", kVocab);
  folder.Write("merges.txt", kMerges);
  folder.Write("tokenizer_config.json",
               R"({"tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": true})");
  EXPECT_EQ(LoadTokenizer(folder.path())->Encode("ab"), (Ids{3, 2}));
}

TEST(LoadTokenizer, BrokenMergesNameTheirLine) {
  TemporaryFolder folder;
  folder.Write("vocab.json", kVocab);
  for (const char* line : {"ab", "a b c", "\xff b"}) {
    folder.Write("merges.txt", StrCat("#version\na b\n", line, "\n"));
    EXPECT_THAT(BadInputFrom([&] { LoadTokenizer(folder.path()); }), HasSubstr("merges.txt:3]"));
  }
  folder.Write("merges.txt", "a z\n");
  EXPECT_THAT(BadInputFrom([&] { LoadTokenizer(folder.path()); }), HasSubstr("'z' in 'a z'"));
}

TEST(LoadTokenizer, MissingFilesAreNamed) {
  TemporaryFolder folder;
  EXPECT_THAT(BadInputFrom([&] { LoadTokenizer(folder.path()); }),
              HasSubstr("tokenizer.json, tokenizer.model, spiece.model"));
  EXPECT_THAT(BadInputFrom([&] { LoadTokenizer(folder.path() / "tokenizer.json"); }),
              HasSubstr("No such file"));
  folder.Write("vocab.json", kVocab);
  EXPECT_THAT(BadInputFrom([&] { LoadTokenizer(folder.path()); }), HasSubstr("merges.txt"));
  folder.Write("readme.txt", "");
  EXPECT_THAT(BadInputFrom([&] { LoadTokenizer(folder.path() / "readme.txt"); }),
              HasSubstr("got readme.txt"));
}

TEST(LoadTokenizer, ARankFileMergesByRank) {
  TemporaryFolder folder;
  // a, b, c, ab, bc, abc
  folder.Write("tokenizer.model", "YQ== 0\nYg== 1\nYw== 2\nYmM= 3\nYWI= 4\nYWJj 5\n");
  auto tokenizer = LoadTokenizer(folder.path());
  EXPECT_EQ(tokenizer->kind(), "rank-file-bpe");
  EXPECT_EQ(tokenizer->Encode("abc"), (Ids{5}));  // a whole word
  EXPECT_EQ(tokenizer->Encode("abcb"), (Ids{5, 1}));
  EXPECT_EQ(tokenizer->Encode("abb"), (Ids{4, 1}));
  EXPECT_EQ(tokenizer->Decode(Ids{5, 1}), "abcb");

  folder.Write("tokenizer.model", "YQ== 0\nYg= 1\n");
  EXPECT_THAT(BadInputFrom([&] { LoadTokenizer(folder.path()); }),
              HasSubstr("tokenizer.model:2] expected base64 and a rank"));
}

TEST(LoadTokenizer, AVocabularyWithoutMergesGivesWayToARankFile) {
  TemporaryFolder folder;
  EXPECT_EQ(TokenizerFileIn(folder.path()), "");
  folder.Write("vocab.json", kVocab);
  EXPECT_EQ(TokenizerFileIn(folder.path()).filename(), "vocab.json");
  folder.Write("vocab.txt", "a");
  EXPECT_EQ(TokenizerFileIn(folder.path()).filename(), "vocab.txt");
  folder.Write("qwen.tiktoken", "YQ== 0\n");
  EXPECT_EQ(LoadTokenizer(folder.path())->Piece(2), "<|im_start|>");
  folder.Write("merges.txt", kMerges);
  EXPECT_EQ(TokenizerFileIn(folder.path()).filename(), "vocab.json");
}

TEST(LoadTokenizer, AVocabularyOfLinesIsBerts) {
  TemporaryFolder folder;
  folder.Write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nab\n##c\nd \n");
  auto tokenizer = LoadTokenizer(folder.path());
  EXPECT_EQ(tokenizer->EncodeWithSpecial("AB\u0301C d x"), (Ids{2, 4, 5, 6, 1, 3}));
  EXPECT_EQ(tokenizer->Decode(Ids{2, 4, 5, 6, 3}), "abc d");
  folder.Write("tokenizer_config.json",
               R"({"tokenizer_class": "BertTokenizer", "do_lower_case": false})");
  EXPECT_EQ(LoadTokenizer(folder.path())->Encode("ABC ab"), (Ids{1, 4}));
  folder.Write("tokenizer_config.json", R"({"tokenizer_class": "BirdTokenizer"})");
  EXPECT_THAT(BadInputFrom([&] { LoadTokenizer(folder.path()); }), HasSubstr("'BirdTokenizer'"));
  folder.Write("tokenizer_config.json", "{}");
  folder.Write("vocab.txt", "[PAD]\n[UNK]\n");
  EXPECT_THAT(BadInputFrom([&] { LoadTokenizer(folder.path()); }), HasSubstr("piece '[CLS]'"));
}

TEST(LoadTokenizer, ASentencePieceClassWithOtherIdsIsRefused) {
  TemporaryFolder folder;
  folder.Write("sentencepiece.bpe.model", testing::SerializeSentencePiece(SmallModel()));
  folder.Write("tokenizer_config.json", R"({"tokenizer_class": "XLMRobertaTokenizer"})");
  EXPECT_THAT(BadInputFrom([&] { LoadTokenizer(folder.path()); }),
              HasSubstr("got 'XLMRobertaTokenizer'"));
}

TEST(LoadTokenizer, TokenizerJsonWinsOverTheModelAndThatOverVocab) {
  TemporaryFolder folder;
  folder.Write("vocab.json", kVocab);
  folder.Write("merges.txt", kMerges);
  folder.Write("tokenizer.model", testing::SerializeSentencePiece(SmallModel()));
  EXPECT_EQ(LoadTokenizer(folder.path())->kind(), "sentencepiece-bpe");
  folder.Write("tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})");
  EXPECT_EQ(LoadTokenizer(folder.path())->kind(), "tokenizer.json-bpe");
  EXPECT_EQ(LoadTokenizer(folder.path() / "tokenizer.model")->kind(), "sentencepiece-bpe");
}

TEST(LoadTokenizer, ASentencePieceModelAloneHasBosOn) {
  TemporaryFolder folder;
  folder.Write("tokenizer.model", testing::SerializeSentencePiece(SmallModel()));
  auto tokenizer = LoadTokenizer(folder.path());
  EXPECT_TRUE(tokenizer->special().add_bos);
  EXPECT_EQ(tokenizer->EncodeWithSpecial("ab"), (Ids{1, 260, 259}));
  folder.Write("tokenizer_config.json", R"({"add_bos_token": false, "add_eos_token": true})");
  EXPECT_EQ(LoadTokenizer(folder.path())->EncodeWithSpecial("ab"), (Ids{260, 259, 2}));
}

TEST(LoadTokenizer, ASentencePieceModelPutsNoSpaceBeforeATextIfTheConfigurationSaysSo) {
  TemporaryFolder folder;
  folder.Write("tokenizer.model", testing::SerializeSentencePiece(SmallModel()));
  for (const char* json : {R"({"add_prefix_space": false})",
                           R"({"add_prefix_space": false, "tokenizer_class": "LlamaTokenizer"})"}) {
    folder.Write("tokenizer_config.json", json);
    EXPECT_EQ(LoadTokenizer(folder.path())->Encode("ab ab"), (Ids{259, 260, 259})) << json;
    EXPECT_EQ(LoadTokenizer(folder.path())->Decode(Ids{259, 260, 259}), "ab ab") << json;
  }
}

TEST(LoadTokenizer, TheFilesThatWereReadAreKnown) {
  const auto roles_in = [](const TemporaryFolder& folder) {
    const std::unique_ptr<Tokenizer> tokenizer = LoadTokenizer(folder.path());
    std::vector<std::string> roles;
    for (const InputFile& file : tokenizer->inputs().files()) {
      EXPECT_EQ(file.path, (folder.path() / file.role).string());
      roles.push_back(file.role);
    }
    return roles;
  };
  TemporaryFolder model;
  model.Write("tokenizer.model", testing::SerializeSentencePiece(SmallModel()));
  model.Write("README.md", "");
  EXPECT_THAT(roles_in(model), ::testing::ElementsAre("tokenizer.model"));
  model.Write("added_tokens.json", R"({"<sep>": 263})");
  model.Write("special_tokens_map.json", R"({"eos_token": "</s>"})");
  model.Write("tokenizer_config.json", "{}");
  EXPECT_THAT(roles_in(model),
              ::testing::ElementsAre("tokenizer_config.json", "special_tokens_map.json",
                                     "added_tokens.json", "tokenizer.model"));

  TemporaryFolder pair;
  pair.Write("vocab.json", kVocab);
  pair.Write("merges.txt", kMerges);
  EXPECT_THAT(roles_in(pair), ::testing::ElementsAre("vocab.json", "merges.txt"));
}

TEST(LoadTokenizer, AddedTokensOfASentencePieceModelComeFromTheConfiguration) {
  TemporaryFolder folder;
  folder.Write("tokenizer.model", testing::SerializeSentencePiece(SmallModel()));
  folder.Write("added_tokens.json", R"({"<sep>": 263})");
  auto tokenizer = LoadTokenizer(folder.path());
  EXPECT_EQ(tokenizer->Encode("ab<sep>ab"), (Ids{260, 259, 263, 260, 259}));
  EXPECT_EQ(tokenizer->Encode("<s>").size(), 4u);  // not named: ordinary text
  EXPECT_EQ(tokenizer->Decode(Ids{260, 259, 263}), "ab<sep>");
  folder.Write("tokenizer_config.json",
               R"({"legacy": false, "added_tokens_decoder": {"1": {"content": "<s>",
                   "special": true}}})");
  // In the newer behaviour only the beginning of the text gets the blank.
  EXPECT_EQ(LoadTokenizer(folder.path())->Encode("<s>ab<sep>ab"), (Ids{1, 259, 263, 259}));
  EXPECT_EQ(LoadTokenizer(folder.path())->Decode(Ids{1, 259}), "ab");
}

TEST(TokenizerConfig, TokensMayBeTextsOrObjectsAndStandInTwoFiles) {
  TemporaryFolder folder;
  folder.Write("tokenizer.model", testing::SerializeSentencePiece(SmallModel()));
  folder.Write("tokenizer_config.json", R"({"bos_token": {"content": "</s>", "lstrip": false}})");
  folder.Write("special_tokens_map.json", R"({"bos_token": "<s>", "pad_token": "a"})");
  auto tokenizer = LoadTokenizer(folder.path());
  // Without added_tokens_decoder the map is the newer of the two.
  EXPECT_EQ(tokenizer->special().bos, 1);
  EXPECT_EQ(tokenizer->special().pad, 261);
  folder.Write("tokenizer_config.json",
               R"({"bos_token": "</s>", "added_tokens_decoder": {"2": {"content": "</s>"}}})");
  EXPECT_EQ(LoadTokenizer(folder.path())->special().bos, 2);
}

TEST(TokenizerConfig, WrongTypesAreRefused) {
  TemporaryFolder folder;
  folder.Write("tokenizer.model", testing::SerializeSentencePiece(SmallModel()));
  for (const char* json :
       {R"([])", R"({"bos_token": 5})", R"({"add_bos_token": "yes"})",
        R"({"added_tokens_decoder": []})", R"({"added_tokens_decoder": {"x": {"content": "y"}}})",
        R"({"added_tokens_decoder": {"1": {"content": "y"}}})", R"({"bos_token": "nowhere"})",
        R"({"added_tokens_decoder": {"99999999999": {"content": "y"}}})"}) {
    folder.Write("tokenizer_config.json", json);
    EXPECT_NE(BadInputFrom([&] { LoadTokenizer(folder.path()); }), "") << json;
  }
}

TEST(StreamingDecoder, HoldsBackBytesUntilACharacterIsComplete) {
  TemporaryFolder folder;
  folder.Write("tokenizer.model", testing::SerializeSentencePiece(SmallModel()));
  auto tokenizer = LoadTokenizer(folder.path());
  StreamingDecoder decoder(*tokenizer);
  EXPECT_EQ(decoder.Push(1), "");
  EXPECT_EQ(decoder.Push(260), "");  // the dummy prefix
  EXPECT_EQ(decoder.Push(259), "ab");
  EXPECT_EQ(decoder.Push(260), " ");
  EXPECT_EQ(decoder.Push(3 + 0xe6), "");
  EXPECT_EQ(decoder.Push(3 + 0x88), "");
  EXPECT_EQ(decoder.Push(3 + 0x91), "我");
  EXPECT_EQ(decoder.Push(3 + 0xe6), "");
  EXPECT_EQ(decoder.Push(261),
            "\xef\xbf\xbd"
            "a");  // it will never be complete
  EXPECT_EQ(decoder.Push(3 + 0xf0), "");
  EXPECT_EQ(decoder.Flush(), "\xef\xbf\xbd");
  EXPECT_EQ(decoder.Flush(), "");
}

TEST(StreamingDecoder, PartsAddUpToTheWholeOnLongOutputs) {
  TemporaryFolder folder;
  folder.Write("tokenizer.model", testing::SerializeSentencePiece(SmallModel()));
  auto tokenizer = LoadTokenizer(folder.path());
  Rng rng(9);
  const char* parts[] = {"ab", " ", "  ", "我", "🦙", "a", "\n"};
  for (int round = 0; round < 30; ++round) {
    std::string text;
    for (uint64_t n = rng.Below(150); n > 0; --n) text += parts[rng.Below(7)];
    StreamingDecoder decoder(*tokenizer);
    std::string streamed;
    // Special tokens in between must not make the decoder forget that text has begun.
    for (TokenId id : tokenizer->Encode(text)) {
      streamed += decoder.Push(id);
      ASSERT_TRUE(IsValidUtf8(streamed));
      for (uint64_t n = rng.Below(20) == 0 ? 80 : 0; n > 0; --n) streamed += decoder.Push(2);
    }
    streamed += decoder.Flush();
    ASSERT_EQ(streamed, text);
  }
}

TEST(Tokenizer, ThreadsDoNotDisturbEachOther) {
  TemporaryFolder folder;
  folder.Write("vocab.json", kVocab);
  folder.Write("merges.txt", kMerges);
  auto tokenizer = LoadTokenizer(folder.path());
  std::string text;
  for (int i = 0; i < 2000; ++i) text += i % 7 == 0 ? " aab" : " ab1";
  Ids expected = tokenizer->Encode(text);
  std::vector<std::jthread> threads;
  std::array<bool, 4> same{};
  for (size_t i = 0; i < same.size(); ++i) {
    threads.emplace_back([&, i] { same[i] = tokenizer->Encode(text) == expected; });
  }
  threads.clear();
  EXPECT_EQ(same, (std::array<bool, 4>{true, true, true, true}));
}

}  // namespace
}  // namespace qualm
