#include "data/parquet_writer.h"

#include <gmock/gmock.h>

#include <cstring>
#include <limits>

#include "base/file.h"
#include "base/rng.h"
#include "base/strings.h"
#include "data/parquet.h"
#include "data/thrift.h"
#include "data/thrift_writer.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

ThriftValue ReadStruct(std::string_view& bytes) {
  Budget budget(bytes.size(), "t");
  return ReadThriftStruct(bytes, "t", budget);
}

using testing::ErrorOf;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
template <typename T>
using Values = ParquetTable::Values<T>;
using Codec = ParquetOptions::Codec;

std::string Written(const ParquetTable& table, const ParquetOptions& options = {}) {
  const TemporaryFolder folder;
  WriteParquet(folder / "t.parquet", table, options);
  return ReadFile(folder / "t.parquet");
}

ThriftValue FooterOf(const std::string& bytes) {
  uint32_t size = 0;
  std::memcpy(&size, bytes.data() + bytes.size() - 8, 4);
  std::string_view footer = std::string_view(bytes).substr(bytes.size() - 8 - size, size);
  const ThriftValue value = ReadStruct(footer);
  EXPECT_TRUE(footer.empty());
  return value;
}

// --- by hand

TEST(ThriftWriter, WritesTheBytesOfTheSpecification) {
  ThriftWriter out;
  out.Int32(1, -1);   // field 1 of type 5, zigzag 1
  out.Int64(4, 150);  // step 3 of type 6, zigzag 300 = 0xac 0x02
  out.Text(5, "ab");  // step 1 of type 8
  out.Begin(20);      // step 15 of type 12
  out.Int32(1, 0);    // ids begin anew
  out.End();
  out.List(21, ThriftWriter::Element::kInt32, 1);
  out.Int32Element(2);
  out.End();
  EXPECT_EQ(out.bytes(), std::string("\x15\x01\x36\xac\x02\x18\x02"
                                     "ab\xfc\x15\x00\x00\x19\x15\x04\x00",
                                     17));
}

TEST(ThriftWriter, LongListsHaveTheirSizeBehindTheHead) {
  for (size_t size : {14u, 15u, 300u}) {
    ThriftWriter out;
    out.List(1, ThriftWriter::Element::kInt32, size);
    for (size_t i = 0; i < size; ++i) out.Int32Element(static_cast<int32_t>(i) - 100);
    out.End();
    std::string_view rest = out.bytes();
    const ThriftValue value = ReadStruct(rest);
    ASSERT_EQ(value.List(1, "t").size(), size);
    EXPECT_EQ(value.List(1, "t").back().integer, static_cast<int64_t>(size) - 101);
    EXPECT_TRUE(rest.empty());
  }
}

TEST(ThriftWriter, IntegersOfAllSizesAreReadBack) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  for (int64_t value : {int64_t{0}, int64_t{-1}, int64_t{63}, int64_t{64}, int64_t{-65},
                        kMost / 2 + 1, kMost, -kMost - 1}) {
    ThriftWriter out;
    out.Int64(1, value);
    out.End();
    std::string_view rest = out.bytes();
    EXPECT_EQ(ReadStruct(rest).Int(1, "t"), value);
  }
}

TEST(ParquetWriter, OneRowHasTheBytesOfTheFormat) {
  ParquetTable table;
  table.AddColumn("n", Values<int64_t>{7});
  const std::string bytes = Written(table, {.codec = Codec::kNone});
  // Page header: data page, 14 bytes and again 14, one value, plain, levels as runs. Then the size
  // of the levels, one run of one 1, and 7.
  const std::string page(
      "\x15\x00\x15\x1c\x15\x1c\x2c\x15\x02\x15\x00\x15\x06\x15\x06\x00\x00"
      "\x02\x00\x00\x00\x02\x01\x07\x00\x00\x00\x00\x00\x00\x00",
      17 + 14);
  EXPECT_EQ(bytes.substr(0, 4 + page.size()), "PAR1" + page);
}

// --- read back

class ParquetCodecs : public ::testing::TestWithParam<Codec> {
 protected:
  std::vector<Row> ReadBack(const ParquetTable& table, size_t group_rows = 1'000'000) {
    return ReadParquet(Written(table, {GetParam(), group_rows}), {}, "t");
  }
};
INSTANTIATE_TEST_SUITE_P(All, ParquetCodecs, ::testing::Values(Codec::kNone, Codec::kZstd));

