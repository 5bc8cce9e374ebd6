// Writes dates, times, decimals and identifiers of columnar files as texts, the way Python prints
// them. Counts come from untrusted files: any 64-bit value has a text.
#include "data/column_values.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "data/budget.h"

namespace qualm {
namespace {

constexpr int64_t kUnitsPerSecond[] = {1, 1000, 1000000, 1000000000};

// Rounds down, also below zero.
int64_t FloorDivide(int64_t value, int64_t by) {
  return value / by - (value % by != 0 && (value < 0) != (by < 0) ? 1 : 0);
}

std::string Padded(int64_t value, size_t digits) {
  std::string text = StrCat(value);
  if (text.size() < digits) text.insert(0, digits - text.size(), '0');
  return text;
}

// "13:45:10.000250" of a count below one day.
std::string ClockText(int64_t count, TimeUnit unit) {
  const int64_t per_second = kUnitsPerSecond[static_cast<size_t>(unit)];
  const int64_t seconds = count / per_second, fraction = count % per_second;
  std::string text = StrCat(Padded(seconds / 3600, 2), ":", Padded(seconds / 60 % 60, 2), ":",
                            Padded(seconds % 60, 2));
  if (fraction == 0) return text;

  // Python prints microseconds for everything that is not finer.
  if (unit == TimeUnit::kNano) return StrCat(text, ".", Padded(fraction, 9));
  return StrCat(text, ".", Padded(fraction * (1000000 / per_second), 6));
}

// Divides a big-endian magnitude by ten in place and returns the remainder.
int DivideByTen(std::string& magnitude) {
  int rest = 0;
  for (char& byte : magnitude) {
    const int value = rest * 256 + static_cast<uint8_t>(byte);
    byte = static_cast<char>(value / 10);
    rest = value % 10;
  }
  return rest;
}

// The absolute value of a two's complement number.
std::string Magnitude(std::string bytes, bool is_negative) {
  if (!is_negative) return bytes;
  int carry = 1;
  for (size_t i = bytes.size(); i-- > 0;) {
    const int value = (static_cast<uint8_t>(bytes[i]) ^ 0xff) + carry;
    bytes[i] = static_cast<char>(value & 0xff);
    carry = value >> 8;
  }
  return bytes;
}

}  // namespace

Json BytesValue(std::string_view bytes) {
  if (!IsValidUtf8(bytes)) return UnreadableValue("bytes that are not UTF-8");
  return bytes;
}

// The calendar repeats every 400 years; years begin in March so that the leap day comes last.
std::string DateText(int64_t days) {
  constexpr int64_t kDaysInEra = 146097, kDaysBeforeEpoch = 719468;
  // Beyond this the sum below could overflow; no calendar has such a year.
  days = std::clamp(days, -(int64_t{1} << 60), int64_t{1} << 60) + kDaysBeforeEpoch;
  const int64_t era = FloorDivide(days, kDaysInEra);
  const int64_t day_of_era = days - era * kDaysInEra;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);

  const int64_t shifted_month = (5 * day_of_year + 2) / 153;
  const int64_t day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
  const int64_t month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
  const int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  return StrCat(Padded(year, 4), "-", Padded(month, 2), "-", Padded(day, 2));
}

std::string TimeText(int64_t count, TimeUnit unit) {
  const int64_t per_day = 86400 * kUnitsPerSecond[static_cast<size_t>(unit)];
  const int64_t rest = count % per_day;
  return ClockText(rest < 0 ? rest + per_day : rest, unit);
}

std::string TimestampText(int64_t count, TimeUnit unit, bool is_utc) {
  const int64_t per_day = 86400 * kUnitsPerSecond[static_cast<size_t>(unit)];
  return StrCat(DateText(FloorDivide(count, per_day)), " ", TimeText(count, unit),
                is_utc ? "+00:00" : "");
}

Json DecimalValue(std::string_view big_endian, int64_t scale) {
  constexpr size_t kMostBytes = 64;
  constexpr int64_t kMostScale = 1000;
  if (big_endian.size() > kMostBytes || scale > kMostScale || scale < -kMostScale) {
    return UnreadableValue(StrCat("a decimal of ", big_endian.size(), " bytes and scale ", scale));
  }

  // Digits from the last one on, at least one in front of the point.
  const bool is_negative = !big_endian.empty() && (big_endian[0] & 0x80) != 0;
  std::string magnitude = Magnitude(std::string(big_endian), is_negative);
  std::string digits;
  while (std::ranges::any_of(magnitude, [](char byte) { return byte != 0; })) {
    digits += static_cast<char>('0' + DivideByTen(magnitude));
  }
  const size_t after_point = scale > 0 ? static_cast<size_t>(scale) : 0;
  if (digits.size() <= after_point) digits.append(after_point + 1 - digits.size(), '0');
  std::ranges::reverse(digits);

  if (scale < 0 && digits != "0") digits.append(static_cast<size_t>(-scale), '0');
  if (after_point > 0) digits.insert(digits.end() - static_cast<ptrdiff_t>(after_point), '.');
  return is_negative ? StrCat("-", digits) : digits;
}

std::string UuidText(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kDigits[static_cast<uint8_t>(bytes[i]) >> 4];
    text += kDigits[static_cast<uint8_t>(bytes[i]) & 15];
  }
  return text;
}

uint64_t DeepBytes(const Json& value) {
  constexpr uint64_t kStringBytes = 32;  // besides its characters
  uint64_t bytes = kValueBytes;
  if (value.is_string()) bytes += kStringBytes + value.get_ref<const std::string&>().size();
  if (value.is_binary()) bytes += kStringBytes + value.get_binary().size();
  if (value.is_array()) {
    for (const Json& element : value) bytes += DeepBytes(element);
  }
  if (value.is_object()) {
    for (const auto& [name, member] : value.get_ref<const Json::object_t&>()) {
      bytes += kMemberBytes + name.size() + DeepBytes(member);
    }
  }
  return bytes;
}

}  // namespace qualm
