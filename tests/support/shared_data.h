// Where tests find real checkpoints, tokenizers and golden outputs that are not part of the
// project: the folder named by QUALM_SHARED, else ../shared beside the source tree. Absent data
// skips a test visibly.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace qualm::testing {

inline std::filesystem::path SharedRoot() {
  if (const char* root = std::getenv("QUALM_SHARED")) return root;
  return std::filesystem::path(QUALM_SOURCE_DIR).parent_path() / "shared";
}

inline std::filesystem::path SourceRoot() { return QUALM_SOURCE_DIR; }

}  // namespace qualm::testing

// Puts the path `variable` into scope, or skips the test saying what is missing.
#define QUALM_SHARED_OR_SKIP(variable, relative)                                      \
  const std::filesystem::path variable = ::qualm::testing::SharedRoot() / (relative); \
  if (!std::filesystem::exists(variable)) GTEST_SKIP() << "shared data absent: " << variable
