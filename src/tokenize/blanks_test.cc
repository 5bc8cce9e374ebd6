// Blanks against Python's str.isspace, for every code point.
#include "tokenize/blanks.h"

#include <gtest/gtest.h>

#include <vector>

#include "tokenize/utf8.h"

namespace qualm {
namespace {

// [c for c in range(0x110000) if chr(c).isspace()] of CPython 3.11.
const std::vector<uint32_t> kBlanks = {
    0x9,    0xa,    0xb,    0xc,    0xd,    0x1c,   0x1d,   0x1e,   0x1f,   0x20,
    0x85,   0xa0,   0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006,
    0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000};

TEST(Blanks, AreThoseOfPythonsIsspace) {
  std::vector<uint32_t> found;
  for (uint32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xd800 && code < 0xe000) continue;
    std::string text;
    AppendUtf8(code, text);
    EXPECT_EQ(BeginsWithBlank(text + "a"), EndsInBlank("a" + text)) << code;
    if (EndsInBlank("a" + text)) found.push_back(code);
  }
  EXPECT_EQ(found, kBlanks);
}

TEST(Blanks, StripOnlyTheEnd) {
  EXPECT_EQ(WithoutBlanksAtEnd("\n a \t\xe3\x80\x80\n"), "\n a");
  EXPECT_EQ(WithoutBlanksAtEnd(" \n"), "");
  EXPECT_EQ(WithoutBlanksAtEnd("a\x80"), "a\x80");
  EXPECT_FALSE(BeginsWithBlank(""));
  EXPECT_FALSE(EndsInBlank(""));
}

}  // namespace
}  // namespace qualm
