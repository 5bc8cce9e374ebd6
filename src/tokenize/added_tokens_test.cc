#include "tokenize/added_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tokenize/test_support.h"

namespace qualm {
namespace {

using testing::BadInputFrom;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

AddedToken Token(TokenId id, const char* content) {
  AddedToken token;
  token.id = id;
  token.content = content;
  return token;
}

// "text" for ordinary text, "7:text" for a token.
std::vector<std::string> Split(const std::vector<AddedToken>& tokens, std::string_view text) {
  AddedTokenSplitter splitter;
  for (const AddedToken& token : tokens) splitter.Add(token, token.content, "test");
  std::vector<std::string> out;
  for (const auto& part : splitter.Split(text)) {
    out.push_back(part.id < 0 ? std::string(part.text) : StrCat(part.id, ":", part.text));
  }
  return out;
}

TEST(AddedTokens, WithoutTokensTheTextStaysWhole) {
  EXPECT_THAT(Split({}, "a b"), ElementsAre("a b"));
  EXPECT_THAT(Split({}, ""), ElementsAre());
}

TEST(AddedTokens, TheLeftmostThenTheLongestWins) {
  EXPECT_THAT(Split({Token(1, "ab"), Token(2, "abc"), Token(3, "bcd")}, "xabcd"),
              ElementsAre("x", "2:abc", "d"));
  EXPECT_THAT(Split({Token(1, "<s>")}, "<s><s>a<s"), ElementsAre("1:<s>", "1:<s>", "a<s"));
}

TEST(AddedTokens, StrippingSwallowsWhiteSpace) {
  AddedToken left = Token(1, "<m>");
  left.strip_left = true;
  EXPECT_THAT(Split({left}, "a \u3000<m> b"), ElementsAre("a", "1: \u3000<m>", " b"));
  AddedToken right = Token(2, "<m>");
  right.strip_right = true;
  EXPECT_THAT(Split({right}, "a <m> \n<m>b"), ElementsAre("a ", "2:<m> \n", "2:<m>", "b"));
  AddedToken both = left;
  both.strip_right = true;
  // The first one took the space that the second could have.
  EXPECT_THAT(Split({both}, "<m> <m>"), ElementsAre("1:<m> ", "1:<m>"));
}

TEST(AddedTokens, SingleWordsTouchNoWordCharacter) {
  AddedToken token = Token(1, "ing");
  token.single_word = true;
  EXPECT_THAT(Split({token}, "ing sing ing1 -ing-é ing"),
              ElementsAre("1:ing", " sing ing1 -", "1:ing", "-é ", "1:ing"));
  EXPECT_THAT(Split({token}, "éing ingé"), ElementsAre("éing ingé"));
}

TEST(AddedTokens, FlagsHaveTheirDefaults) {
  AddedToken special =
      ParseAddedToken(ParseJson(R"({"content": "x", "special": true})", "t"), 5, "t");
  EXPECT_EQ(special.id, 5);
  EXPECT_TRUE(special.is_special);
  EXPECT_FALSE(special.is_normalized);
  AddedToken plain = ParseAddedToken(ParseJson(R"({"content": "x"})", "t"), 5, "t");
  EXPECT_TRUE(plain.is_normalized);
  EXPECT_FALSE(plain.single_word || plain.strip_left || plain.strip_right || plain.is_special);
}

TEST(AddedTokens, BrokenOnesAreRefused) {
  EXPECT_THAT(BadInputFrom([] { Split({Token(3, "")}, ""); }), HasSubstr("an empty one, id 3"));
  EXPECT_THAT(BadInputFrom([] { ParseAddedToken(ParseJson(R"({"content": "x"})", "t"), -2, "t"); }),
              HasSubstr("-2 for 'x'"));
  EXPECT_NE(BadInputFrom([] { ParseAddedToken(ParseJson("{}", "t"), 1, "t"); }), "");
  EXPECT_NE(BadInputFrom([] { ParseAddedToken(ParseJson("[]", "t"), 1, "t"); }), "");
}

}  // namespace
}  // namespace qualm
