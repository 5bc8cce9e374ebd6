#include "study/machine.h"

#include <gmock/gmock.h>

#include "base/strings.h"

namespace qualm {
namespace {

TEST(Machine, KnowsItsMemoryAndDisk) {
  EXPECT_GT(AvailableMemoryBytes(), uint64_t{1} << 20);
  // What a test program needs at least, and not more than a terabyte: the unit is right.
  EXPECT_GT(PeakMemoryBytes(), uint64_t{1} << 20);
  EXPECT_LT(PeakMemoryBytes(), uint64_t{1} << 40);
  EXPECT_GT(FreeDiskBytes("/"), 0u);
  EXPECT_EQ(FreeDiskBytes("/no such folder"), 0u);
}

TEST(Machine, HasANameWithoutBlanksAround) {
  EXPECT_NE(HostName(), "");
  EXPECT_EQ(ProcessorName(), Trim(ProcessorName()));
}

TEST(Machine, ItsClockOnlyGoesForward) {
  const double first = SteadySeconds();
  EXPECT_GE(SteadySeconds(), first);
}

TEST(Machine, TimesAreInUtcToTheSecond) {
  EXPECT_THAT(UtcNow(), ::testing::MatchesRegex("20..-[01].-[0-3].T[0-2].:[0-5].:[0-6].Z"));
}

}  // namespace
}  // namespace qualm
