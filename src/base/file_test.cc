#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>

#include "base/strings.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using testing::TemporaryFolder;

size_t FilesIn(const TemporaryFolder& folder) {
  const std::filesystem::directory_iterator entries(folder.path());
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

// Makes the system refuse to let any file grow beyond `bytes`, as a full disk does.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_limit_);
    rlimit limit = old_limit_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_limit_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  void (*old_handler_)(int);
  rlimit old_limit_;
};

TEST(File, WhatIsWrittenReadsBack) {
  TemporaryFolder folder;
  const std::string bytes("a\0b\n\xff", 5);
  WriteFileAtomically(folder / "f", bytes);
  EXPECT_EQ(ReadFile(folder / "f"), bytes);
  WriteFileAtomically(folder / "f", "");
  EXPECT_EQ(ReadFile(folder / "f"), "");
  EXPECT_EQ(FilesIn(folder), 1u);
}

TEST(File, SeveralWritesAddUp) {
  TemporaryFolder folder;
  AtomicFile file(folder / "f");
  file.Write("abc");
  const int number = 7;
  file.Write(&number, sizeof(number));
  EXPECT_EQ(file.size_bytes(), 3 + sizeof(number));
  EXPECT_FALSE(std::filesystem::exists(folder / "f"));  // not before Commit
  file.Commit();
  EXPECT_EQ(ReadFile(folder / "f").size(), 3 + sizeof(number));
}

TEST(File, WithoutCommitTheOldFileStays) {
  TemporaryFolder folder;
  folder.Write("f", "old");
  {
    AtomicFile file(folder / "f");
    file.Write("new");
  }
  EXPECT_EQ(ReadFile(folder / "f"), "old");
  EXPECT_EQ(FilesIn(folder), 1u);
}

TEST(File, FullDiskLeavesTheOldFileAndNoRest) {
  TemporaryFolder folder;
  folder.Write("f", "old");
  std::string message;
  {
    FileSizeLimit limit(4096);
    message = ErrorOf([&] { WriteFileAtomically(folder / "f", std::string(100000, 'x')); },
                      ErrorKind::kFailed);
  }
  EXPECT_EQ(message, StrCat("[", (folder / "f").string(), "] write: File too large"));
  EXPECT_EQ(ReadFile(folder / "f"), "old");
  EXPECT_EQ(FilesIn(folder), 1u);
}

TEST(File, UnwritableTargetsFail) {
  TemporaryFolder folder;
  EXPECT_NE(ErrorOf([&] { WriteFileAtomically(folder / "no/such/f", "x"); }, ErrorKind::kFailed)
                .find("cannot create the file"),
            std::string::npos);
  std::filesystem::create_directories(folder / "d/inside");
  EXPECT_NE(ErrorOf([&] {
              WriteFileAtomically(folder / "d", "x");
            }).find("expected a regular file or a new one; got a folder"),
            std::string::npos);
  EXPECT_EQ(FilesIn(folder), 1u);
}

TEST(File, DevicesAndPipesAreNotReplacedAndLinksAreFollowed) {
  TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_NE(
      ErrorOf([&] { WriteFileAtomically(folder / "pipe", "x"); }).find("got a device or a pipe"),
      std::string::npos);
  EXPECT_TRUE(std::filesystem::is_fifo(folder / "pipe"));
  folder.Write("target", "old");
  std::filesystem::create_symlink(folder / "target", folder / "link");
  WriteFileAtomically(folder / "link", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(ReadFile(folder / "target"), "new");
}

TEST(File, ReadingSaysWhatIsWrong) {
  TemporaryFolder folder;
  EXPECT_NE(ErrorOf([&] { ReadFile(folder / "absent"); }).find("expected a readable file; got No"),
            std::string::npos);
  EXPECT_NE(ErrorOf([&] { ReadFile(folder.path()); }).find("expected a file; got a directory"),
            std::string::npos);
}

TEST(File, ReadingIsBounded) {
  TemporaryFolder folder;
  folder.Write("f", "12345");
  EXPECT_EQ(ReadFile(folder / "f", 5), "12345");
  EXPECT_NE(ErrorOf([&] { ReadFile(folder / "f", 4); }).find("expected at most 4 B"),
            std::string::npos);
  // Neither a size without end nor one that is only claimed takes memory.
  EXPECT_NE(ErrorOf([] { ReadFile("/dev/zero", 1000000); }).find("a larger file"),
            std::string::npos);
  folder.Write("sparse", "");
  std::filesystem::resize_file(folder / "sparse", uint64_t{1} << 40);
  EXPECT_NE(ErrorOf([&] { ReadFile(folder / "sparse"); }).find("a larger file"), std::string::npos);
}

}  // namespace
}  // namespace qualm
