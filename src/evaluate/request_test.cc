#include "evaluate/request.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "support/errors.h"
#include "support/shared_data.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

class Request : public ::testing::Test {
 protected:
  static const Tokenizer& tokenizer() {
    static const auto made = LoadTokenizer(testing::SourceRoot() / "demo/model");
    return *made;
  }
  static LikelihoodRequest Make(std::string_view context, std::string_view continuation) {
    return MakeLikelihoodRequest(tokenizer(), EncodeContext(tokenizer(), context), continuation);
  }
};

TEST_F(Request, BothAreTokenisedTogetherAndCut) {
  const LikelihoodRequest request = Make("Question: Who?\nAnswer:", " A");
  EXPECT_EQ(request.tokens, tokenizer().EncodeWithSpecial("Question: Who?\nAnswer: A"));
  EXPECT_EQ(request.context_length,
            tokenizer().EncodeWithSpecial("Question: Who?\nAnswer:").size());
  EXPECT_EQ(request.tokens[0], *tokenizer().special().bos);
  EXPECT_EQ(request.continuation_length(), 1u);
}

TEST_F(Request, LettersAreOtherTokensBehindAFullWidthColon) {
  const LikelihoodRequest latin = Make("Answer:", " A"), chinese = Make("答案：", "A");
  EXPECT_EQ(tokenizer().Piece(latin.tokens.back()), "▁A");
  EXPECT_EQ(tokenizer().Piece(chinese.tokens.back()), "A");
}

TEST_F(Request, BlanksAtTheEndOfTheContextMove) {
  const LikelihoodRequest moved = Make("Answer: ", "A"), plain = Make("Answer:", " A");
  EXPECT_EQ(moved.tokens, plain.tokens);
  EXPECT_EQ(moved.context_length, plain.context_length);
  EXPECT_EQ(moved.Hash(), plain.Hash());
}

TEST_F(Request, AnEmptyContextIsBos) {
  for (const char* context : {"", " \n"}) {
    const LikelihoodRequest request = Make(context, "Once upon a time");
    EXPECT_EQ(request.context_length, 1u);
    EXPECT_EQ(request.tokens[0], *tokenizer().special().bos);
  }
}

TEST_F(Request, ABosInTheTextIsNotDoubled) {
  const LikelihoodRequest request = Make("<s>Answer:", " A");
  EXPECT_EQ(std::ranges::count(request.tokens, *tokenizer().special().bos), 1);
  EXPECT_EQ(request.tokens, Make("Answer:", " A").tokens);
}

TEST_F(Request, AContinuationWithoutTokensIsRefused) {
  EXPECT_THAT(ErrorOf([] { Make("", ""); }), HasSubstr("a continuation with a token"));
}

TEST_F(Request, TheCutIsPartOfTheHash) {
  LikelihoodRequest one = Make("a b c", " d e"), other = one;
  ++other.context_length;
  EXPECT_NE(one.Hash(), other.Hash());
}

}  // namespace
}  // namespace qualm
