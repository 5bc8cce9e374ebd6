#include "tokenize/vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tokenize/test_support.h"

namespace qualm {
namespace {

using testing::BadInputFrom;
using ::testing::HasSubstr;

TEST(Vocabulary, FindsWhatWasAddedAndNothingElse) {
  Vocabulary vocabulary;
  EXPECT_EQ(vocabulary.Find("a"), -1);
  for (int i = 0; i < 1000; ++i) vocabulary.Add("p" + std::to_string(i), 2 * i, "test");
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(vocabulary.Find("p" + std::to_string(i)), 2 * i);
    EXPECT_EQ(vocabulary.Piece(2 * i), "p" + std::to_string(i));
    EXPECT_FALSE(vocabulary.Has(2 * i + 1));  // a hole
  }
  EXPECT_EQ(vocabulary.Find("p1000"), -1);
  EXPECT_EQ(vocabulary.Find(""), -1);
  EXPECT_EQ(vocabulary.size(), 1999u);
  EXPECT_EQ(vocabulary.pieces(), 1000u);
  EXPECT_EQ(vocabulary.Piece(-1), "");
  EXPECT_EQ(vocabulary.Piece(5000), "");
}

TEST(Vocabulary, RefusesIdsOutOfRangeAndTwice) {
  Vocabulary vocabulary;
  vocabulary.Add("a", 3, "here");
  EXPECT_THAT(BadInputFrom([&] { vocabulary.Add("b", 3, "here"); }),
              HasSubstr("[here] expected every id once; got id 3 for 'a' and 'b'"));
  EXPECT_THAT(BadInputFrom([&] { vocabulary.Add("a", 4, "here"); }),
              HasSubstr("every piece once; got 'a' again at id 4"));
  EXPECT_THAT(BadInputFrom([&] { vocabulary.Add("c", -1, "here"); }), HasSubstr("'c': -1"));
  EXPECT_THAT(BadInputFrom([&] { vocabulary.Add("c", int64_t{1} << 40, "here"); }),
              HasSubstr("token ids from 0 to"));
}

TEST(HashShort, DependsOnEveryByteAndTheLength) {
  for (size_t length = 1; length <= 40; ++length) {
    std::string text(length, 'x');
    uint64_t hash = HashShort(text);
    EXPECT_NE(hash, HashShort(text + "x"));
    for (size_t i = 0; i < length; ++i) {
      std::string other = text;
      other[i] = 'y';
      EXPECT_NE(hash, HashShort(other)) << length << " " << i;
    }
  }
}

TEST(Vocabulary, APieceMayMoveToALaterId) {
  Vocabulary vocabulary;
  vocabulary.AddOrRepoint("a", 0, "test");
  vocabulary.AddOrRepoint("a", 1, "test");
  for (int id = 2; id < 100; ++id) vocabulary.Add(std::to_string(id), id, "test");
  EXPECT_EQ(vocabulary.Find("a"), 1);
  EXPECT_EQ(vocabulary.Piece(0), "a");
  EXPECT_EQ(vocabulary.size(), 100u);
}

}  // namespace
}  // namespace qualm
