#include "quantize/journal.h"

#include <gmock/gmock.h>

#include <fstream>

#include "base/file.h"
#include "io/hash.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using testing::TemporaryFolder;

JournalEntry Entry(const TemporaryFolder& folder, size_t block, const std::string& bytes) {
  JournalEntry entry;
  entry.block = block;
  entry.file.name = "block-" + std::to_string(block);
  entry.file.hash = HashFile(folder.Write(entry.file.name, bytes));
  entry.file.bytes = bytes.size();
  LayerRecord layer;
  layer.name = "layer of " + entry.file.name;
  entry.layers = {layer};
  entry.times = R"({"block":0})";
  return entry;
}

// Two blocks written under the key "k".
void WriteTwo(const TemporaryFolder& folder) {
  Journal journal(folder.path(), "k");
  journal.Append(Entry(folder, 0, "first"));
  journal.Append(Entry(folder, 1, "second"));
}

TEST(Journal, FinishedBlocksComeBackInOrderWithAllThatIsKnownOfThem) {
  const TemporaryFolder folder;
  WriteTwo(folder);
  const Journal again(folder.path(), "k");
  ASSERT_THAT(again.entries(), SizeIs(2));
  EXPECT_EQ(again.entries()[1].block, 1u);
  EXPECT_EQ(again.entries()[1].file.name, "block-1");
  EXPECT_EQ(again.entries()[1].layers[0].name, "layer of block-1");
  EXPECT_EQ(again.entries()[1].times, R"({"block":0})");
}

TEST(Journal, ATornLastLineIsDroppedAndWrittenOver) {
  const TemporaryFolder folder;
  WriteTwo(folder);
  const std::string whole = ReadFile(folder / kJournalName);
  // Torn anywhere inside the last line: one block is left, and what is appended is read again.
  for (size_t cut : {size_t{1}, size_t{2}, size_t{40}}) {
    folder.Write(kJournalName, whole.substr(0, whole.size() - cut));
    Journal journal(folder.path(), "k");
    ASSERT_THAT(journal.entries(), SizeIs(1)) << cut;
    journal.Append(Entry(folder, 1, "second"));
    EXPECT_THAT(Journal(folder.path(), "k").entries(), SizeIs(2)) << cut;
  }
}

TEST(Journal, ABlockWhoseFileIsGoneOrChangedEndsTheList) {
  const TemporaryFolder folder;
  WriteTwo(folder);
  folder.Write("block-0", "fIrst");  // as long as before
  EXPECT_THAT(Journal(folder.path(), "k").entries(), IsEmpty());
  WriteTwo(folder);
  std::filesystem::remove(folder / "block-1");
  EXPECT_THAT(Journal(folder.path(), "k").entries(), SizeIs(1));
}

TEST(Journal, AnotherRunsJournalIsRefusedAndLeftAlone) {
  const TemporaryFolder folder;
  WriteTwo(folder);
  const std::string before = ReadFile(folder / kJournalName);
  EXPECT_THAT(ErrorOf([&] { Journal(folder.path(), "other"); }), HasSubstr("--overwrite"));
  EXPECT_EQ(ReadFile(folder / kJournalName), before);
}

TEST(Journal, FilesOutsideTheFolderAreNotLookedAt) {
  const TemporaryFolder folder;
  {
    Journal journal(folder.path(), "k");
    JournalEntry entry = Entry(folder, 0, "first");
    entry.file.name = "../" + folder.path().filename().string() + "/block-0";
    journal.Append(entry);
  }
  EXPECT_THAT(Journal(folder.path(), "k").entries(), IsEmpty());
}

}  // namespace
}  // namespace qualm
