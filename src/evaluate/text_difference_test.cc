// Excerpts of texts that differ, by hand.
#include "evaluate/text_difference.h"

#include <gtest/gtest.h>

namespace qualm {
namespace {

TEST(TextDifference, QuotesShowWhatATerminalWouldHideOrObey) {
  EXPECT_EQ(QuotedForTerminal("a \"b\"\\\n\t\r"), R"("a \"b\"\\\n\t\r")");
  EXPECT_EQ(QuotedForTerminal("\x1b[2J\x07\x7f"), R"("\u{001B}[2J\u{0007}\u{007F}")");
  // No-break space, zero width space, right-to-left override, ideographic space, C1.
  EXPECT_EQ(QuotedForTerminal("\u00a0\u200b\u202e\u3000\u0085"),
            R"("\u{00A0}\u{200B}\u{202E}\u{3000}\u{0085}")");
  EXPECT_EQ(QuotedForTerminal("é世界🙂"), "\"é世界🙂\"");
  EXPECT_EQ(QuotedForTerminal("a\xff\xe4\xb8"), R"("a\xFF\xE4\xB8")");
}

TEST(TextDifference, IsBetweenTheCommonEnds) {
  const TextDifference difference =
      DifferenceOf("Question: a\nAnswer: x", "Question: a\nAnswer:  y");
  EXPECT_EQ(difference.line, 2u);
  EXPECT_EQ(difference.character, 21u);
  EXPECT_EQ(difference.first, R"("Question: a\nAnswer: x")");
  EXPECT_EQ(difference.second, R"("Question: a\nAnswer:  y")");
}

TEST(TextDifference, OneTextMayBeTheBeginningOfTheOther) {
  const TextDifference difference = DifferenceOf("ab", "abc");
  EXPECT_EQ(difference.character, 3u);
  EXPECT_EQ(difference.first, "\"ab\"");
  EXPECT_EQ(difference.second, "\"abc\"");
  // "aa" and "aaa" share a beginning and an end that overlap.
  EXPECT_EQ(DifferenceOf("aaa", "aa").character, 3u);
  EXPECT_EQ(DifferenceOf("", "x").first, "\"\"");
}

TEST(TextDifference, NeverCutsACharacter) {
  // U+4E16 and U+4E17 share two of three bytes; U+1F642 and U+00B642... share ends.
  const TextDifference begins = DifferenceOf("ä世", "ä丗");
  EXPECT_EQ(begins.character, 2u);
  EXPECT_EQ(begins.first, "\"ä世\"");
  const TextDifference ends = DifferenceOf("\u0142", "\u0182");  // c5 82 and c6 82
  EXPECT_EQ(ends.first, "\"ł\"");
  EXPECT_EQ(ends.second, "\"Ƃ\"");
}

TEST(TextDifference, LongTextsAreCut) {
  const std::string same(100, 's'), other(300, 'x');
  const TextDifference difference = DifferenceOf(same + "1" + same, same + other + same);
  EXPECT_EQ(difference.character, 101u);
  const std::string around(20, 's');
  EXPECT_EQ(difference.first, "...\"" + around + "1" + around + "\"...");
  EXPECT_EQ(difference.second, "...\"" + around + std::string(80, 'x') + "\"...");
}

TEST(TextDifference, MalformedBytesAreComparedOneByOne) {
  const TextDifference difference = DifferenceOf("a\xff\xfe", "a\xff\xfd");
  EXPECT_EQ(difference.character, 3u);
  EXPECT_EQ(difference.first, R"("a\xFF\xFE")");
}

}  // namespace
}  // namespace qualm
