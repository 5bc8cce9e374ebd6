#include "methods/transforms.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "support/errors.h"
#include "support/shared_data.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAreArray;

// What stands beside the transforms in their folder and is none.
constexpr std::string_view kHelpers[] = {"clip_search"};

TEST(Transforms, TheTableNamesEveryFileOfTheFolder) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(testing::SourceRoot() / "src" /
                                                               "methods" / "transforms")) {
    const std::string name = entry.path().filename().string(), stem = entry.path().stem().string();
    if (!name.ends_with(".cc") || name.ends_with("_test.cc")) continue;
    if (std::ranges::find(kHelpers, stem) == std::end(kHelpers)) files.push_back(stem);
  }
  EXPECT_THAT(TransformNames(), UnorderedElementsAreArray(files));
}

TEST(Transforms, EachEntryMakesTheTransformOfItsName) {
  for (const TransformEntry& entry : AllTransforms()) {
    EXPECT_EQ(MakeTransform(entry.name, nullptr, "test")->name(), entry.name);
    EXPECT_STRNE(entry.summary, "");
  }
}

}  // namespace
}  // namespace qualm
