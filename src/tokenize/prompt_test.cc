// Where BOS goes in a prompt, and what an empty one is.
#include "tokenize/prompt.h"

#include <gmock/gmock.h>

#include <string>

#include "tokenize/test_support.h"

namespace qualm {
namespace {

using testing::BadInputFrom;
using ::testing::HasSubstr;
using Ids = std::vector<TokenId>;

// One token per byte; BOS is 128, written <s>, and EOS 129.
class ByteTokenizer final : public Tokenizer {
 public:
  explicit ByteTokenizer(SpecialTokens special) { special_ = special; }
  Ids Encode(std::string_view text) const override { return Ids(text.begin(), text.end()); }
  std::string Decode(std::span<const TokenId> ids, bool) const override {
    return std::string(ids.begin(), ids.end());
  }
  std::string Piece(TokenId id) const override { return id == 128 ? "<s>" : "x"; }
  std::optional<TokenId> IdOfPiece(std::string_view) const override { return std::nullopt; }
  size_t vocab_size() const override { return 130; }
  std::string_view kind() const override { return "bytes"; }
};

ByteTokenizer TokenizerWith(std::optional<TokenId> bos, std::optional<TokenId> eos, bool add_bos) {
  SpecialTokens special;
  special.bos = bos;
  special.eos = eos;
  special.add_bos = add_bos;
  special.add_eos = true;  // which no prompt obeys
  return ByteTokenizer(special);
}

TEST(Prompt, BosGoesInFrontOnceWhereTheTokenizerAsksForItOrTheTextBeginsWithIt) {
  EXPECT_EQ(EncodePrompt(TokenizerWith(128, 129, true), "ab"), (Ids{128, 'a', 'b'}));
  EXPECT_EQ(EncodePrompt(TokenizerWith(128, 129, true), "<s>ab"), (Ids{128, 'a', 'b'}));
  EXPECT_EQ(EncodePrompt(TokenizerWith(128, 129, false), "<s>ab"), (Ids{128, 'a', 'b'}));
  EXPECT_EQ(EncodePrompt(TokenizerWith(128, 129, false), "ab"), (Ids{'a', 'b'}));
  EXPECT_EQ(EncodePrompt(TokenizerWith({}, 129, true), "ab"), (Ids{'a', 'b'}));
}

TEST(Prompt, AnEmptyOneIsBosElseEosElseRefused) {
  EXPECT_EQ(EmptyPrompt(TokenizerWith(128, 129, false)), 128);
  EXPECT_EQ(EmptyPrompt(TokenizerWith({}, 129, false)), 129);
  EXPECT_THAT(BadInputFrom([] { (void)EmptyPrompt(TokenizerWith({}, {}, false)); }),
              HasSubstr("expected a tokenizer with BOS or EOS; got neither"));
}

}  // namespace
}  // namespace qualm
