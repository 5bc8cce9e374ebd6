#include "tokenize/utf8.h"

#include <gtest/gtest.h>

#include "base/strings.h"

namespace qualm {
namespace {

TEST(Utf8, ValidLengthAgreesWithTheWholeTextCheckOnEveryShortSequence) {
  // Every first and second byte, with two continuation bytes behind: that decides all cases.
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      std::string text = {static_cast<char>(first), static_cast<char>(second), '\x80', '\x80'};
      size_t expected = 0;
      for (size_t length = 1; length <= 4 && expected == 0; ++length) {
        if (IsValidUtf8(text.substr(0, length))) expected = length;
      }
      EXPECT_EQ(ValidCharacterLength(text), expected) << first << " " << second;
    }
  }
  EXPECT_EQ(ValidCharacterLength(""), 0u);
}

TEST(Utf8, CodePointsAreWrittenAndReadBack) {
  for (uint32_t code = 0; code < 0x110000; code += code < 0x900 ? 1 : 61) {
    if (code >= 0xd800 && code < 0xe000) continue;
    std::string text;
    AppendUtf8(code, text);
    ASSERT_TRUE(IsValidUtf8(text)) << code;
    ASSERT_EQ(CharacterLength(text), text.size());
    ASSERT_EQ(CodePoint(text), code);
  }
}

TEST(Utf8, MalformedBytesBecomeOneReplacementEach) {
  EXPECT_EQ(RepairUtf8("aé\xf0\x9f\xa6\x99"), "aé\xf0\x9f\xa6\x99");
  EXPECT_EQ(RepairUtf8("a\xff"
                       "b"),
            "a\xef\xbf\xbd"
            "b");
  EXPECT_EQ(RepairUtf8("\xf0\x9f"), "\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(RepairUtf8("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");  // a surrogate
}

TEST(Utf8, EveryProperFrontOfACharacterIsUnfinished) {
  for (uint32_t code : {0x80u, 0x7ffu, 0x800u, 0xd7ffu, 0xe000u, 0xffffu, 0x10000u, 0x10ffffu}) {
    std::string text;
    AppendUtf8(code, text);
    for (size_t length = 1; length < text.size(); ++length) {
      EXPECT_EQ(UnfinishedBytes("x" + text.substr(0, length)), length) << code;
    }
    EXPECT_EQ(UnfinishedBytes(text), 0u);
  }
  for (const char* text : {"", "a", "\xff", "\xc0", "\x80", "\xe0\x80", "\xed\xa0", "\xf5"}) {
    EXPECT_EQ(UnfinishedBytes(text), 0u) << text;
  }
}

}  // namespace
}  // namespace qualm
