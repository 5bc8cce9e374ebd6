// One table in every physical form that pyarrow, pandas and datasets write it in: a task over any
// of them has the same prompts, choices and right answers, without the reader being told anything.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "data/row_sets.h"
#include "io/json.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"
#include "tasks/items.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;

// Forms that are not met, each with its reason. This list may only become shorter.
const std::map<std::string, std::string> kNotMet = {};

// Tables of text have the four choices in four columns.
bool HasChoiceColumns(const std::string& name) {
  return name.find("csv") != std::string::npos || name.find("tsv") != std::string::npos;
}

Task TaskOver(const fs::path& data) {
  const std::string choices = HasChoiceColumns(data.filename().string())
                                  ? R"(["{a}", "{b}", "{c}", "{d}"])"
                                  : R"({each: choices, text: "{it}"})";
  return ParseTask(
      StrCat("name: t\ntitle: t\nversion: 1\nharness: ours\nkind: multiple_choice\n",
             "data: {set: \"", data.string(), "\", split: all}\n",
             "context: \"{id}: {question}\"\ncontinuation: \" {choice}\"\n", "choices: ", choices,
             "\nanswer: {is: index, value: \"{answer}\"}\n", "metrics: [acc]\n"),
      data.string());
}

void ExpectSameItems(const fs::path& data, const Json& rows) {
  SCOPED_TRACE(data.filename().string());
  const TaskItems made = MakeItems(TaskOver(data), {}, "");
  ASSERT_EQ(made.items.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const TaskItem& item = made.items[i];
    EXPECT_EQ(item.contexts[0],
              StrCat(rows[i]["id"].dump(), ": ", rows[i]["question"].get<std::string>()));
    EXPECT_EQ(item.choices, rows[i]["choices"].get<std::vector<std::string>>());
    EXPECT_EQ(item.gold, rows[i]["answer"].get<size_t>());
  }
}

TEST(RowGolden, EveryFormOfATableGivesTheSameItems) {
  QUALM_SHARED_OR_SKIP(folder, "golden/rows");
  const Json rows = ReadJsonFile(folder / "expected.json")["rows"];
  std::vector<fs::path> forms;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name != "README.md" && name != "expected.json") forms.push_back(entry.path());
  }
  std::ranges::sort(forms);
  ASSERT_FALSE(forms.empty());

  for (const fs::path& form : forms) {
    const bool is_listed = kNotMet.contains(form.filename().string());
    try {
      ExpectSameItems(form, rows);
      EXPECT_FALSE(is_listed) << form << " is read: remove it from kNotMet";
    } catch (const Error& error) {
      EXPECT_TRUE(is_listed) << error.what();
    }
  }
}

// As make_tables.py writes rows: JSON has no value for bytes that are not text.
void MarkUnreadable(Json& value) {
  if (IsUnreadable(value)) value = "<unreadable>";
  if (!value.is_structured()) return;
  for (Json& inner : value) MarkUnreadable(inner);
}

TEST(RowGolden, EveryTypeInEveryFormThatPyarrowWrites) {
  const testing::TemporaryFolder folder;
  const char* python = std::getenv("QUALM_PYTHON");
  const int status = std::system(StrCat(python != nullptr ? python : "python3", " ",
                                        (testing::SourceRoot() / "tests/support").string(),
                                        "/make_tables.py ", folder.path().string())
                                     .c_str());
  constexpr int kNoPyarrow = 77;
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNoPyarrow) {
    GTEST_SKIP() << "pyarrow absent; QUALM_PYTHON names a python that has it";
  }
  ASSERT_EQ(status, 0);

  size_t compared = 0;
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    if (entry.path().extension() == ".json") continue;
    const std::string name = entry.path().string();
    SCOPED_TRACE(entry.path().filename().string());
    const Json expected = ReadJsonFile(name + ".json");
    std::vector<SourcedRow> rows = LoadRows(FindRowSet(name, ""), kWholeSet, "", "");
    ASSERT_EQ(rows.size(), expected.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      MarkUnreadable(rows[i].row);
      for (const auto& [column, value] : expected[i].items()) {
        ASSERT_TRUE(rows[i].row.contains(column)) << column;
        EXPECT_EQ(rows[i].row[column], value) << column << " of row " << i;
      }
      EXPECT_EQ(rows[i].row.size(), expected[i].size());
    }
    ++compared;
  }
  EXPECT_GT(compared, 30u);
}

}  // namespace
}  // namespace qualm
