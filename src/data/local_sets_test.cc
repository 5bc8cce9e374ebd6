#include "data/local_sets.h"

#include <gmock/gmock.h>

#include "base/file.h"
#include "data/row_sets.h"
#include "support/errors.h"
#include "support/shared_data.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;

class LocalSets : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / (std::string("qualm_local_") + test->name());
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((folder_ / path).parent_path());
    WriteFileAtomically(folder_ / path, text);
    return (folder_ / path).string();
  }
  std::vector<std::string> Questions(const RowSet& set, const std::string& split) {
    std::vector<std::string> texts;
    for (const SourcedRow& row : LoadRows(set, split, "", "")) {
      texts.push_back(row.subset + "/" + std::to_string(row.index) + "/" +
                      row.row["q"].get<std::string>());
    }
    return texts;
  }
  std::filesystem::path folder_;
};

TEST_F(LocalSets, AFileIsTheSplitAll) {
  const std::string path = Put("mine.jsonl", "{\"q\": \"a\"}\n{\"q\": \"b\"}\n");
  EXPECT_TRUE(IsLocalSet(path));
  EXPECT_TRUE(IsLocalSet("mine.csv"));
  EXPECT_TRUE(IsLocalSet("MINE.CSV"));
  EXPECT_FALSE(IsLocalSet("mmlu"));
  EXPECT_THAT(Questions(FindRowSet(path, ""), "all"), ElementsAre("/0/a", "/1/b"));
}

TEST_F(LocalSets, ShardsOfASplitAreOne) {
  Put("data/test-00000-of-00002.jsonl", "{\"q\": \"a\"}\n");
  Put("data/test-00001-of-00002.jsonl", "{\"q\": \"b\"}\n");
  Put("data/train-00000-of-00001.jsonl", "{\"q\": \"t\"}\n");
  Put("README.md", "none of it");
  const RowSet& set = FindRowSet(folder_.string(), "");
  EXPECT_THAT(Questions(set, "test"), ElementsAre("/0/a", "/1/b"));
  EXPECT_THAT(Questions(set, "train"), ElementsAre("/0/t"));
}

TEST_F(LocalSets, SubfoldersAreSubsets) {
  Put("history/dev.csv", "q\nh\n");
  Put("art/dev.csv", "q\na\n");
  const RowSet& set = FindRowSet(folder_.string(), "");
  EXPECT_THAT(set.subsets, ElementsAre("art", "history"));
  EXPECT_THAT(Questions(set, "dev"), ElementsAre("art/0/a", "history/0/h"));
}

TEST_F(LocalSets, ParquetAsHuggingFaceServesIt) {
  Put("data/validation-00000-of-00001.parquet",
      ReadFile(testing::SourceRoot() / "tests/data/three_snappy.parquet"));
  const auto rows = LoadRows(FindRowSet(folder_.string(), ""), "validation", "", "");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].row["choices"]["text"][1], "four");
}

TEST_F(LocalSets, WhatDoesNotFitIsNamed) {
  EXPECT_THAT(ErrorOf([&] { (void)FindLocalSet((folder_ / "none.csv").string()); }),
              HasSubstr("expected a data file or folder"));
  const std::string pdf = Put("a.pdf", "x");
  EXPECT_THAT(ErrorOf([&] { (void)FindLocalSet(pdf); }), HasSubstr(".parquet"));
  EXPECT_THAT(ErrorOf([&] { (void)FindLocalSet(folder_.string()); }),
              HasSubstr("train, validation, dev or test"));
  Put("word/testimony.csv", "q\na\n");  // a split's name is a word of its own
  EXPECT_THAT(ErrorOf([&] { (void)FindLocalSet((folder_ / "word").string()); }),
              HasSubstr("train, validation, dev or test"));
  Put("two/test.csv", "q\na\n");
  Put("two/test.tsv", "q\na\n");
  EXPECT_THAT(ErrorOf([&] { (void)FindLocalSet((folder_ / "two").string()); }),
              HasSubstr("expected one file or one row of shards for split test"));
}

TEST_F(LocalSets, AYamlFileDescribesFilesBesideIt) {
  Put("raw/mine.txt", "caf\xe9\t1\n");
  const std::string yaml = Put("mine.yaml",
                               "name: mine\nreader: tsv\nencoding: latin-1\ncolumns: [q, n]\n"
                               "splits: {test: raw/mine.txt}\n");
  const RowSet& set = FindRowSet(yaml, "");
  EXPECT_THAT(Questions(set, "test"), ElementsAre("/0/café"));
  InputSet inputs;
  (void)LoadRows(set, "test", "", "", &inputs);
  EXPECT_NE(inputs.Find("mine.yaml"), nullptr);
  const std::string wrong = Put("wrong.yaml", "name: w\nreader: tsv\nencodin: x\nsplits: {a: b}\n");
  EXPECT_THAT(ErrorOf([&] { (void)FindRowSet(wrong, ""); }), HasSubstr("did you mean 'encoding'"));
}

TEST_F(LocalSets, ASubsetMayBeCalledLikeThePlaceholder) {
  Put("{subset}/test.jsonl", "{\"q\": \"a\"}\n");
  Put("y{subset}/test.jsonl", "{\"q\": \"b\"}\n");
  EXPECT_THAT(Questions(FindRowSet(folder_.string(), ""), "test"),
              ElementsAre("y{subset}/0/b", "{subset}/0/a"));
}

TEST_F(LocalSets, FoldersOfSaveToDisk) {
  const std::string rows = ReadFile(testing::SourceRoot() / "tests/data/three.arrow");
  const auto save = [&](const std::string& name, const std::string& state) {
    Put(name + "/data-00000-of-00002.arrow", rows);
    Put(name + "/data-00001-of-00002.arrow", rows);
    Put(name + "/dataset_info.json", "{}");
    Put(name + "/state.json", state);
    return (folder_ / name).string();
  };
  const std::string files =
      R"("_data_files": [{"filename": "data-00000-of-00002.arrow"}, {"filename": "data-00001-of-00002.arrow"}])";
  const std::string alone = save("alone", "{" + files + ", \"_split\": null}");
  EXPECT_EQ(LoadRows(FindRowSet(alone, ""), "all", "", "").size(), 6u);
  const std::string named = save("named", "{" + files + ", \"_split\": \"validation\"}");
  EXPECT_EQ(LoadRows(FindRowSet(named, ""), "validation", "", "").size(), 6u);
  EXPECT_EQ(LoadRows(FindRowSet(named, ""), "all", "", "").size(), 6u);

  Put("both/dataset_dict.json", R"({"splits": ["train", "test"]})");
  (void)save("both/train", "{" + files + "}");
  (void)save("both/test", "{" + files + "}");
  EXPECT_EQ(LoadRows(FindRowSet((folder_ / "both").string(), ""), "test", "", "").size(), 6u);
  const std::string index =
      save("index", "{" + files + R"(, "_indices_data_files": [{"filename": "i.arrow"}]})");
  EXPECT_THAT(ErrorOf([&] { (void)FindRowSet(index, ""); }), HasSubstr("flatten_indices"));
}

}  // namespace
}  // namespace qualm
