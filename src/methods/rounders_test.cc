#include "methods/rounders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "support/shared_data.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAreArray;

TEST(Rounders, TheTableNamesEveryFileOfTheFolder) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(testing::SourceRoot() / "src" /
                                                               "methods" / "rounders")) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".cc") && !name.ends_with("_test.cc")) {
      files.push_back(entry.path().stem().string());
    }
  }
  EXPECT_THAT(RounderNames(), UnorderedElementsAreArray(files));
}

TEST(Rounders, EachEntryMakesTheRounderOfItsName) {
  for (const RounderEntry& entry : AllRounders()) {
    const auto rounder = MakeRounder(entry.name, nullptr, "test");
    EXPECT_EQ(rounder->name(), entry.name);
    EXPECT_STRNE(entry.summary, "");
  }
}

TEST(Rounders, UnknownNamesAreAnsweredWithTheNearest) {
  try {
    (void)MakeRounder("gtpq", nullptr, "recipe.yaml:3");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("recipe.yaml:3"));
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'gptq'"));
  }
}

}  // namespace
}  // namespace qualm
