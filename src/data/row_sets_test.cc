// Sets of rows: their files, also inside archives, and what a YAML file may say.
#include "data/row_sets.h"

#include <gmock/gmock.h>
#include <zip.h>
#include <zlib.h>
#include <zstd.h>

#include "data/archive.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

constexpr const char* kSet = R"(kind: rows
name: s
title: t
citation: c
licence: l
source: where
reader: jsonl
subsets: [a, b]
splits:
  test: "a.zip:{subset}.jsonl"
)";

std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

void WriteZip(const std::filesystem::path& path,
              const std::vector<std::pair<std::string, std::string>>& entries) {
  zip_t* zip = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
  ASSERT_NE(zip, nullptr);
  for (const auto& [name, text] : entries) {
    zip_source_t* source = zip_source_buffer(zip, text.data(), text.size(), 0);
    ASSERT_GE(zip_file_add(zip, name.c_str(), source, ZIP_FL_ENC_UTF_8), 0);
  }
  ASSERT_EQ(zip_close(zip), 0);
}

void WriteGzip(const std::filesystem::path& path, const std::string& text) {
  gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())),
            static_cast<int>(text.size()));
  ASSERT_EQ(gzclose(file), Z_OK);
}

TEST(RowSets, RowsOfSubsetsInsideAnArchive) {
  const TemporaryFolder folder;
  WriteZip(folder / "a.zip", {{"a.jsonl", "{\"n\":1}\n{\"n\":2}\n"}, {"b.jsonl", "{\"n\":3}\n"}});
  const RowSet set = ParseRowSet(kSet, "s.yaml");
  const std::vector<SourcedRow> rows = LoadRows(set, "test", "", folder.path());
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[1].row.dump(), "{\"n\":2}");
  EXPECT_EQ(rows[1].index, 1u);
  EXPECT_EQ(rows[2].subset, "b");
  EXPECT_EQ(LoadRows(set, "test", "b", folder.path()).size(), 1u);
  EXPECT_THAT(ErrorOf([&] { LoadRows(set, "test", "c", folder.path()); }), HasSubstr("subset"));
  EXPECT_THAT(ErrorOf([&] { LoadRows(set, "tset", "", folder.path()); }),
              HasSubstr("did you mean 'test'"));
}

// A folder of the user's whose path was written like a name.
TEST(RowSets, APathWithoutASlashGetsAHint) {
  const TemporaryFolder folder;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  std::filesystem::create_directory("fold");
  const std::string message = ErrorOf([] { (void)FindRowSet("fold", "t.yaml:3"); });
  std::filesystem::current_path(before);
  EXPECT_THAT(message, HasSubstr("[t.yaml:3] expected a data set's name or a path; got 'fold'; "));
  EXPECT_THAT(message, HasSubstr("write ./fold"));
  EXPECT_THAT(ErrorOf([] { (void)FindRowSet("mmlo", "t.yaml:3"); }), HasSubstr("'mmlu'"));
}

TEST(RowSets, ArchivesThatAreNone) {
  const TemporaryFolder folder;
  WriteZip(folder / "a.zip", {{"inner.txt", std::string(5000, 'x')}});
  EXPECT_EQ(ReadZipEntry(folder / "a.zip", "inner.txt"), std::string(5000, 'x'));
  EXPECT_THAT(ErrorOf([&] { ReadZipEntry(folder / "a.zip", "iner.txt"); }),
              HasSubstr("did you mean 'inner.txt'"));
  EXPECT_THAT(ErrorOf([&] { ReadZipEntry(folder / "a.zip", "inner.txt", 4999); }),
              HasSubstr("at most"));
  folder.Write("b.zip", "this is no archive");
  EXPECT_THAT(ErrorOf([&] { ReadZipEntry(folder / "b.zip", "x"); }), HasSubstr("a zip archive"));
  WriteGzip(folder / "a.gz", "some text");
  EXPECT_EQ(ReadGzip(folder / "a.gz"), "some text");
  EXPECT_THAT(ErrorOf([&] { ReadGzip(folder / "a.gz", 3); }), HasSubstr("at most"));
  EXPECT_THAT(ErrorOf([&] { ReadGzip(folder / "none.gz"); }), HasSubstr("none.gz"));
  WriteGzip(folder / "zeros.gz", std::string(size_t{100} << 20, '\0'));
  EXPECT_THAT(ErrorOf([&] { ReadGzip(folder / "zeros.gz"); }), HasSubstr("budget"));
}

TEST(RowSets, ZstdFiles) {
  const TemporaryFolder folder;
  std::string packed(1000, '\0');
  const std::string text = "some text";
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  folder.Write("a.zst", packed + packed);  // two frames
  EXPECT_EQ(ReadZstd(folder / "a.zst"), text + text);
  EXPECT_THAT(ErrorOf([&] { ReadZstd(folder / "a.zst", 3); }), HasSubstr("at most"));
  folder.Write("cut.zst", packed.substr(0, packed.size() - 2));
  EXPECT_THAT(ErrorOf([&] { ReadZstd(folder / "cut.zst"); }), HasSubstr("whole zstd file"));
  folder.Write("other.zst", "this is none");
  EXPECT_THAT(ErrorOf([&] { ReadZstd(folder / "other.zst"); }), HasSubstr("whole zstd file"));
}

TEST(RowSets, LabelsBesideTheRows) {
  const TemporaryFolder folder;
  folder.Write("r.jsonl", "{\"n\":1}\n{\"n\":2}\n");
  folder.Write("l.lst", "x\ny\n");
  const std::string yaml =
      Replaced(Replaced(kSet, "subsets: [a, b]\n", ""), "\"a.zip:{subset}.jsonl\"",
               "{path: r.jsonl, beside: {label: l.lst}}");
  const RowSet set = ParseRowSet(yaml, "s.yaml");
  EXPECT_EQ(LoadRows(set, "test", "", folder.path())[1].row.dump(), "{\"n\":2,\"label\":\"y\"}");
  InputSet inputs;
  LoadRows(set, "test", "", folder.path(), &inputs);
  ASSERT_EQ(inputs.files().size(), 2u);
  EXPECT_EQ(inputs.files()[0].role, "r.jsonl");
  EXPECT_EQ(inputs.files()[1].path, (folder / "l.lst").string());
  const std::string hash = HashOfFiles(set, set.splits[0], folder.path());
  folder.Write("l.lst", "x\nz\n");
  EXPECT_NE(HashOfFiles(set, set.splits[0], folder.path()), hash);
  folder.Write("l.lst", "x\n");
  EXPECT_THAT(ErrorOf([&] { LoadRows(set, "test", "", folder.path()); }),
              HasSubstr("expected 2 lines"));
}

TEST(RowSets, MistakesNameTheirLine) {
  const auto error = [](const std::string& yaml) {
    return ErrorOf([&] { ParseRowSet(yaml, "s.yaml"); });
  };
  EXPECT_THAT(error(Replaced(kSet, "licence", "license")), HasSubstr("s.yaml:5"));
  EXPECT_THAT(error(Replaced(kSet, "jsonl\nsub", "jsonnl\nsub")),
              HasSubstr("did you mean 'jsonl'"));
  EXPECT_THAT(error(Replaced(kSet, "{subset}.jsonl", "all.jsonl")),
              HasSubstr("a path with {subset}"));
  EXPECT_THAT(error(Replaced(kSet, "subsets: [a, b]\n", "")), HasSubstr("a path without {subset}"));
}

}  // namespace
}  // namespace qualm
