#include "results/database.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

constexpr DatabaseKind kKind = {
    .name = "a box", .damaged_hint = "throw it away", .failed_note = "; all is lost"};

class Databases : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    file_ =
        std::filesystem::temp_directory_path() / (std::string("qualm_database_") + test->name());
    std::filesystem::remove(file_);
  }
  void TearDown() override { std::filesystem::remove(file_); }
  std::filesystem::path file_;
};

// Integers beyond 2^53 would not survive a double.
TEST_F(Databases, ValuesComeBackWithTheirTypes) {
  const Database database(file_, kKind);
  database.Execute("CREATE TABLE t(i, u, b, r, nan, text, empty, none)");
  const int64_t large = (int64_t{1} << 53) + 1;
  const std::string text("a\0b", 3);
  Statement insert(database, "INSERT INTO t VALUES(?, ?, ?, ?, ?, ?, ?, ?)");
  for (int row = 0; row < 2; ++row) {  // a statement is ready again after it ran
    insert.Run(large, uint64_t{7}, true, 0.1f, std::numeric_limits<double>::quiet_NaN(), text, "",
               std::optional<int>());
  }
  EXPECT_EQ(database.Number("SELECT count(*) FROM t"), 2);

  Statement read(database, "SELECT * FROM t WHERE u = ?");
  ASSERT_TRUE(read.Bind(std::optional(7)).Step());
  EXPECT_EQ(read.Int(0), large);
  EXPECT_EQ(read.Unsigned(1), 7u);
  EXPECT_TRUE(read.Bool(2));
  EXPECT_EQ(read.Real(3), static_cast<double>(0.1f));
  EXPECT_TRUE(std::isnan(read.Real(4)));
  EXPECT_EQ(read.Text(5), text);
  EXPECT_EQ(database.Number("SELECT count(*) FROM t WHERE empty = '' AND none IS NULL"), 2);
  EXPECT_TRUE(read.Step());
  EXPECT_FALSE(read.Step());
}

TEST_F(Databases, WhatIsNotCommittedIsTakenBack) {
  {
    Database database(file_, kKind);
    database.Execute("CREATE TABLE t(i)");
    database.Begin();
    database.Execute("INSERT INTO t VALUES(1)");
    database.Commit();
    database.Begin();
    database.Execute("INSERT INTO t VALUES(2)");
  }
  EXPECT_EQ(Database(file_, kKind).Number("SELECT sum(i) FROM t"), 1);
}

TEST_F(Databases, ErrorsNameTheFileAndWhatItShouldBe) {
  const std::string place = "[" + file_.string();
  EXPECT_THAT(ErrorOf([&] { Database(file_, kKind).Execute("SELECT * FROM t"); }),
              HasSubstr(place + "] no such table: t; all is lost"));
  EXPECT_THAT(ErrorOf([&] { Database(file_ / "below", kKind); }),
              HasSubstr(place + "/below] unable to open database file; all is lost"));
  std::ofstream(file_) << std::string(2000, 'x');
  EXPECT_THAT(ErrorOf([&] { Database(file_, kKind).Execute("SELECT * FROM t"); }),
              HasSubstr(place + "] expected a box; got file is not a database; throw it away"));
}

}  // namespace
}  // namespace qualm
