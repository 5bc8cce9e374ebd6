#include "chat/chat_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;

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
      ChatOptionsOf({"", "", {"enable_thinking=false", "name=a=b", "names=[1, 2]"}});
  EXPECT_EQ(options.date, kFixedChatDate);
  EXPECT_EQ(options.variables.dump(), R"({"enable_thinking":false,"name":"a=b","names":[1,2]})");
  EXPECT_EQ(ChatOptionsOf({"", "2025-01-31", {}}).date, "2025-01-31");
}

std::string ErrorOfOptions(const ChatSettings& settings, const ChatPlaces& places = {}) {
  return testing::ErrorOf([&] { (void)ChatOptionsOf(settings, places); });
}

TEST(ChatSettings, ErrorsNameWhatTheUserWrote) {
  EXPECT_EQ(ErrorOfOptions({"", "", {"thinking"}}),
            "[--chat-option] expected KEY=VALUE; got thinking");
  EXPECT_EQ(ErrorOfOptions({"", "", {"=x"}}), "[--chat-option] expected KEY=VALUE; got =x");
  EXPECT_THAT(ErrorOfOptions({"", "2025", {}}), HasSubstr("[--date] expected"));
  // Keys of a study.
  EXPECT_EQ(ErrorOfOptions({"", "", {"thinking"}}, ChatKeys()),
            "[chat_options] expected KEY=VALUE; got thinking");
  EXPECT_THAT(ErrorOfOptions({"", "2025", {}}, ChatKeys("s.yaml:7")),
              HasSubstr("[s.yaml:7: date]"));
}

// transformers' apply_chat_template takes these as parameters, not as variables.
TEST(ChatSettings, WhatTheRendererSetsIsNoMereVariable) {
  const ChatOptions options =
      ChatOptionsOf({"", "", {"tools=[{\"name\": \"add\"}]", "add_generation_prompt=false"}});
  EXPECT_EQ(options.tools.dump(), R"([{"name":"add"}])");
  EXPECT_FALSE(options.add_generation_prompt);
  EXPECT_TRUE(options.variables.empty());
  EXPECT_TRUE(ChatOptionsOf({"", "", {"documents=null"}}).documents.is_null());

  for (const std::string name : {"messages", "continue_final_message", "chat_template"}) {
    EXPECT_EQ(ErrorOfOptions({"", "", {name + "=[]"}}),
              "[--chat-option] expected a variable that templates can be given; got " + name +
                  "; transformers' apply_chat_template has a parameter of that name");
  }
  EXPECT_EQ(ErrorOfOptions({"", "", {"add_generation_prompt=0"}}),
            "[--chat-option add_generation_prompt] expected true or false; got 0");
  EXPECT_EQ(testing::ErrorOf([&] {
              (void)FindChatTemplate("chatml", "", ChatOptionsOf({"", "", {"tools=3"}}));
            }),
            "[--chat-option tools] expected a list of objects; got number");
}

// Python's json keeps integers of any size; the nearest real number would be another text.
TEST(ChatSettings, IntegersAreExactOrRefused) {
  EXPECT_EQ(ChatOptionsOf({"", "", {"a=9223372036854775807"}}).variables["a"], INT64_MAX);
  EXPECT_TRUE(ChatOptionsOf({"", "", {"a=1e30"}}).variables["a"].is_number_float());
  EXPECT_TRUE(ChatOptionsOf({"", "", {"a=\"123456789012345678901\""}}).variables["a"].is_string());
  for (const std::string value : {"123456789012345678901", "-9223372036854775809"}) {
    EXPECT_EQ(ErrorOfOptions({"", "", {"a=[1, {\"b\": " + value + "}]"}}),
              "[--chat-option] expected integers of at most 64 bits; got " + value +
                  "; in quotes it is a text");
  }
}

TEST(ChatSettings, NameAResultByWhatIsNotUsual) {
  const ChatTemplate chat = FindChatTemplate("chatml", "");
  EXPECT_EQ(ChatVariant(chat, {}), "@chatml");
  EXPECT_EQ(ChatVariant(chat, {"", std::string(kFixedChatDate), {}}), "@chatml");
  EXPECT_EQ(ChatVariant(chat, {"", "2025-01-31", {"a=1", "b=x"}}),
            "@chatml,a=1,b=x,date=2025-01-31");
}

std::string VariantOf(const std::vector<std::string>& options, const std::string& date = "") {
  return ChatVariant(FindChatTemplate("chatml", ""), {"", date, options});
}

TEST(ChatSettings, HaveOneNameIfAndOnlyIfTheyMeanTheSame) {
  // The same variables, written in other ways.
  EXPECT_EQ(VariantOf({"b=x", "a=1"}), VariantOf({"a=1", "b=x"}));
  EXPECT_EQ(VariantOf({"a=2", "a=1"}), VariantOf({"a=1"}));
  EXPECT_EQ(VariantOf({"a=[1,2]"}), VariantOf({"a=[1, 2]"}));
  EXPECT_EQ(VariantOf({"a=\"x\""}), VariantOf({"a=x"}));

  EXPECT_EQ(VariantOf({"tools=null", "add_generation_prompt=true"}), VariantOf({}));

  // Different ones that would be alike if they were only put one after the other.
  const std::vector<std::string> all = {
      VariantOf({"a=1,b=2"}),
      VariantOf({"a=1", "b=2"}),
      VariantOf({"a=1"}),
      VariantOf({"a=1.0"}),
      VariantOf({"a=\"1\""}),
      VariantOf({"a=true"}),
      VariantOf({"a=True"}),
      VariantOf({"a="}),
      VariantOf({"a=x+turns"}),
      VariantOf({"a=x"}),
      VariantOf({"a=x,date=2025-01-31"}),
      VariantOf({"a=x", "date=2025-01-31"}),
      VariantOf({"a=x"}, "2025-01-31"),
      VariantOf({"a,b=1"}),
      VariantOf({"a=b=1"}),
      VariantOf({"a=null"}),
      VariantOf({"tools=[]"}),
      VariantOf({"add_generation_prompt=false"}),
      VariantOf({"a=\"null\""}),
      VariantOf({}),
  };
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), all.size())
      << ::testing::PrintToString(all);
}

TEST(ChatSettings, FilesOfOneNameAreToldApartByTheirContent) {
  const testing::TemporaryFolder folder;
  std::set<std::string> variants;
  for (const auto& [name, text] :
       std::vector<std::pair<std::string, std::string>>{{"a/chatml.jinja", "{{ 1 }}"},
                                                        {"b/chatml.jinja", "{{ 2 }}"},
                                                        {"c/chatml.jinja", "{{ 1 }}"}}) {
    std::filesystem::create_directory((folder.path() / name).parent_path());
    folder.Write(name, text);
    const ChatTemplate chat = FindChatTemplate((folder.path() / name).string(), "");
    EXPECT_EQ(chat.name(), "chatml");
    const std::string variant = ChatVariant(chat, {});
    EXPECT_THAT(variant, ::testing::MatchesRegex("@chatml-[0-9a-f]{8}"));
    variants.insert(variant);
  }
  EXPECT_EQ(variants.size(), 2u);
}

TEST(ChatDate, TodayIsADay) {
  EXPECT_NO_THROW(CheckDate(TodayAsText(), "today"));
  EXPECT_NO_THROW(CheckDate(kFixedChatDate, "fixed"));
}

}  // namespace
}  // namespace qualm
