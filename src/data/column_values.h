// Values that columnar files store as bytes or as counts since an epoch, in the form in which a
// prompt shows them. Parquet and Arrow share these, so a table gives the same rows in both.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "data/rows.h"

namespace qualm {

enum class TimeUnit : uint8_t { kSecond, kMilli, kMicro, kNano };

// The bytes as text; an unreadable value where they are not UTF-8.
Json BytesValue(std::string_view bytes);
// Days since 1970-01-01: "2024-01-31".
std::string DateText(int64_t days);
// A time of day: "13:45:10", with six digits (nanoseconds: nine) of a fraction that is not zero.
std::string TimeText(int64_t count, TimeUnit unit);
// Since 1970: "2024-01-31 13:45:10", with "+00:00" at the end where it is in UTC.
std::string TimestampText(int64_t count, TimeUnit unit, bool is_utc);
// A two's complement integer of any width, most significant byte first, times 10^-scale: all digits
// of the scale, "1.500". An unreadable value beyond 64 bytes and beyond a scale of 1000.
Json DecimalValue(std::string_view big_endian, int64_t scale);
// 16 bytes: "550e8400-e29b-41d4-a716-446655440000".
std::string UuidText(std::string_view bytes);

// Bytes of memory that a copy of the value takes, for charging a budget.
uint64_t DeepBytes(const Json& value);

}  // namespace qualm
