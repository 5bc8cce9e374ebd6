#include "tokenize/normalizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tokenize/test_support.h"

namespace qualm {
namespace {

using testing::BadInputFrom;
using ::testing::HasSubstr;

std::string Normalized(const char* json, std::string_view text) {
  return Normalizer::Parse(ParseJson(json, "test"), "normalizer").Apply(text);
}

TEST(Normalizer, NullChangesNothing) {
  EXPECT_TRUE(Normalizer::Parse(Json(), "normalizer").IsIdentity());
  EXPECT_EQ(Normalized("null", "a b"), "a b");
}

TEST(Normalizer, LlamasSequencePrependsAndReplaces) {
  const char* json = R"({"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})";
  EXPECT_EQ(Normalized(json, "a  b "), "▁a▁▁b▁");
  EXPECT_EQ(Normalized(json, ""), "");  // nothing is put before nothing
}

TEST(Normalizer, ReplacesByExpressionLiterally) {
  const char* json = R"({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "$1▁"})";
  EXPECT_EQ(Normalized(json, "a   b c"), "a$1▁b c");
}

TEST(Normalizer, StripsUnicodeWhiteSpace) {
  EXPECT_EQ(Normalized(R"({"type": "Strip", "strip_left": true, "strip_right": false})",
                       "\u3000 a\u00a0"),
            "a\u00a0");
  EXPECT_EQ(
      Normalized(R"({"type": "Strip", "strip_left": false, "strip_right": true})", " a\u00a0\t"),
      " a");
  EXPECT_EQ(Normalized(R"({"type": "Strip"})", " \n "), "");
}

TEST(Normalizer, ComposesCharacters) {
  EXPECT_EQ(Normalized(R"({"type": "NFC"})", "e\u0301"), "é");
}

TEST(Normalizer, OthersAreRefusedByName) {
  for (const char* type : {"NFKX", "Uppercase"}) {
    std::string json = StrCat(R"({"type": "Sequence", "normalizers": [{"type": ")", type, "\"}]}");
    EXPECT_THAT(BadInputFrom([&] { Normalized(json.c_str(), ""); }),
                HasSubstr(StrCat("'", type, "', which is not supported")));
  }
}

TEST(Normalizer, BrokenDescriptionsAreRefused) {
  for (const char* json :
       {R"({})", R"([])", R"({"type": 3})", R"({"type": "Sequence"})", R"({"type": "Prepend"})",
        R"({"type": "Sequence", "normalizers": {}})", R"({"type": "Replace", "content": "x"})",
        R"({"type": "Precompiled", "precompiled_charsmap": "AAA"})",
        R"({"type": "Precompiled", "precompiled_charsmap": "AAAA"})",
        R"({"type": "BertNormalizer", "lowercase": 1})",
        R"({"type": "Replace", "pattern": {"Regex": "("}, "content": "x"})",
        R"({"type": "Replace", "pattern": "a", "content": "x"})"}) {
    EXPECT_NE(BadInputFrom([&] { Normalized(json, ""); }), "") << json;
  }
}

TEST(Normalizer, ATextThatGrowsWithoutEndIsRefused) {
  std::string steps;
  for (int i = 0; i < 40; ++i) {
    steps += StrCat(i > 0 ? "," : "",
                    R"({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"})");
  }
  const std::string json = StrCat(R"({"type": "Sequence", "normalizers": [)", steps, "]}");
  EXPECT_EQ(Normalized(json.c_str(), "b"), "b");
  EXPECT_THAT(BadInputFrom([&] { Normalized(json.c_str(), "a"); }),
              HasSubstr("at most 65600 bytes"));
}

}  // namespace
}  // namespace qualm
