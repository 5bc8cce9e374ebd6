#include "base/rng.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <vector>

namespace qualm {
namespace {

// The authors' definitions of both generators, written down once more.
uint64_t ReferenceSplitMix(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

struct ReferenceXoshiro {
  std::array<uint64_t, 4> s;
  uint64_t Next() {
    const uint64_t result = std::rotl(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = std::rotl(s[3], 45);
    return result;
  }
};

// Published test vectors: seed 1234567 for splitmix64, state 1 2 3 4 for xoshiro256**.
TEST(Rng, ReferencesGiveThePublishedNumbers) {
  uint64_t state = 1234567;
  for (uint64_t expected : {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                            4593380528125082431u, 16408922859458223821u}) {
    EXPECT_EQ(ReferenceSplitMix(state), expected);
  }
  ReferenceXoshiro xoshiro{{1, 2, 3, 4}};
  for (uint64_t expected : {uint64_t{11520}, uint64_t{0}, uint64_t{1509978240},
                            uint64_t{1215971899390074240}, uint64_t{1216172134540287360}}) {
    EXPECT_EQ(xoshiro.Next(), expected);
  }
}

TEST(Rng, IsXoshiroSeededThroughSplitMix) {
  for (uint64_t seed : {uint64_t{0}, uint64_t{42}, ~uint64_t{0}}) {
    Rng rng(seed);
    uint64_t mix = seed;
    ReferenceXoshiro reference{};
    for (uint64_t& word : reference.s) word = ReferenceSplitMix(mix);
    for (int i = 0; i < 100; ++i) ASSERT_EQ(rng.Next(), reference.Next());
  }
}

TEST(Rng, KnownAnswers) {
  Rng zero(0);
  EXPECT_EQ(zero.Next(), 11091344671253066420u);
  EXPECT_EQ(zero.Next(), 13793997310169335082u);
  Rng rng(42);
  EXPECT_EQ(rng.Next(), 1546998764402558742u);
  EXPECT_EQ(rng.Uniform(), static_cast<double>(6990951692964543102u >> 11) / 9007199254740992.0);
}

TEST(Rng, StreamsOfOneSeedDiffer) {
  Rng plain(7), first(7, "a"), second(7, "b"), again(7, "a");
  const uint64_t value = first.Next();
  EXPECT_NE(value, plain.Next());
  EXPECT_NE(value, second.Next());
  EXPECT_EQ(value, again.Next());
}

// Counts of n = 60000 draws over 6 values: binomial, standard deviation sqrt(n·p·(1-p)) = 91; five
// of them are 456.
TEST(Rng, BelowIsUniform) {
  Rng rng(1);
  std::array<int, 6> counts{};
  for (int i = 0; i < 60000; ++i) ++counts[static_cast<size_t>(rng.Below(6))];
  for (int count : counts) EXPECT_NEAR(count, 10000, 456);
}

// With n = 3·2^62 the naive remainder would give the lower third twice as often: 2/4 instead of
// 1/3.
TEST(Rng, BelowHasNoModuloBias) {
  Rng rng(2);
  int low = 0;
  for (int i = 0; i < 30000; ++i) low += rng.Below(uint64_t{3} << 62) < uint64_t{1} << 62 ? 1 : 0;
  EXPECT_NEAR(low, 10000, 5 * std::sqrt(30000.0 / 3 * 2 / 3));
}

TEST(Rng, BelowOneIsZero) {
  Rng rng(3);
  EXPECT_EQ(rng.Below(1), 0u);
}

TEST(Rng, UniformStaysBelowOne) {
  Rng rng(4);
  double sum = 0;
  for (int i = 0; i < 100000; ++i) {
    const double value = rng.Uniform();
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 1);
    sum += value;
  }
  EXPECT_NEAR(sum / 100000, 0.5, 5 * std::sqrt(1.0 / 12 / 100000));  // five standard errors
}

// Moments of a standard normal: standard errors over n samples are 1/sqrt(n), sqrt(2/n) and
// sqrt(96/n) for the fourth moment 3; both halves of Box-Muller must be uncorrelated.
TEST(Rng, NormalHasTheMomentsOfANormal) {
  Rng rng(5);
  const int n = 100000;
  double mean = 0, square = 0, fourth = 0, product = 0, previous = 0;
  for (int i = 0; i < n; ++i) {
    const double value = rng.Normal();
    ASSERT_TRUE(std::isfinite(value));
    mean += value / n;
    square += value * value / n;
    fourth += value * value * value * value / n;
    product += value * previous / n;
    previous = value;
  }
  EXPECT_NEAR(mean, 0, 5 * std::sqrt(1.0 / n));
  EXPECT_NEAR(square, 1, 5 * std::sqrt(2.0 / n));
  EXPECT_NEAR(fourth, 3, 5 * std::sqrt(96.0 / n));
  EXPECT_NEAR(product, 0, 5 * std::sqrt(1.0 / n));
}

}  // namespace
}  // namespace qualm
