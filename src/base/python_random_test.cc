// Draws of random.Random, written down from CPython 3.11.
#include "base/python_random.h"

#include <gtest/gtest.h>

namespace qualm {
namespace {

TEST(PythonRandom, GivesTheWordsOfGetrandbits) {
  PythonRandom random(1234);
  EXPECT_EQ(random.Bits(32), 4150886329u);
  EXPECT_EQ(random.Bits(32), 3342196574u);
  EXPECT_EQ(random.Bits(32), 1892932127u);
  EXPECT_EQ(random.Bits(40), 4796836454u);
  EXPECT_EQ(random.Bits(40), 1001116691269u);
  EXPECT_EQ(random.Bits(64), 17326454776888161602u);
  EXPECT_EQ(random.Bits(1), 1u);
}

TEST(PythonRandom, GoesOnBehindTheFirstBlockOfWords) {
  PythonRandom random(1234);
  uint32_t last = 0;
  for (int i = 0; i < 1000; ++i) last = random.Next();
  EXPECT_EQ(last, 3677914080u);
}

// A seed of more than 32 bits has two words; a small population is drawn from a list (up to 21 rows
// and, for more than five draws, a power of four more), a large one through a set.
TEST(PythonRandom, SamplesGoOnFromCallToCall) {
  struct Case {
    uint64_t seed;
    size_t total, count;
    std::vector<size_t> first, second;
  };
  const Case cases[] = {
      {1234, 570, 2, {451, 119}, {7, 92}},
      {42, 570, 5, {114, 25, 281, 250, 228}, {142, 104, 558, 89, 432}},
      {0, 10, 10, {6, 9, 0, 2, 4, 3, 5, 1, 8, 7}, {9, 3, 2, 7, 1, 0, 6, 8, 4, 5}},
      {1234, 21, 3, {14, 3, 0}, {2, 18, 1}},
      {1234, 22, 3, {14, 3, 0}, {2, 18, 1}},
      {7, 85, 6, {41, 19, 50, 6, 9, 68}, {12, 46, 74, 7, 64, 27}},
      {7, 86, 6, {41, 19, 50, 83, 6, 9}, {68, 12, 46, 74, 7, 64}},
      {7,
       size_t{1} << 33,
       3,
       {4942859575, 2795742288, 2301595691},
       {2179419893, 161042648, 6157461338}},
      {uint64_t{1} << 32, 1000, 3, {115, 359, 427}, {957, 17, 23}},
      {(uint64_t{1} << 63) + 5, 1000, 4, {352, 175, 472, 638}, {104, 35, 208, 287}},
      {1, 1, 1, {0}, {0}},
      {1, 3, 0, {}, {}}};
  for (const Case& one : cases) {
    PythonRandom random(one.seed);
    EXPECT_EQ(random.Sample(one.total, one.count), one.first) << one.seed << " " << one.total;
    EXPECT_EQ(random.Sample(one.total, one.count), one.second) << one.seed << " " << one.total;
  }
}

}  // namespace
}  // namespace qualm
