#include "tokenize/unicode.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

std::string ToNfc(std::string_view text) { return ToNormalForm(text, NormalForm::kNfc); }

std::string Text(std::initializer_list<uint32_t> codes) {
  std::string text;
  for (uint32_t code : codes) AppendUtf8(code, text);
  return text;
}

TEST(Nfc, ComposesLettersAndMarks) {
  EXPECT_EQ(ToNfc(Text({'e', 0x301})), Text({0xe9}));
  EXPECT_EQ(ToNfc(Text({'u', 0x308, 0x304})), Text({0x1d6}));  // in two steps
  EXPECT_EQ(ToNfc(Text({0x212b})), Text({0xc5}));              // a singleton
  EXPECT_EQ(ToNfc(Text({0x958})), Text({0x915, 0x93c}));       // excluded from composition
  EXPECT_EQ(ToNfc("plain ASCII, ä and 我"), "plain ASCII, ä and 我");
  EXPECT_EQ(ToNfc(""), "");
}

TEST(Nfc, MarksAreOrderedAndBlockOneAnother) {
  // Dot below (220) goes before dot above (230), whichever was typed first.
  EXPECT_EQ(ToNfc(Text({'q', 0x307, 0x323})), Text({'q', 0x323, 0x307}));
  EXPECT_EQ(ToNfc(Text({'s', 0x307, 0x323})), Text({0x1e69}));
  // The acute stands behind a grave of the same class and cannot reach the letter.
  EXPECT_EQ(ToNfc(Text({'q', 0x300, 'e', 0x300, 0x301})), Text({'q', 0x300, 0xe8, 0x301}));
  EXPECT_EQ(ToNfc(Text({'b', 0x300, 0x301})), Text({'b', 0x300, 0x301}));
  // A starter between two characters blocks them.
  EXPECT_EQ(ToNfc(Text({0x1100, 'x', 0x1161})), Text({0x1100, 'x', 0x1161}));
  EXPECT_EQ(ToNfc(Text({0x301})), Text({0x301}));
}

TEST(Nfc, HangulFollowsItsRule) {
  EXPECT_EQ(ToNfc(Text({0x1112, 0x1161, 0x11ab})), "한");
  EXPECT_EQ(ToNfc(Text({0x1112, 0x1161})), "하");
  EXPECT_EQ(ToNfc(Text({0xd558, 0x11ab})), "한");
  EXPECT_EQ(ToNfc(Text({0xd55c, 0x11ab})), Text({0xd55c, 0x11ab}));  // has its trailing consonant
  EXPECT_EQ(ToNfc(Text({0xd558, 0x11a7})), Text({0xd558, 0x11a7}));  // no consonant at all
}

TEST(Nfc, TwiceIsTheSameAsOnce) {
  constexpr uint32_t kCodes[] = {'e',    'q',    0x301,  0x323, 0x307,  0x1100, 0x1161,
                                 0x11ab, 0xac00, 0x212b, 0x958, 0x1e69, 0x345,  0x3b1};
  Rng rng(5);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 8; ++i) AppendUtf8(kCodes[rng.Below(std::size(kCodes))], text);
    const std::string once = ToNfc(text);
    ASSERT_EQ(ToNfc(once), once);
    ASSERT_TRUE(IsInNormalForm(once, NormalForm::kNfc));
  }
}

TEST(Unicode, LowerCaseIsThatOfSingleCharacters) {
  std::string lower;
  for (uint32_t code : {uint32_t{'A'}, 0x130u, 0x3a3u, 0x1e9eu}) AppendLowerCase(code, lower);
  EXPECT_EQ(lower, Text({'a', 'i', 0x307, 0x3c3, 0xdf}));
}

TEST(Unicode, ScriptsOfJapaneseAreOne) {
  EXPECT_EQ(ScriptOf(0x4e2d), ScriptOf(0x3042));
  EXPECT_EQ(ScriptOf(0x4e2d), ScriptOf(0x30fc));
  EXPECT_NE(ScriptOf('a'), ScriptOf(0x4e2d));
  EXPECT_EQ(ScriptOf(' '), -1);
  EXPECT_EQ(ScriptOf(0x378), -1);    // not assigned
  EXPECT_EQ(ScriptOf(0x30000), -1);  // Han since Unicode 13
  EXPECT_TRUE(IsMark(0x903));
  EXPECT_FALSE(IsMark(0x1df6));  // since Unicode 10
  EXPECT_TRUE(IsNonspacingMark(0x301));
  EXPECT_FALSE(IsNonspacingMark(0x1df6));  // since Unicode 10
}

}  // namespace
}  // namespace qualm
