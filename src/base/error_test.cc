#include "base/error.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error_place.h"
#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;

TEST(Error, BadInputNamesPlaceExpectationAndHint) {
  EXPECT_EQ(ErrorOf([] { ThrowBadInput("a.json", "a number", "a list", "see the manual"); }),
            "[a.json] expected a number; got a list; see the manual");
  EXPECT_EQ(ErrorOf([] { ThrowBadInput("a.json", "a number", "a list"); }),
            "[a.json] expected a number; got a list");
}

TEST(Error, FailureIsAnotherKind) {
  EXPECT_EQ(ErrorOf([] { ThrowFailed("out", "disk full"); }, ErrorKind::kFailed),
            "[out] disk full");
}

TEST(Error, WithinPutsTheOuterPlaceFirstAndKeepsTheKind) {
  const Error inner(ErrorKind::kFailed, "layer 3", "did not converge");
  const Error outer = inner.Within("model").Within("run");
  EXPECT_STREQ(outer.what(), "[run: model: layer 3] did not converge");
  EXPECT_EQ(outer.kind(), ErrorKind::kFailed);
}

TEST(Error, PlacesThatAreMissingOrAreKeysAreJoinedWithoutASeparator) {
  const Error bare(ErrorKind::kBadInput, "", "expected a number");
  EXPECT_STREQ(bare.what(), "expected a number");
  EXPECT_STREQ(bare.Within("a.json").what(), "[a.json] expected a number");
  EXPECT_STREQ(bare.Within(":size").Within("").Within("a.json").what(),
               "[a.json:size] expected a number");
}

TEST(At, PutsPlacesInFrontFromTheInsideOut) {
  const auto inner = [] { At("layer 3", [] { ThrowExpected("a number", "a list", "see docs"); }); };
  EXPECT_EQ(ErrorOf([&] { At(std::string("model"), inner); }),
            "[model: layer 3] expected a number; got a list; see docs");
  EXPECT_EQ(ErrorOf([] { At("out", [] { ThrowFailed("x", "disk full"); }); }, ErrorKind::kFailed),
            "[out: x] disk full");
}

TEST(At, ReturnsWhatTheBodyReturnsAndMakesThePlaceOnlyForAnError) {
  int value = 5, made = 0;
  const auto place = [&] { return "place " + std::to_string(++made); };
  int& result = At(place, [&]() -> int& { return value; });
  EXPECT_EQ(&result, &value);
  EXPECT_EQ(made, 0);
  EXPECT_EQ(ErrorOf([&] { At(place, [] { ThrowExpected("a", "b"); }); }),
            "[place 1] expected a; got b");
}

TEST(ErrorDeathTest, CheckNamesTheBrokenClaim) {
  EXPECT_DEATH(QUALM_CHECK(1 + 1 == 3), "check failed: 1 \\+ 1 == 3");
}

}  // namespace
}  // namespace qualm