TEST_P(ParquetCodecs, ValuesAndNullsOfEveryType) {
  constexpr auto kNone = std::nullopt;
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  ParquetTable table;
  table.AddColumn("integer", Values<int64_t>{-1, kNone, kMost, -kMost - 1});
  table.AddColumn("real", Values<double>{0.1, nan, kNone, -1e300});
  table.AddColumn("文", Values<std::string>{"", "天空 ☾", kNone, std::string("a\0b", 3)});
  table.AddColumn("yes", Values<bool>{kNone, true, false, true});
  table.AddColumn("nothing", Values<std::string>{kNone, kNone, kNone, kNone});
  const std::vector<Row> rows = ReadBack(table);
  ASSERT_EQ(rows.size(), 4u);
  const Json null;
  EXPECT_EQ(rows[0],
            Json({{"integer", -1}, {"real", 0.1}, {"文", ""}, {"yes", null}, {"nothing", null}}));
  EXPECT_EQ(
      rows[1],
      Json(
          {{"integer", null}, {"real", null}, {"文", "天空 ☾"}, {"yes", true}, {"nothing", null}}));
  EXPECT_EQ(
      rows[2],
      Json({{"integer", kMost}, {"real", null}, {"文", null}, {"yes", false}, {"nothing", null}}));
  EXPECT_EQ(rows[3], Json({{"integer", -kMost - 1},
                           {"real", -1e300},
                           {"文", std::string("a\0b", 3)},
                           {"yes", true},
                           {"nothing", null}}));
}

TEST_P(ParquetCodecs, ATableWithoutRows) {
  ParquetTable table;
  table.AddColumn("a", Values<int64_t>{});
  table.AddColumn("b", Values<std::string>{});
  EXPECT_TRUE(ReadBack(table).empty());
  const ThriftValue footer = FooterOf(Written(table, {.codec = GetParam()}));
  EXPECT_EQ(footer.List(2, "t").size(), 3u);  // the schema stays
  EXPECT_TRUE(footer.List(4, "t").empty());
}

// Many pages, more than one group, the last one shorter; every number of rows near a byte's and a
// page's end.
TEST_P(ParquetCodecs, AnyNumberOfRows) {
  for (size_t count : {1u, 7u, 8u, 9u, 2047u, 2048u, 2049u, 100000u}) {
    Rng rng(count);
    Values<int64_t> integers(count);
    Values<double> reals(count);
    Values<std::string> texts(count);
    Values<bool> bits(count);
    for (size_t i = 0; i < count; ++i) {
      if (rng.Below(3) > 0) integers[i] = static_cast<int64_t>(rng.Below(1000)) - 500;
      if (rng.Below(3) > 0) reals[i] = static_cast<double>(rng.Below(1000)) / 7;
      if (rng.Below(3) > 0) texts[i] = std::string(rng.Below(30), 'x') + StrCat(i);
      if (rng.Below(3) > 0) bits[i] = rng.Below(2) == 1;
    }
    ParquetTable table;
    table.AddColumn("i", integers);
    table.AddColumn("r", reals);
    table.AddColumn("t", texts);
    table.AddColumn("b", bits);
    const std::vector<Row> rows = ReadBack(table, 30000);
    ASSERT_EQ(rows.size(), count);
    const auto json = [](const auto& value) { return value ? Json(*value) : Json(); };
    size_t wrong = 0;
    for (size_t i = 0; i < count; ++i) {
      wrong += rows[i] != Json({{"i", json(integers[i])},
                                {"r", json(reals[i])},
                                {"t", json(texts[i])},
                                {"b", json(bits[i])}});
    }
    EXPECT_EQ(wrong, 0u) << count;
  }
}

// They take almost no bytes, which readers may take for a made-up count.
TEST_P(ParquetCodecs, ManyRowsThatAreAllAlike) {
  ParquetTable nulls, same;
  nulls.AddColumn("a", Values<bool>(100000));
  same.AddColumn("a", Values<int64_t>(100000, 5));
  EXPECT_EQ(ReadBack(nulls).size(), 100000u);
  EXPECT_EQ(ReadBack(same).back(), Json({{"a", 5}}));
}

TEST_P(ParquetCodecs, LongTexts) {
  ParquetTable table;
  table.AddColumn("a",
                  Values<std::string>{std::string(3 << 20, 'a'), "b", std::string(2 << 20, 'c')});
  const std::vector<Row> rows = ReadBack(table);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0]["a"].get<std::string>().size(), size_t{3} << 20);
  EXPECT_EQ(rows[1]["a"], "b");
  EXPECT_EQ(rows[2]["a"].get<std::string>().back(), 'c');
}

