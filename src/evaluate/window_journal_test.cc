#include "evaluate/window_journal.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

class WindowJournalTest : public ::testing::Test {
 protected:
  static WindowRows Rows(double value, bool compared) {
    WindowRows rows;
    rows.nll = {value, value + 1};
    if (compared) rows.comparison = {{1, 2, 3, 4, true}, {5, 6, 7, 8, false}};
    return rows;
  }
  void Fill() {
    WindowJournal journal(file_, "key");
    journal.Put(0, 0, Rows(1, true));
    journal.Put(0, 5, Rows(2, false));
  }

  const testing::TemporaryFolder folder_;
  const std::filesystem::path file_ = folder_.path() / "windows";
};

TEST_F(WindowJournalTest, GivesBackWhatWasPut) {
  Fill();
  const WindowJournal journal(file_, "key");
  EXPECT_EQ(journal.size(), 2U);
  EXPECT_FALSE(journal.Find(1, 0));
  const WindowRows rows = *journal.Find(0, 0);
  EXPECT_EQ(rows.nll[1], 2);
  EXPECT_EQ(rows.comparison[1].kl, 7);
  EXPECT_EQ(rows.comparison[1].delta_p, 8);
  EXPECT_TRUE(rows.comparison[0].same_top1);
  EXPECT_TRUE(journal.Find(0, 5)->comparison.empty());
}

TEST_F(WindowJournalTest, AnotherRunsFileIsNotTaken) {
  Fill();
  EXPECT_EQ(WindowJournal(file_, "other").size(), 0U);
  EXPECT_EQ(WindowJournal(file_, "key").size(), 0U);  // it is the other's now
}

// Cut and changed anywhere: what is taken is whole, and writing goes on behind it.
TEST_F(WindowJournalTest, TornAndDamagedRecordsAreDropped) {
  Fill();
  const std::string bytes = ReadFile(file_);
  for (size_t size = 0; size < bytes.size(); ++size) {
    std::ofstream(file_, std::ios::binary) << bytes.substr(0, size);
    WindowJournal journal(file_, "key");
    EXPECT_LT(journal.size(), 2U);
    journal.Put(7, 7, Rows(3, false));
    EXPECT_TRUE(WindowJournal(file_, "key").Find(7, 7)) << size;
  }
  for (size_t at = 20; at < bytes.size(); at += 3) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x41);
    std::ofstream(file_, std::ios::binary) << damaged;
    EXPECT_LT(WindowJournal(file_, "key").size(), 2U) << at;
  }
}

}  // namespace
}  // namespace qualm
