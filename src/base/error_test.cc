#include "base/error.h"

#include <gtest/gtest.h>

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

TEST(ErrorDeathTest, CheckNamesTheBrokenClaim) {
  EXPECT_DEATH(QUALM_CHECK(1 + 1 == 3), "check failed: 1 \\+ 1 == 3");
}

}  // namespace
}  // namespace qualm
