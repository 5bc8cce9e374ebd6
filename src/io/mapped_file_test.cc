#include "io/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>

#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using testing::TemporaryFolder;

size_t ResidentBytes() {
  size_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

TEST(MappedFile, ShowsTheFilesBytes) {
  TemporaryFolder folder;
  MappedFile file(folder.Write("f", "abc"));
  ASSERT_EQ(file.bytes().size(), 3u);
  EXPECT_EQ(file.bytes()[2], std::byte{'c'});
  MappedFile moved(std::move(file));
  EXPECT_EQ(moved.bytes().size(), 3u);
  EXPECT_TRUE(file.bytes().empty());  // NOLINT(bugprone-use-after-move): what the move leaves
}

TEST(MappedFile, EmptyFileIsAllowed) {
  TemporaryFolder folder;
  MappedFile file(folder.Write("f", ""));
  EXPECT_TRUE(file.bytes().empty());
  file.Release(file.bytes());
}

TEST(MappedFile, OnlyRegularFiles) {
  TemporaryFolder folder;
  EXPECT_NE(ErrorOf([&] { MappedFile(folder / "absent"); }).find("expected a readable file"),
            std::string::npos);
  EXPECT_NE(ErrorOf([&] { MappedFile(folder.path()); }).find("expected a regular file"),
            std::string::npos);
  EXPECT_NE(ErrorOf([&] { MappedFile("/dev/zero"); }).find("expected a regular file"),
            std::string::npos);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);  // must not wait for a writer
  EXPECT_NE(ErrorOf([&] { MappedFile(folder / "pipe"); }).find("expected a regular file"),
            std::string::npos);
}

TEST(MappedFile, ReleaseGivesMemoryBackAndKeepsTheBytes) {
  TemporaryFolder folder;
  const size_t size = size_t{32} << 20;
  folder.Write("f", "start");
  std::filesystem::resize_file(folder / "f", size);
  MappedFile file(folder / "f");
  auto touch_all = [&] {
    unsigned sum = 0;
    for (size_t i = 0; i < size; i += 4096) sum += std::to_integer<unsigned>(file.bytes()[i]);
    return sum;
  };
  const unsigned sum = touch_all();
  const size_t before = ResidentBytes();
  file.Release(file.bytes());
  EXPECT_GT(before, ResidentBytes() + size * 3 / 4);
  EXPECT_EQ(touch_all(), sum);
  EXPECT_EQ(file.bytes()[0], std::byte{'s'});
}

TEST(MappedFile, ReleaseKeepsPagesSharedWithNeighbours) {
  TemporaryFolder folder;
  MappedFile file(folder.Write("f", std::string(10000, 'x')));
  for (size_t begin : {0u, 1u, 4095u, 4096u, 5000u, 9999u}) {
    for (size_t end : {0u, 1u, 4096u, 8192u, 9999u, 10000u}) {
      if (begin <= end) file.Release(file.bytes().subspan(begin, end - begin));
    }
  }
  for (std::byte b : file.bytes()) ASSERT_EQ(b, std::byte{'x'});
}

}  // namespace
}  // namespace qualm
