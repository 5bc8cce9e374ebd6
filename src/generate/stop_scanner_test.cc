// Stop strings in a text whose tokens are single bytes, and bytes that are held back until the end.
#include "generate/stop_scanner.h"

#include <gtest/gtest.h>

#include <string_view>

namespace qualm {
namespace {

// One token per byte.
class ByteTokenizer final : public Tokenizer {
 public:
  std::vector<TokenId> Encode(std::string_view text) const override {
    return std::vector<TokenId>(text.begin(), text.end());
  }
  std::string Decode(std::span<const TokenId> ids, bool) const override {
    std::string text;
    for (TokenId id : ids) text += static_cast<char>(id);
    return text;
  }
  std::string Piece(TokenId id) const override { return std::string(1, static_cast<char>(id)); }
  std::optional<TokenId> IdOfPiece(std::string_view) const override { return std::nullopt; }
  size_t vocab_size() const override { return 256; }
  std::string_view kind() const override { return "bytes"; }
};

// How many bytes of `text` are pushed until a stop string is there; all and one more if none is.
size_t PushesUntilStop(StopScanner& scanner, std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (scanner.Push(static_cast<unsigned char>(text[i]))) return i + 1;
  }
  return text.size() + 1;
}

GenerationRequest Request(std::vector<std::string> stop) {
  GenerationRequest request;
  request.tokens = {'a', 'b'};
  request.stop = std::move(stop);
  return request;
}

TEST(StopScanner, TheTextEndsBeforeTheFirstStopString) {
  const ByteTokenizer tokenizer;
  const GenerationRequest request = Request({"xyz", "\n\n"});
  StopScanner scanner(tokenizer, request);
  EXPECT_EQ(PushesUntilStop(scanner, "one\nxy\n\nxyz"), 8u);
  EXPECT_EQ(scanner.text(), "one\nxy");
}

TEST(StopScanner, ThePromptIsNotSearched) {
  const ByteTokenizer tokenizer;
  const GenerationRequest request = Request({"bc"});
  StopScanner scanner(tokenizer, request);
  EXPECT_EQ(PushesUntilStop(scanner, "c bc"), 4u);
  EXPECT_EQ(scanner.text(), "c ");
}

TEST(StopScanner, WithoutStopStringsTheTextIsWhole) {
  const ByteTokenizer tokenizer;
  const GenerationRequest request = Request({});
  StopScanner scanner(tokenizer, request);
  EXPECT_EQ(PushesUntilStop(scanner, "abc"), 4u);
  EXPECT_FALSE(scanner.Flush());
  EXPECT_EQ(scanner.text(), "abc");
}

TEST(StopScanner, BytesOfAnIncompleteCharacterComeAtTheEnd) {
  const ByteTokenizer tokenizer;
  const GenerationRequest request = Request({});
  StopScanner scanner(tokenizer, request);
  EXPECT_EQ(PushesUntilStop(scanner, "c\xE4\xBB"), 4u);
  EXPECT_EQ(scanner.text(), "c");
  EXPECT_FALSE(scanner.Flush());
  EXPECT_TRUE(scanner.text().starts_with("c\xEF\xBF\xBD")) << scanner.text();

  const GenerationRequest stops_there = Request({"\xEF\xBF\xBD"});
  StopScanner other(tokenizer, stops_there);
  EXPECT_EQ(PushesUntilStop(other, "c\xE4"), 3u);
  EXPECT_TRUE(other.Flush());
  EXPECT_EQ(other.text(), "c");
}

}  // namespace
}  // namespace qualm
