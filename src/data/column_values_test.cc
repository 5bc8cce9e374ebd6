#include "data/column_values.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace qualm {
namespace {

TEST(ColumnValues, DatesOfAllEras) {
  EXPECT_EQ(DateText(0), "1970-01-01");
  EXPECT_EQ(DateText(-1), "1969-12-31");
  EXPECT_EQ(DateText(11016), "2000-02-29");
  EXPECT_EQ(DateText(19783), "2024-03-01");
  EXPECT_EQ(DateText(-719162), "0001-01-01");
  EXPECT_EQ(DateText(2932896), "9999-12-31");
  EXPECT_FALSE(DateText(std::numeric_limits<int64_t>::min()).empty());
  EXPECT_FALSE(DateText(std::numeric_limits<int64_t>::max()).empty());
}

TEST(ColumnValues, TimesLikePythons) {
  EXPECT_EQ(TimestampText(1706708710, TimeUnit::kSecond, false), "2024-01-31 13:45:10");
  EXPECT_EQ(TimestampText(1706708710123, TimeUnit::kMilli, true),
            "2024-01-31 13:45:10.123000+00:00");
  EXPECT_EQ(TimestampText(-1, TimeUnit::kMicro, false), "1969-12-31 23:59:59.999999");
  EXPECT_EQ(TimestampText(1, TimeUnit::kNano, false), "1970-01-01 00:00:00.000000001");
  for (int64_t end : {std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()}) {
    EXPECT_FALSE(TimestampText(end, TimeUnit::kSecond, false).empty());
  }
  EXPECT_EQ(TimeText(49510, TimeUnit::kSecond), "13:45:10");
  EXPECT_EQ(TimeText(49510000001, TimeUnit::kMicro), "13:45:10.000001");
}

TEST(ColumnValues, DecimalsOfAnyWidth) {
  EXPECT_EQ(DecimalValue({"\x00\x30\x39", 3}, 3), "12.345");
  EXPECT_EQ(DecimalValue("\xff", 2), "-0.01");
  EXPECT_EQ(DecimalValue({"\x05\xdc", 2}, 3), "1.500");
  EXPECT_EQ(DecimalValue({"\0\0", 2}, 1), "0.0");
  EXPECT_EQ(DecimalValue("", 0), "0");
  EXPECT_EQ(DecimalValue("\x0c", -2), "1200");
  EXPECT_EQ(DecimalValue({"\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16}, 0),
            "-170141183460469231731687303715884105728");
  EXPECT_TRUE(IsUnreadable(DecimalValue("\x01", 1001)));
}

TEST(ColumnValues, BytesAndIdentifiers) {
  EXPECT_EQ(BytesValue("天"), "天");
  EXPECT_EQ(DescribeValue(BytesValue("\xff")), "bytes that are not UTF-8");
  EXPECT_EQ(DescribeValue(Json(1.5)), "number");
  EXPECT_EQ(UuidText({"\x55\x0e\x84\x00\xe2\x9b\x41\xd4\xa7\x16\x44\x66\x55\x44\x00\x00", 16}),
            "550e8400-e29b-41d4-a716-446655440000");
}

}  // namespace
}  // namespace qualm
