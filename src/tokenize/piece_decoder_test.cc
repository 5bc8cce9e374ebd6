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
  return PieceDecoder::Parse(ParseJson(json, "test"), "decoder").Decode(pieces);
}

constexpr const char* kLlama = R"({"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
    {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})";

TEST(PieceDecoder, NoneJoinsWithSpaces) { EXPECT_EQ(Decoded("null", {"a", "b"}), "a b"); }

TEST(PieceDecoder, LlamasSequenceGivesSpacesAndBytes) {
  EXPECT_EQ(Decoded(kLlama, {"▁▁He", "llo", "<0xF0>", "<0x9f>", "<0xA6>", "<0x99>"}), " Hello🦙");
  // One bad byte spoils the run of bytes that it is in.
  EXPECT_EQ(Decoded(kLlama, {"a", "<0x41>", "<0xFF>", "b"}), "a\ufffd\ufffdb");
  EXPECT_EQ(Decoded(kLlama, {}), "");
}

TEST(PieceDecoder, ByteLevelGivesBytesAndLeavesOthersAlone) {
  EXPECT_EQ(Decoded(R"({"type": "ByteLevel"})", {"Ġa", "Ã©", "我"}), " aé我");
  // A character that was cut off gives one replacement character, whatever its length.
  EXPECT_EQ(PieceDecoder::ByteLevel().Decode({"ðŁĺ", "a", "ÿ"}), "\ufffda\ufffd");
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
  for (const char* type : {"Wordpiece", "Byte"}) {
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
