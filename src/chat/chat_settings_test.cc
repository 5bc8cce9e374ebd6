#include "chat/chat_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/errors.h"

namespace qualm {
namespace {

TEST(ChatDate, OnlyDaysOfTheCalendarAreTaken) {
  for (std::string_view day : {"2024-07-26", "2024-02-29", "1999-12-31", "0001-01-01"}) {
    EXPECT_NO_THROW(CheckDate(day, "--date")) << day;
  }
  for (std::string_view day : {"", "2023-02-29", "2024-13-01", "2024-00-10", "2024-07-32",
                               "2024-7-26", "26-07-2024", "2024/07/26", "2024-07-2x", "today"}) {
    EXPECT_EQ(testing::ErrorOf([&] { CheckDate(day, "--date"); }),
              "[--date] expected a day as YYYY-MM-DD; got " + std::string(day) +
                  "; for example 2024-07-26")
        << day;
  }
}

TEST(ChatSettings, BecomeTheOptionsOfATemplate) {
  const ChatOptions options =
      ChatOptionsOf({"", "", {"enable_thinking=false", "name=you", "names=[1, 2]"}}, "--");
  EXPECT_EQ(options.date, kFixedChatDate);
  EXPECT_EQ(options.variables.dump(), R"({"enable_thinking":false,"name":"you","names":[1,2]})");
  EXPECT_EQ(ChatOptionsOf({"", "2025-01-31", {}}, "--").date, "2025-01-31");
  EXPECT_EQ(testing::ErrorOf([&] {
              (void)ChatOptionsOf({"", "", {"thinking"}}, "chat_");
            }),
            "[chat_option] expected KEY=VALUE; got thinking");
  EXPECT_THAT(testing::ErrorOf([&] {
                (void)ChatOptionsOf({"", "2025", {}}, "chat_");
              }),
              ::testing::HasSubstr("[chat_date]"));
}

TEST(ChatSettings, NameAResultByWhatIsNotUsual) {
  const ChatTemplate chat = FindChatTemplate("chatml", "");
  EXPECT_EQ(ChatVariant(chat, {}), "@chatml");
  EXPECT_EQ(ChatVariant(chat, {"", std::string(kFixedChatDate), {}}), "@chatml");
  EXPECT_EQ(ChatVariant(chat, {"", "2025-01-31", {"a=1", "b=x"}}),
            "@chatml,a=1,b=x,date=2025-01-31");
}

TEST(ChatDate, TodayIsADay) {
  EXPECT_NO_THROW(CheckDate(TodayAsText(), "today"));
  EXPECT_NO_THROW(CheckDate(kFixedChatDate, "fixed"));
}

}  // namespace
}  // namespace qualm
