#include "base/opened_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(OpenedFiles, HasWhatWasOpenedSinceItWasMade) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path a = folder.Write("a", "1"), b = folder.Write("b", "2");
  (void)ReadFile(a);
  const OpenedFiles outer;
  EXPECT_THAT(outer.paths(), IsEmpty());
  (void)ReadFile(a);
  {
    const OpenedFiles inner;
    (void)ReadFile(folder.path() / "." / "b");  // another spelling of the same file
    EXPECT_THAT(inner.paths(), ElementsAre(OpenedFiles::Spelled(b)));
  }
  EXPECT_THAT(outer.paths(), ElementsAre(OpenedFiles::Spelled(a), OpenedFiles::Spelled(b)));
}

TEST(OpenedFiles, AFileThatIsNotThereWasNotOpened) {
  const OpenedFiles opened;
  EXPECT_ANY_THROW((void)ReadFile("/nothing/here"));
  EXPECT_THAT(opened.paths(), IsEmpty());
}

}  // namespace
}  // namespace qualm
