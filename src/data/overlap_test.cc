#include "data/overlap.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>

#include "base/rng.h"
#include "io/tensor_file.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

// from, from + 1, ..., `count` ids.
std::vector<TokenId> Counting(TokenId from, size_t count) {
  std::vector<TokenId> ids(count);
  std::iota(ids.begin(), ids.end(), from);
  return ids;
}

TEST(Overlap, CountsTheGramsThatStandInBothTexts) {
  // Calibration 0..19 has the 8 grams that begin at 0..7; the text 5..29 has the 13 that begin at
  // 5..17: three of them (5, 6, 7) are among the 8.
  const std::vector<std::vector<TokenId>> calibration = {Counting(0, 20)};
  const std::vector<uint64_t> hashes = GramHashes(calibration);
  EXPECT_EQ(hashes.size(), 8u);
  const Overlap overlap = MeasureOverlap(hashes, Counting(5, 25));
  EXPECT_EQ(overlap.grams, 13u);
  EXPECT_EQ(overlap.found, 3u);
}

TEST(Overlap, GramsDoNotReachFromOneSequenceIntoTheNext) {
  const std::vector<std::vector<TokenId>> calibration = {Counting(0, 12), Counting(12, 12)};
  EXPECT_TRUE(GramHashes(calibration).empty());
  EXPECT_EQ(MeasureOverlap(GramHashes(calibration), Counting(0, 24)).found, 0u);
}

TEST(Overlap, ShortTextsHaveNoGrams) {
  EXPECT_EQ(MeasureOverlap({}, Counting(0, 12)).grams, 0u);
  EXPECT_EQ(MeasureOverlap({}, {}).grams, 0u);
}

TEST(Overlap, EqualGramsAreKeptOnceButCountedEachTime) {
  const std::vector<TokenId> same(20, 7);
  const std::vector<std::vector<TokenId>> calibration = {same, same};
  const std::vector<uint64_t> hashes = GramHashes(calibration);
  EXPECT_EQ(hashes.size(), 1u);
  EXPECT_EQ(MeasureOverlap(hashes, same).found, 8u);
}

TEST(Overlap, AgreesWithComparingEveryPair) {
  Rng rng(3);
  // Two ids only, so that grams repeat.
  const auto random = [&](size_t count) {
    std::vector<TokenId> ids(count);
    for (TokenId& id : ids) id = static_cast<TokenId>(rng.Below(2));
    return ids;
  };
  const std::vector<std::vector<TokenId>> calibration = {random(400), random(5), random(700)};
  const std::vector<TokenId> text = random(900);
  size_t expected = 0;
  for (size_t i = 0; i + kOverlapGram <= text.size(); ++i) {
    const auto gram = std::span(text).subspan(i, kOverlapGram);
    expected += std::ranges::any_of(calibration, [&](const std::vector<TokenId>& sequence) {
      return std::search(sequence.begin(), sequence.end(), gram.begin(), gram.end()) !=
             sequence.end();
    });
  }
  ASSERT_GT(expected, 20u);
  ASSERT_LT(expected, 800u);
  EXPECT_EQ(MeasureOverlap(GramHashes(calibration), text).found, expected);
}

TEST(OverlapFile, ComesBackAsItWas) {
  const TemporaryFolder folder;
  EXPECT_FALSE(ReadGramHashes(folder.path()).has_value());
  const std::vector<std::vector<TokenId>> calibration = {Counting(0, 40)};
  const std::vector<uint64_t> hashes = GramHashes(calibration);
  WriteGramHashes(folder.path(), hashes);
  EXPECT_EQ(ReadGramHashes(folder.path()), hashes);
  WriteGramHashes(folder.path(), {});
  EXPECT_TRUE(ReadGramHashes(folder.path())->empty());
}

TEST(OverlapFile, RefusesHashesThatAreNotSorted) {
  const TemporaryFolder folder;
  WriteGramHashes(folder.path(), std::vector<uint64_t>{3, 2});
  EXPECT_THAT(ErrorOf([&] { ReadGramHashes(folder.path()); }), HasSubstr("rising order"));
}

TEST(OverlapFile, RefusesATensorOfAnotherType) {
  const TemporaryFolder folder;
  const std::vector<float> values = {1, 2};
  const TensorToWrite tensor = {"hashes", DType::kF32, {2}, std::as_bytes(std::span(values))};
  WriteSafetensors(folder.path() / kCalibrationGramsName, {&tensor, 1});
  EXPECT_THAT(ErrorOf([&] { ReadGramHashes(folder.path()); }), HasSubstr("I64"));
}

}  // namespace
}  // namespace qualm
