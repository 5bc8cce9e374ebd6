// Stop strings in a text whose tokens are single bytes or special, and bytes that are held back
// until the end.
#include "generate/stop_scanner.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

namespace qualm {
namespace {

// One token per byte, and two special tokens.
constexpr TokenId kTurn = 256, kEnd = 257;

class ByteTokenizer final : public Tokenizer {
 public:
  std::vector<TokenId> Encode(std::string_view text) const override {
    return std::vector<TokenId>(text.begin(), text.end());
  }
  std::string Decode(std::span<const TokenId> ids, bool keep_special) const override {
    std::string text;
    for (TokenId id : ids) {
      if (id < kTurn || keep_special) text += Piece(id);
    }
    return text;
  }
  std::string Piece(TokenId id) const override {
    if (id >= kTurn) return id == kTurn ? "<|turn|>" : "</s>";
    return std::string(1, static_cast<char>(id));
  }
  std::optional<TokenId> IdOfPiece(std::string_view) const override { return std::nullopt; }
  size_t vocab_size() const override { return 258; }
  std::string_view kind() const override { return "bytes"; }
};

const std::vector<TokenId> kPrompt = {'a', 'b'};

// A scanner after kPrompt, with the stop strings that it looks for.
struct Scan {
  explicit Scan(std::vector<std::string> texts) : stop(std::move(texts)) {}

  // How many tokens are pushed until a stop string is there; all and one more if none is.
  size_t PushesUntilStop(const std::vector<TokenId>& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (scanner.Push(tokens[i])) return i + 1;
    }
    return tokens.size() + 1;
  }
  size_t PushesUntilStop(std::string_view text) {
    return PushesUntilStop(
        std::vector<TokenId>(reinterpret_cast<const unsigned char*>(text.begin()),
                             reinterpret_cast<const unsigned char*>(text.end())));
  }

  ByteTokenizer tokenizer = {};
  std::vector<std::string> stop;
  StopScanner scanner{tokenizer, kPrompt, stop};
};

TEST(StopScanner, TheTextEndsBeforeTheFirstStopString) {
  Scan scan({"xyz", "\n\n"});
  EXPECT_EQ(scan.PushesUntilStop("one\nxy\n\nxyz"), 8u);
  EXPECT_EQ(scan.scanner.text(), "one\nxy");
}

TEST(StopScanner, ThePromptIsNotSearched) {
  Scan scan({"bc"});
  EXPECT_EQ(scan.PushesUntilStop("c bc"), 4u);
  EXPECT_EQ(scan.scanner.text(), "c ");
}

TEST(StopScanner, WithoutStopStringsTheTextIsWhole) {
  Scan scan({});
  EXPECT_EQ(scan.PushesUntilStop("abc"), 4u);
  EXPECT_FALSE(scan.scanner.Flush());
  EXPECT_EQ(scan.scanner.text(), "abc");
}

TEST(StopScanner, BytesOfAnIncompleteCharacterComeAtTheEnd) {
  Scan scan({});
  EXPECT_EQ(scan.PushesUntilStop("c\xE4\xBB"), 4u);
  EXPECT_EQ(scan.scanner.text(), "c");
  EXPECT_FALSE(scan.scanner.Flush());
  EXPECT_TRUE(scan.scanner.text().starts_with("c\xEF\xBF\xBD")) << scan.scanner.text();

  Scan stops_there({"\xEF\xBF\xBD"});
  EXPECT_EQ(stops_there.PushesUntilStop("c\xE4"), 3u);
  EXPECT_TRUE(stops_there.scanner.Flush());
  EXPECT_EQ(stops_there.scanner.text(), "c");
}

TEST(StopScanner, SpecialTokensAreMatchedAndLeftOut) {
  // Wherever the stop string begins and ends, what is left has no special token in it.
  struct Case {
    std::string stop;
    std::vector<TokenId> tokens;
    size_t pushes;
    std::string text;
  };
  const std::vector<Case> cases = {
      {"<|turn|>", {'o', kTurn, 't'}, 2, "o"},
      {"<|turn|>", {kTurn}, 1, ""},
      {"turn", {'o', kTurn, 't'}, 2, "o"},                  // inside the special token
      {"e<|turn|>t", {'o', 'e', kTurn, 't', 'w'}, 4, "o"},  // around it
      {"<|turn|></s>", {'o', kTurn, kEnd}, 3, "o"},
      {"w", {'o', kTurn, 't', kEnd, 'w'}, 5, "ot"},  // after two of them
      {"ot", {'o', kTurn, 't'}, 4, "ot"},            // they keep texts apart
      {"|>t", {'o', kTurn, kTurn, 't'}, 4, "o"},
      {"</s>", {'o', kTurn, 't'}, 4, "ot"},
      {"</s>", {'<', '/', 's', '>'}, 4, ""},  // written out in characters
  };
  for (const Case& one : cases) {
    Scan scan({one.stop});
    EXPECT_EQ(scan.PushesUntilStop(one.tokens), one.pushes) << one.stop;
    EXPECT_EQ(scan.scanner.text(), one.text) << one.stop;
  }
}

TEST(StopScanner, WhatMayBelongToAStopStringIsNotSettled) {
  Scan scan({"\n\nQ", "<|turn|>x"});
  const auto settled = [&](const std::vector<TokenId>& tokens) {
    EXPECT_EQ(scan.PushesUntilStop(tokens), tokens.size() + 1);
    return std::string(scan.scanner.SettledText());
  };
  EXPECT_EQ(settled({'a'}), "a");
  EXPECT_EQ(settled({'\n'}), "a");
  EXPECT_EQ(settled({'\n'}), "a");
  EXPECT_EQ(settled({'\n'}), "a\n");
  EXPECT_EQ(settled({'b'}), "a\n\n\nb");
  EXPECT_EQ(settled({'c', kTurn}), "a\n\n\nbc");
  EXPECT_EQ(settled({'\n'}), "a\n\n\nbc");
  EXPECT_EQ(settled({'d'}), "a\n\n\nbc\nd");
  EXPECT_EQ(scan.scanner.text(), "a\n\n\nbc\nd");
}

}  // namespace
}  // namespace qualm
