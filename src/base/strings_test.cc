#include "base/strings.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>

#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;

const std::vector<std::string> kNames = {"awq", "gptq", "rtn"};

TEST(Strings, StrCatWritesEveryKindOfPiece) {
  EXPECT_EQ(StrCat("a", std::string("b"), 'c', true, -5, size_t{7}, 0.5), "abctrue-570.5");
  EXPECT_EQ(StrCat(uint8_t{200}, " ", int8_t{-3}), "200 -3");
  EXPECT_EQ(StrCat(std::numeric_limits<int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(StrCat(std::numeric_limits<uint64_t>::max()), "18446744073709551615");
  EXPECT_EQ(StrCat(), "");
}

TEST(Strings, StrCatWritesDoublesThatReadBackEqual) {
  for (double value : {0.1, 1e-300, 123456789.123456789, 5e-324, -1.0 / 3}) {
    EXPECT_EQ(std::strtod(StrCat(value).c_str(), nullptr), value);
  }
}

TEST(Strings, JoinIsTheInverseOfSplit) {
  for (std::string text : {"", "a", ",", "a,,b", ",a,", "one,two,three"}) {
    EXPECT_EQ(Join(Split(text, ','), ","), text);
  }
  EXPECT_EQ(Split("a,,b", ',').size(), 3u);
  EXPECT_EQ(Join({}, ","), "");
}

TEST(Strings, TrimTakesBlanksFromBothEndsOnly) {
  EXPECT_EQ(Trim(" \t a b\r\n"), "a b");
  EXPECT_EQ(Trim(" \n "), "");
  EXPECT_EQ(Trim(""), "");
}

TEST(Strings, ToLowerChangesAsciiOnly) { EXPECT_EQ(ToLower("AZaz09Ä"), "azaz09Ä"); }

TEST(Strings, NumbersOfAllSizesKeepTheirDigits) {
  EXPECT_EQ(Significant(1234.5678, 6), "1234.57");
  EXPECT_EQ(Significant(0.000012345, 2), "1.2e-05");
  EXPECT_EQ(Scientific(-0.00012345, 1), "-1.2e-04");
  EXPECT_EQ(Scientific(0, 3), "0.000e+00");
}

TEST(Strings, FixedRoundsToTheDigitsAskedFor) {
  EXPECT_EQ(Fixed(3.14159, 3), "3.142");
  EXPECT_EQ(Fixed(-0.5, 0), "-0");  // nearest even
  EXPECT_EQ(Fixed(std::numeric_limits<double>::max(), 1).size(), 311u);
}

TEST(Strings, HumanUnitsNeverShowAFullNextUnit) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1536), "1.50 KiB");
  EXPECT_EQ(HumanBytes(uint64_t{3} << 40), "3.00 TiB");
  EXPECT_EQ(HumanSeconds(0.25), "0.2s");
  EXPECT_EQ(HumanSeconds(9.96), "10s");
  EXPECT_EQ(HumanSeconds(59.7), "1m00s");
  EXPECT_EQ(HumanSeconds(95.2), "1m35s");
  EXPECT_EQ(HumanSeconds(3600 * 5 + 60 * 3), "5h03m");
  EXPECT_EQ(HumanSeconds(-1), "?");
  EXPECT_EQ(HumanSeconds(std::numeric_limits<double>::infinity()), "?");
}

TEST(Strings, NearestNameForgivesSmallMistakesOnly) {
  EXPECT_EQ(NearestName("gtpq", kNames), "gptq");
  EXPECT_EQ(NearestName("rtn", kNames), "rtn");
  EXPECT_EQ(NearestName("smoothquant", kNames), "");
  const std::vector<std::string> long_names = {std::string(300, 'a')};
  EXPECT_EQ(NearestName(std::string(301, 'a'), long_names), "");  // the work is quadratic
  EXPECT_EQ(NearestName("rtn", {}), "");
}

TEST(Strings, UnknownNameErrorHelps) {
  EXPECT_EQ(ErrorOf([] { ThrowUnknownName("flag", "recipe", "gtpq", kNames); }),
            "[flag] unknown recipe 'gtpq'; did you mean 'gptq'? available: awq, gptq, rtn");
  EXPECT_EQ(ErrorOf([] { ThrowUnknownName("flag", "recipe", "entirely", kNames); }),
            "[flag] unknown recipe 'entirely'; available: awq, gptq, rtn");
}

TEST(Strings, GlobMatchesStarsAndQuestionMarks) {
  EXPECT_TRUE(MatchesGlob("model.layers.3.mlp.down_proj", "*.down_proj"));
  EXPECT_TRUE(MatchesGlob("model.layers.3.mlp.down_proj", "model.layers.?.*"));
  EXPECT_FALSE(MatchesGlob("model.layers.13.mlp.down_proj", "model.layers.?.mlp*"));
  EXPECT_TRUE(MatchesGlob("", "*"));
  EXPECT_TRUE(MatchesGlob("aXbXc", "a*b*c"));
  EXPECT_FALSE(MatchesGlob("aXbXcd", "a*b*c"));
  EXPECT_FALSE(MatchesGlob("", "?"));
}

TEST(Strings, GlobIsNotExponential) {
  EXPECT_FALSE(MatchesGlob(std::string(2000, 'a'), "*a*a*a*a*a*a*a*a*b"));
}

// Every code point encodes to bytes that are accepted; surrogates are not.
TEST(Strings, Utf8AcceptsEveryCodePointButSurrogates) {
  auto encode = [](uint32_t code) {
    auto byte = [](uint32_t value) { return static_cast<char>(value); };
    if (code < 0x80) return std::string{byte(code)};
    if (code < 0x800) return std::string{byte(0xc0 | code >> 6), byte(0x80 | (code & 63))};
    if (code < 0x10000) {
      return std::string{byte(0xe0 | code >> 12), byte(0x80 | (code >> 6 & 63)),
                         byte(0x80 | (code & 63))};
    }
    return std::string{byte(0xf0 | code >> 18), byte(0x80 | (code >> 12 & 63)),
                       byte(0x80 | (code >> 6 & 63)), byte(0x80 | (code & 63))};
  };
  for (uint32_t code = 0; code < 0x120000; ++code) {
    const bool valid = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
    ASSERT_EQ(IsValidUtf8(encode(code)), valid) << code;
  }
}

TEST(Strings, Utf8RejectsMalformedBytes) {
  for (const char* bytes : {"\x80", "\xc3", "\xc3(", "\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80",
                            "\xf5\x80\x80\x80", "\xff", "a\xe4\xbd",
                            "\xe4\xbd"
                            "a"}) {
    EXPECT_FALSE(IsValidUtf8(bytes)) << bytes;
  }
  EXPECT_TRUE(IsValidUtf8(""));
  EXPECT_TRUE(IsValidUtf8("你好, é"));
}

}  // namespace
}  // namespace qualm
