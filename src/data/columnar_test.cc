// Parquet and Arrow against files that their reference implementations wrote (apache-arrow for
// JavaScript, the Rust parquet crate): three made-up rows with nulls, lists and a struct of lists.
#include <gmock/gmock.h>

#include <algorithm>
#include <map>

#include "base/file.h"
#include "base/rng.h"
#include "data/arrow_stream.h"
#include "data/parquet.h"
#include "data/parquet_writer.h"
#include "support/errors.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

std::string Bytes(const std::string& name) {
  return ReadFile(testing::SourceRoot() / "tests/data" / name);
}

std::vector<Row> Read(const std::string& name, std::string_view bytes) {
  return name.ends_with(".parquet") ? ReadParquet(bytes, {}, name)
                                    : ReadArrowStream(bytes, {}, name);
}

const char* const kFiles[] = {"three_none.parquet", "three_snappy.parquet", "three_gzip.parquet",
                              "three_zstd.parquet", "three.arrow"};

TEST(Columnar, RowsOfTheReferenceWriters) {
  const Json expected = Json::parse(R"([
    {"question": "What is two plus two?", "label": 3, "share": 0.5, "yes": true,
     "tags": ["sum", "small"], "choices": {"text": ["three", "four"], "label": ["A", "B"]}},
    {"question": "天空是什么颜色？", "label": -1, "share": null, "yes": false,
     "tags": [], "choices": {"text": ["红", "蓝"], "label": ["A", "B"]}},
    {"question": null, "label": 3, "share": 2.25, "yes": null,
     "tags": ["sum"], "choices": {"text": ["x", null], "label": ["A", "B"]}}])");
  for (const char* name : kFiles) {
    const std::vector<Row> rows = Read(name, Bytes(name));
    ASSERT_EQ(rows.size(), 3u) << name;
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(rows[i], expected[i]) << name << " row " << i;
  }
}

TEST(Columnar, CutFilesAreRefused) {
  for (const char* name : kFiles) {
    const std::string bytes = Bytes(name);
    for (size_t size = 0; size < bytes.size(); size += 7) {
      const std::string cut = bytes.substr(0, size);
      try {
        EXPECT_LT(Read(name, cut).size(), 3u) << name << " " << size;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kBadInput) << name << " " << size;
      }
    }
  }
}

// The files above and the fuzzer's, which have every codec, encoding and kind of type. There the
// first byte stands for the reader.
std::map<std::string, std::string> ManyFiles() {
  std::map<std::string, std::string> files;
  for (const char* name : kFiles) files[name] = Bytes(name);
  for (const auto& entry :
       std::filesystem::directory_iterator(testing::SourceRoot() / "fuzz/corpus/rows")) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("parquet-")) files[name + ".parquet"] = ReadFile(entry).substr(1);
    if (name.starts_with("arrow")) files[name + ".arrow"] = ReadFile(entry).substr(1);
  }
  return files;
}

TEST(Columnar, DamagedFilesAreRefusedOrRead) {
  Rng rng(1);
  const std::map<std::string, std::string> files = ManyFiles();
  EXPECT_GT(files.size(), 15u);
  for (const auto& [name, whole] : files) {
    for (int i = 0; i < 1000; ++i) {
      std::string bytes = whole;
      for (int k = 0; k < 3; ++k)
        bytes[rng.Below(bytes.size())] = static_cast<char>(rng.Below(256));
      try {
        (void)Read(name, bytes);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kBadInput) << name;
      }
    }
  }
}

TEST(Columnar, AnUnreadableColumnIsAValueThatSaysWhy) {
  const testing::TemporaryFolder folder;
  ParquetTable table;
  table.AddColumn("n", ParquetTable::Values<int64_t>{1, 2});
  constexpr auto kLzo = static_cast<ParquetOptions::Codec>(3);
  WriteParquet(folder / "t.parquet", table, {.codec = kLzo});
  const std::vector<Row> rows = ReadParquet(ReadFile(folder / "t.parquet"), {}, "t.parquet");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_TRUE(IsUnreadable(rows[1]["n"]));
  EXPECT_THAT(DescribeValue(rows[1]["n"]), HasSubstr("a column compressed by LZO"));
}

TEST(Columnar, OtherFilesAreNamed) {
  EXPECT_THAT(ErrorOf([] { (void)ReadParquet("PAR1 but no more", {}, "f.parquet"); }),
              HasSubstr("[f.parquet] expected a Parquet file"));
  EXPECT_THAT(ErrorOf([] { (void)ReadArrowStream("{\"a\": 1}", {}, "f.arrow"); }),
              HasSubstr("[f.arrow] expected an Arrow stream"));
}

TEST(Columnar, HostileFilesExceedTheirBudget) {
  QUALM_SHARED_OR_SKIP(folder, "cases/hostile");
  size_t tried = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".parquet") && !name.ends_with(".arrow")) continue;
    std::string bytes = ReadFile(entry.path());
    if (name.starts_with("dag")) {
      // Structs with fields of one name and an integer without a width are refused at once: make
      // them unions and a boolean.
      std::replace(bytes.begin() + 8, bytes.end(), '\x0d', '\x0e');
      bytes[bytes.find_last_of('\x02')] = '\x06';
    }
    EXPECT_THAT(ErrorOf([&] { (void)Read(name, bytes); }),
                ::testing::AnyOf(HasSubstr("the budget of a file of this size"),
                                 HasSubstr("field ids of 16 bits")))
        << name;
    ++tried;
  }
  EXPECT_GE(tried, 5u);
}

}  // namespace
}  // namespace qualm
