#include "tokenize/nfc.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "tokenize/unicode_data.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

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

// Every character that has a decomposition: one that composes comes back, the others never.
TEST(Nfc, EveryTableEntryIsTreatedByItsKind) {
  for (const auto& entry : unicode::kComposing) {
    ASSERT_EQ(ToNfc(Text({entry.first, entry.second})), Text({entry.code})) << entry.code;
    ASSERT_EQ(ToNfc(Text({entry.code})), Text({entry.code}));
  }
  for (const auto& entry : unicode::kDecomposing) {
    ASSERT_NE(ToNfc(Text({entry.code})), Text({entry.code})) << entry.code;
  }
}

TEST(Nfc, TwiceIsTheSameAsOnce) {
  Rng rng(5);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 8; ++i) {
      uint32_t code = 0;
      switch (rng.Below(4)) {
        case 0:
          code = unicode::kComposing[rng.Below(unicode::kComposing.size())].code;
          break;
        case 1:
          code = unicode::kDecomposing[rng.Below(unicode::kDecomposing.size())].code;
          break;
        case 2:
          code = unicode::kCombining[rng.Below(unicode::kCombining.size())].first;
          break;
        default:
          code = unicode::kComposing[rng.Below(unicode::kComposing.size())].second;
      }
      AppendUtf8(code, text);
    }
    std::string once = ToNfc(text);
    ASSERT_EQ(ToNfc(once), once);
    if (IsSurelyNfc(text)) {
      // The quick answer must not skip work: take it apart and build it again the long way.
      ASSERT_EQ(ToNfc(text + "e\u0301"), text + "é");
    }
  }
}

}  // namespace
}  // namespace qualm
