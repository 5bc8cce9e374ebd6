// Settings of a chat template from texts: days of the calendar, options, and the name of a result
// that was asked with them.
#include "chat/chat_settings.h"

#include <chrono>
#include <ctime>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

// The number that the digits write; -1 for anything but digits.
int NumberOf(std::string_view digits) {
  int number = 0;
  for (char c : digits) {
    if (c < '0' || c > '9') return -1;
    number = 10 * number + (c - '0');
  }
  return number;
}

}  // namespace

ChatOptions ChatOptionsOf(const ChatSettings& settings, std::string_view place) {
  ChatOptions options;
  options.date = settings.date.empty() ? std::string(kFixedChatDate) : settings.date;
  CheckDate(options.date, StrCat(place, "date"));
  options.variables = ParseChatVariables(settings.options, StrCat(place, "option"));
  return options;
}

// Two settings with one variant would share a name in stores and reports.
std::string ChatVariant(const ChatTemplate& chat, const ChatSettings& settings) {
  std::string variant = StrCat("@", chat.name());
  for (const std::string& option : settings.options) variant += StrCat(",", option);
  const bool is_usual = settings.date.empty() || settings.date == kFixedChatDate;
  return is_usual ? variant : StrCat(variant, ",date=", settings.date);
}

std::string TodayAsText() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[16];
  const size_t size = std::strftime(text, sizeof text, "%Y-%m-%d", &local);
  return std::string(text, size);
}

void CheckDate(std::string_view date, std::string_view place) {
  bool is_day = date.size() == 10 && date[4] == '-' && date[7] == '-';
  if (is_day) {
    const int year = NumberOf(date.substr(0, 4)), month = NumberOf(date.substr(5, 2)),
              day = NumberOf(date.substr(8, 2));
    is_day = year >= 0 && month >= 0 && day >= 0 &&
             std::chrono::year_month_day(std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day)))
                 .ok();
  }
  if (!is_day) ThrowBadInput(place, "a day as YYYY-MM-DD", date, "for example 2024-07-26");
}

}  // namespace qualm
