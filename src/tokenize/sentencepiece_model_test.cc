// Model files made here, field by field: hostile ones, and the corners that training never reaches.
#include "tokenize/sentencepiece_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <set>

#include "base/rng.h"
#include "tokenize/charsmap.h"
#include "tokenize/sentencepiece_tokenizer.h"
#include "tokenize/test_support.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

using testing::BadInputFrom;
using ::testing::HasSubstr;
using testing::SerializeSentencePiece;
using Type = SentencePieceModel::PieceType;

SentencePieceModel Tiny() {
  SentencePieceModel model;
  model.type = SentencePieceModel::Type::kBpe;
  model.pieces = {{"<unk>", 0, Type::kUnknown},
                  {"<s>", 0, Type::kControl},
                  {"ab", -1, Type::kNormal},
                  {"a", -2, Type::kNormal},
                  {"b", -3, Type::kNormal}};
  return model;
}

std::string MessageFor(const SentencePieceModel& model) {
  return BadInputFrom([&] { ParseSentencePiece(SerializeSentencePiece(model), "m.model", {}); });
}

TEST(SentencePieceModel, WhatIsWrittenIsRead) {
  SentencePieceModel model = ParseSentencePieceModel(SerializeSentencePiece(Tiny()), "m");
  ASSERT_EQ(model.pieces.size(), 5u);
  EXPECT_EQ(model.pieces[2].text, "ab");
  EXPECT_EQ(model.pieces[2].score, -1);
  EXPECT_EQ(model.pieces[1].type, Type::kControl);
  EXPECT_EQ(model.type, SentencePieceModel::Type::kBpe);
  EXPECT_TRUE(model.add_dummy_prefix);
}

TEST(BrokenSentencePieceModel, EveryCutIsRefusedOrStillAModel) {
  std::string bytes = SerializeSentencePiece(Tiny());
  for (size_t length = 0; length < bytes.size(); ++length) {
    BadInputFrom([&] { ParseSentencePiece(bytes.substr(0, length), "m", {}); });
  }
  EXPECT_THAT(BadInputFrom([&] { ParseSentencePiece("", "m", {}); }), HasSubstr("with pieces"));
  EXPECT_THAT(BadInputFrom([&] { ParseSentencePiece(bytes.substr(0, 3), "m", {}); }),
              HasSubstr("[m] expected a SentencePiece model; got a field of"));
}

