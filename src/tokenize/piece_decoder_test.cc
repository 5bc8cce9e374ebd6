#include "tokenize/piece_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tokenize/byte_level.h"
#include "tokenize/test_support.h"

namespace qualm {
namespace {

using testing::BadInputFrom;
using ::testing::HasSubstr;

std::string Decoded(const char* json, const std::vector<std::string>& pieces) {
  std::vector<DecodedPiece> list;
  for (const std::string& piece : pieces) list.push_back({piece, false});
  return PieceDecoder::Parse(ParseJson(json, "test"), "decoder").Decode(std::move(list));
}

constexpr const char* kLlama = R"({"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
    {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})";

TEST(PieceDecoder, NoneJoinsWithSpaces) { EXPECT_EQ(Decoded("null", {"a", "b"}), "a b"); }

TEST(PieceDecoder, LlamasSequenceGivesSpacesAndBytes) {
  EXPECT_EQ(Decoded(kLlama, {"▁▁He", "llo", "<0xF0>", "<0x9f>", "<0xA6>", "<0x99>"}), " Hello🦙");
  EXPECT_EQ(Decoded(kLlama, {"a", "<0xFF>"}), "a\xff");  // stays as it is
  EXPECT_EQ(Decoded(kLlama, {}), "");
}

TEST(PieceDecoder, ByteLevelGivesBytesAndLeavesOthersAlone) {
  EXPECT_EQ(Decoded(R"({"type": "ByteLevel"})", {"Ġa", "Ã©", "我"}), " aé我");
  PieceDecoder decoder = PieceDecoder::ByteLevel();
  EXPECT_EQ(decoder.Decode({{"Ã", false}, {"é", true}}), "\xc3é");  // an added token is text
}

TEST(PieceDecoder, MetaspaceDropsTheFirstSpace) {
  EXPECT_EQ(Decoded(R"({"type": "Metaspace", "replacement": "▁"})", {"▁a", "▁b"}), "a b");
  EXPECT_EQ(Decoded(R"({"type": "Metaspace", "prepend_scheme": "never"})", {"▁a", "▁b"}), " a b");
}

TEST(PieceDecoder, StripTakesAtMostWhatItSays) {
  EXPECT_EQ(Decoded(R"({"type": "Strip", "content": "_", "start": 2, "stop": 1})", {"___a__"}),
            "_a_");
  EXPECT_EQ(Decoded(R"({"type": "Strip", "content": "_", "start": 9, "stop": 9})", {"__"}), "");
}

TEST(PieceDecoder, ExpressionsSeeRepairedText) {
  EXPECT_EQ(Decoded(R"({"type": "Sequence", "decoders": [{"type": "ByteFallback"},
                        {"type": "Replace", "pattern": {"Regex": "\\p{L}"}, "content": "x"}]})",
                    {"<0xC3>", "a"}),
            "\xef\xbf\xbdx");
}

TEST(PieceDecoder, OthersAreRefusedByName) {
  for (const char* type : {"WordPiece", "BPEDecoder", "CTC"}) {
    EXPECT_THAT(BadInputFrom([&] { Decoded(StrCat(R"({"type": ")", type, "\"}").c_str(), {}); }),
                HasSubstr(StrCat("'", type, "', which is not supported")));
  }
  for (const char* json : {R"({"type": "Sequence"})", R"({"type": "Strip", "start": -1})",
                           R"({"type": "Strip", "content": ""})", R"({"type": "Replace"})"}) {
    EXPECT_NE(BadInputFrom([&] { Decoded(json, {}); }), "") << json;
  }
}

TEST(ByteLevel, EveryByteHasOneCharacterAndBack) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte)
    all += ByteLevelCharacter(static_cast<unsigned char>(byte));
  std::string bytes = BytesOfByteLevelPiece(all).value();
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(static_cast<unsigned char>(bytes[static_cast<size_t>(byte)]), byte);
  }
  EXPECT_EQ(ByteLevelCharacter('a'), "a");
  EXPECT_EQ(ByteLevelCharacter(' '), "Ġ");
  EXPECT_EQ(ByteLevelCharacter('\n'), "Ċ");
  EXPECT_EQ(ByteLevelCharacter(0xad), "Ń");
  EXPECT_FALSE(BytesOfByteLevelPiece("a b").has_value());
}

TEST(FallbackPieces, EveryByteIsSpelledAndReadBack) {
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(ByteOfFallbackPiece(FallbackPieceOfByte(static_cast<unsigned char>(byte))), byte);
  }
  EXPECT_EQ(FallbackPieceOfByte(10), "<0x0A>");
  for (const char* piece : {"", "<0x0>", "<0x0G>", "0x0A", "<0x0A", "<0x0A> "}) {
    EXPECT_EQ(ByteOfFallbackPiece(piece), -1) << piece;
  }
}

}  // namespace
}  // namespace qualm
