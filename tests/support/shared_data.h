// Where tests find real checkpoints, tokenizers and golden outputs that are not part of the
// project: the folder named by QUALM_SHARED, else ../shared beside the source tree. Absent data
// skips a test visibly.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>

namespace qualm::testing {

std::filesystem::path SharedRoot();
std::filesystem::path SourceRoot();

}  // namespace qualm::testing

// Puts the path `variable` into scope, or skips the test saying what is missing.
#define QUALM_SHARED_OR_SKIP(variable, relative)                                      \
  const std::filesystem::path variable = ::qualm::testing::SharedRoot() / (relative); \
  if (!std::filesystem::exists(variable)) GTEST_SKIP() << "shared data absent: " << variable