TEST(BrokenSentencePieceModel, NumbersAndWireTypesAreChecked) {
  using namespace std::string_literals;
  const std::pair<std::string, const char*> cases[] = {
      {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s, "a number of more than ten bytes"},
      {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"s, "a field of 9223372036854775807 bytes"},
      {"\x0b"s, "wire type 3"},
      {"\x02\x00"s, "field number 0"},
      {"\x08\x01"s, "field 1 with wire type 0"},
      {"\x0a\x02\x08\x01"s, "field 1 with wire type 0"},
      {"\x0a\x02\x12\x00"s, "field 2 with wire type 2"},
      {"\x0a\x05\x0a\x01x\x18\x07"s, "piece type 7"},
      {"\x12\x02\x18\x09"s, "model type 9"},
      {"\x0a\x01\x80"s, "the end inside a number"},
      {"\x0a\x02\x0a\x00"s, "piece 0 without"},
      {"\x0a\x03\x0a\x01\xff"s, "piece 0 otherwise"},
      {"\x0a\x08\x0a\x01x\x15\x00\x00\x80\x7f"s, "finite scores; got piece 0"},
  };
  for (const auto& [bytes, expected] : cases) {
    EXPECT_THAT(BadInputFrom([&b = bytes] { ParseSentencePieceModel(b, "m"); }),
                HasSubstr(expected));
  }
}

TEST(BrokenSentencePieceModel, PiecesMustFitTogether) {
  SentencePieceModel model = Tiny();
  model.pieces[0].type = Type::kNormal;
  EXPECT_THAT(MessageFor(model), HasSubstr("an unknown piece; got none"));
  model = Tiny();
  model.pieces[1].type = Type::kUnknown;
  EXPECT_THAT(MessageFor(model), HasSubstr("one unknown piece; got another, id 1"));
  model = Tiny();
  model.pieces[4].text = "a";
  EXPECT_THAT(MessageFor(model), HasSubstr("every piece once; got 'a' again at id 4"));
  model = Tiny();
  model.byte_fallback = true;
  EXPECT_THAT(MessageFor(model), HasSubstr("all 256 byte pieces"));
  model = Tiny();
  model.pieces.push_back({"<0x41>", 0, Type::kByte});
  EXPECT_THAT(MessageFor(model), HasSubstr("with byte_fallback; got '<0x41>', id 5"));
  model.byte_fallback = true;
  model.pieces[5].text = "<0x4>";
  EXPECT_THAT(MessageFor(model), HasSubstr("got '<0x4>', id 5"));
  model = Tiny();
  model.pieces[2].text = std::string(1001, 'a');
  EXPECT_THAT(MessageFor(model), HasSubstr("at most 1000 bytes; got one of 1001, id 2"));
}

TEST(BrokenSentencePieceModel, KindsNotImplementedAreNamed) {
  SentencePieceModel model = Tiny();
  model.type = SentencePieceModel::Type::kWord;
  EXPECT_THAT(MessageFor(model), HasSubstr("type WORD, which is not supported"));
  model.type = SentencePieceModel::Type::kCharacter;
  EXPECT_THAT(MessageFor(model), HasSubstr("type CHAR"));
  model = Tiny();
  model.whitespace_is_suffix = true;
  EXPECT_THAT(MessageFor(model), HasSubstr("treat_whitespace_as_suffix"));
  std::string bytes = SerializeSentencePiece(Tiny());
  bytes += std::string("\x2a\x03\x12\x01x", 5);  // denormalizer_spec with a character map
  EXPECT_THAT(BadInputFrom([&] { ParseSentencePiece(bytes, "m", {}); }), HasSubstr("denormalizer"));
}

// A trie of two units under the root: 'A' -> "a" and, below it, 'B' -> "" (removed).
std::string SmallCharsmap() {
  auto unit = [](uint32_t offset, uint32_t label, bool has_leaf) {
    return offset << 10 | (has_leaf ? 1u << 8 : 0u) | label;
  };
  std::vector<uint32_t> units(512, 0);
  constexpr uint32_t kValue = 1u << 31;
  units[0] = unit(256, 0, false);                         // children of the root at 256 ^ byte
  units[256 ^ 'A'] = unit((256 ^ 'A') ^ 384, 'A', true);  // children at 384 ^ byte, leaf at 384
  units[384] = kValue | 0;
  units[384 ^ 'B'] = unit((384 ^ 'B') ^ 448, 'B', true);
  units[448] = kValue | 2;
  std::string blob(4, '\0');
  auto bytes = static_cast<uint32_t>(units.size() * 4);
  std::memcpy(blob.data(), &bytes, 4);
  blob.append(reinterpret_cast<const char*>(units.data()), bytes);
  blob += std::string("a\0\0", 3);
  return blob;
}

TEST(Charsmap, TakesTheLongestMatch) {
  Charsmap map(SmallCharsmap(), "test");
  EXPECT_EQ(map.Longest("Ax").length, 1u);
  EXPECT_EQ(map.Longest("Ax").replacement, "a");
  EXPECT_EQ(map.Longest("ABx").length, 2u);
  EXPECT_EQ(map.Longest("ABx").replacement, "");
  EXPECT_EQ(map.Longest("x").length, 0u);
  EXPECT_EQ(map.Longest("").length, 0u);
  EXPECT_TRUE(Charsmap("", "test").empty());
}

TEST(Charsmap, TheLibraryReadsItAlike) {
  SentencePieceModel model = Tiny();
  model.charsmap = SmallCharsmap();
  std::string bytes = SerializeSentencePiece(model);
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.LoadFromSerializedProto(bytes).ok());
  auto ours = ParseSentencePiece(bytes, "m", {});
  for (const char* text : {"Ab", "ABab", "AAB b", "AB", " AB AB ", "B", "aABb"}) {
    EXPECT_EQ(ours->Encode(text), library.EncodeAsIds(text)) << text;
  }
}