TEST(ParquetWriter, ALongTextEndsItsPage) {
  ParquetTable table;
  table.AddColumn("a", Values<std::string>{std::string(2 << 20, 'a'), "b"});
  const std::string bytes = Written(table);
  std::string_view rest = std::string_view(bytes).substr(4);
  EXPECT_EQ(ReadStruct(rest).Struct(5, "t").Int(1, "t"), 1);
}

// --- the footer

TEST(ParquetWriter, WithoutACodecBothSizesAreOne) {
  ParquetTable table;
  table.AddColumn("n", Values<int64_t>(2500, 1));
  const ThriftValue footer = FooterOf(Written(table, {.codec = Codec::kNone}));
  const ThriftValue& meta = footer.List(4, "t")[0].List(1, "t")[0].Struct(3, "t");
  EXPECT_EQ(meta.Int(4, "t"), 0);
  EXPECT_EQ(meta.Int(6, "t"), meta.Int(7, "t"));
}

TEST(ParquetWriter, TheFooterSaysWhatStandsWhere) {
  ParquetTable table;
  table.AddColumn("n", Values<int64_t>(2500, 1));
  table.AddColumn("t", Values<std::string>(2500, "text"));
  const std::string bytes = Written(table, {.codec = Codec::kZstd, .group_rows = 2200});
  const ThriftValue footer = FooterOf(bytes);
  EXPECT_EQ(footer.Bytes(6, "t"), "qualm");
  EXPECT_EQ(footer.Int(3, "t"), 2500);
  const std::vector<ThriftValue>& schema = footer.List(2, "t");
  EXPECT_EQ(schema[0].Int(5, "t"), 2);
  EXPECT_EQ(schema[1].Find(6), nullptr);
  EXPECT_EQ(schema[2].Int(6, "t"), 0);
  EXPECT_EQ(schema[2].Struct(10, "t").Struct(1, "t").fields.size(), 0u);
  ASSERT_EQ(footer.List(4, "t").size(), 2u);
  int64_t at = 4;
  for (const ThriftValue& group : footer.List(4, "t")) {
    int64_t unpacked = 0;
    for (const ThriftValue& chunk : group.List(1, "t")) {
      const ThriftValue& meta = chunk.Struct(3, "t");
      EXPECT_EQ(meta.Int(9, "t"), at);
      EXPECT_EQ(meta.Int(5, "t"), group.Int(3, "t"));
      EXPECT_EQ(meta.Int(4, "t"), 6);
      EXPECT_LT(meta.Int(7, "t"), meta.Int(6, "t"));
      at += meta.Int(7, "t");
      unpacked += meta.Int(6, "t");
    }
    EXPECT_EQ(group.Int(2, "t"), unpacked);
  }
  uint32_t size = 0;
  std::memcpy(&size, bytes.data() + bytes.size() - 8, 4);
  EXPECT_EQ(static_cast<size_t>(at), bytes.size() - 8 - size);
}

// --- refused

TEST(ParquetWriter, TablesThatAreNone) {
  ParquetTable table;
  EXPECT_THAT(ErrorOf([&] { Written(table); }),
              HasSubstr("expected a table with columns; got none"));
  table.AddColumn("a", Values<int64_t>{1, 2});
  EXPECT_THAT(ErrorOf([&] { table.AddColumn("b", Values<bool>{true}); }),
              HasSubstr("[b] expected 2 rows, as a has; got 1"));
  EXPECT_THAT(ErrorOf([&] {
                table.AddColumn("a", Values<double>{1, 2});
              }),
              HasSubstr("[a] expected columns with different names"));
  EXPECT_THAT(ErrorOf([&] {
                table.AddColumn("c", Values<std::string>{"a", "\xff"});
              }),
              HasSubstr("[c] expected texts in UTF-8"));
  EXPECT_THAT(ErrorOf([&] { table.AddColumn("", Values<double>{1, 2}); }), HasSubstr("a name"));
  EXPECT_EQ(table.columns().size(), 1u);
}

TEST(ParquetWriter, AFileThatCannotBeWrittenLeavesNothing) {
  const TemporaryFolder folder;
  ParquetTable table;
  table.AddColumn("a", Values<int64_t>{1});
  EXPECT_THAT(ErrorOf([&] { WriteParquet(folder / "none/t.parquet", table); }, ErrorKind::kFailed),
              HasSubstr("cannot create"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace qualm
