// Published chat templates against what transformers renders them to.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "chat/chat_template.h"
#include "support/shared_data.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;

// Cases not met yet, as "template conversation", each with its reason.
const std::set<std::string>& NotMet() {
  static const std::set<std::string> cases;
  return cases;
}

// What the template makes of a golden row's conversation; "error" if it refuses.
std::string Rendered(const fs::path& folder, const Json& goldens, const std::string& name,
                     const Json& row) {
  const Json& given = goldens["conversations"][row["conversation"].get<std::string>()];
  const Json& messages = given.is_array() ? given : given["messages"];
  ChatOptions options;
  options.date = "2024-07-26";
  options.bos = goldens["bos_token"].get<std::string>();
  options.eos = goldens["eos_token"].get<std::string>();
  options.add_generation_prompt = row["add_generation_prompt"].get<bool>();
  if (given.is_object() && given.contains("tools")) options.tools = given["tools"];
  if (given.is_object() && given.contains("documents")) options.documents = given["documents"];
  try {
    return FindChatTemplate((folder / (name + ".jinja")).string(), folder, options)
        .RenderJson(messages);
  } catch (const Error& error) {
    return StrCat("error: ", error.what());
  }
}

void CheckFolder(const fs::path& folder) {
  const Json goldens = ReadJsonFile(folder / "goldens.json");
  size_t rows = 0;
  std::set<std::string> seen;
  for (const auto& [name, cases] : goldens["templates"].items()) {
    seen.insert(name);
    for (const Json& row : cases) {
      ++rows;
      const std::string what = StrCat(name, " ", row["conversation"].get<std::string>());
      const std::string got = Rendered(folder, goldens, name, row);
      const bool is_met = row.contains("error") ? got.starts_with("error: ")
                                                : got == row["text"].get<std::string>();
      if (NotMet().contains(what)) {
        EXPECT_FALSE(is_met) << what << " is met now: take it off the list";
      } else if (row.contains("error")) {
        EXPECT_TRUE(is_met) << what << ": expected " << row["error"] << ", got\n" << got;
      } else {
        EXPECT_EQ(got, row["text"].get<std::string>()) << what;
      }
    }
  }

  // Every template of the folder has goldens.
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".jinja") continue;
    EXPECT_TRUE(seen.contains(entry.path().stem().string())) << entry.path();
  }
  EXPECT_GT(rows, 0U);
  EXPECT_FALSE(seen.empty());
}

TEST(ChatTemplateGoldens, OfCurrentModels) {
  QUALM_SHARED_OR_SKIP(folder, "golden/chat-templates");
  CheckFolder(folder);
}

TEST(ChatTemplateGoldens, OfOlderModels) {
  QUALM_SHARED_OR_SKIP(folder, "chat-templates");
  CheckFolder(folder);
}

}  // namespace
}  // namespace qualm