TEST(Charsmap, BrokenOnesAreRefused) {
  std::string good = SmallCharsmap();
  auto message = [](std::string blob) { return BadInputFrom([&] { Charsmap(blob, "m"); }); };
  EXPECT_THAT(message("abc"), HasSubstr("got 3 bytes"));
  EXPECT_THAT(message(good.substr(0, 100)), HasSubstr("a trie of 2048 bytes in 96"));
  EXPECT_THAT(message(good.substr(0, 4 + 2048)), HasSubstr("a trie of 2048 bytes in 2048"));
  EXPECT_THAT(message(good + "x"), HasSubstr("last zero byte"));
  EXPECT_THAT(message(good + std::string("\xff\0", 2)), HasSubstr("not UTF-8"));
  std::string far = good;
  far[4 + 4 * 384] = 9;  // a value behind the replacements
  EXPECT_THAT(message(far), HasSubstr("the replacement at byte 9 of 3"));
  std::string leaf = good;
  leaf[4 + 4 * (256 ^ 'A') + 3] = 0x10;  // a leaf far outside
  EXPECT_THAT(message(leaf), HasSubstr("a leaf at unit"));
}

// Random pieces over a few characters, of all types, with equal scores, against the library.
class RandomModels : public ::testing::TestWithParam<SentencePieceModel::Type> {};

SentencePieceModel RandomModel(Rng& rng, SentencePieceModel::Type type) {
  SentencePieceModel model = Tiny();
  model.type = type;
  model.pieces.resize(2);
  model.byte_fallback = rng.Below(2) == 0;
  model.add_dummy_prefix = rng.Below(2) == 0;
  model.remove_extra_whitespaces = rng.Below(2) == 0;
  model.escape_whitespaces = rng.Below(4) != 0;
  if (model.byte_fallback) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string text = "<0x00>";
      text[3] = "0123456789ABCDEF"[byte / 16];
      text[4] = "0123456789ABCDEF"[byte % 16];
      model.pieces.push_back({text, 0, Type::kByte});
    }
  }
  const char* characters[] = {"a", "b", "c", "é", "▁", "我"};
  std::set<std::string> known;
  for (int i = 0; i < 40; ++i) {
    std::string text;
    for (uint64_t n = 1 + rng.Below(4); n > 0; --n) text += characters[rng.Below(6)];
    if (!known.insert(text).second) continue;
    uint64_t kind = rng.Below(12);
    Type piece_type = kind == 0 ? Type::kUserDefined : kind <= 2 ? Type::kUnused : Type::kNormal;
    model.pieces.push_back({text, -static_cast<float>(rng.Below(15)), piece_type});
  }
  return model;
}

TEST_P(RandomModels, GiveTheLibrarysIds) {
  Rng rng(21);
  const char* parts[] = {"a", "b", "c", "é", "▁", "我", " ", "x", "ж", "\xff", "  ", "aa"};
  for (int round = 0; round < 150; ++round) {
    std::string bytes = SerializeSentencePiece(RandomModel(rng, GetParam()));
    sentencepiece::SentencePieceProcessor library;
    ASSERT_TRUE(library.LoadFromSerializedProto(bytes).ok());
    auto ours = ParseSentencePiece(bytes, "random", {});
    for (int i = 0; i < 8; ++i) {
      std::string text;
      for (uint64_t n = rng.Below(60); n > 0; --n) text += parts[rng.Below(12)];
      std::vector<int> expected = library.EncodeAsIds(text);
      ASSERT_EQ(ours->Encode(text), expected) << round << ": " << text;
      ASSERT_EQ(RepairUtf8(ours->Decode(expected)), library.DecodeIds(expected)) << text;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, RandomModels,
                         ::testing::Values(SentencePieceModel::Type::kBpe,
                                           SentencePieceModel::Type::kUnigram));

}  // namespace
}  // namespace qualm
