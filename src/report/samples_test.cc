// The sample browser's data.
#include <gmock/gmock.h>

#include "io/json.h"
#include "support/report_study.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Samples : public testing::ReportStudy {
 protected:
  struct Sample {
    size_t item = 0;
    std::string answer;
  };

  // A finished evaluation of the test "q" with answers to some of its items.
  void Record(const std::string& recipe, const std::string& calibration,
              const std::vector<double>& right, const std::vector<Sample>& samples) {
    RowsOutcome rows = testing::RowsOf(right, std::vector<uint64_t>(right.size(), 0));
    for (const Sample& sample : samples) {
      SampleOutcome one;
      one.item = sample.item;
      one.answer = sample.answer;
      one.row = StrCat("row ", sample.item);
      one.prompt = StrCat("prompt ", sample.item, "</script>");
      one.right = "yes";
      rows.samples.push_back(one);
    }
    AddGroup(recipe, calibration, "q");
    WriteRecord(EvaluateKey(recipe, calibration, "q"), rows);
  }

  // The JSON inside the page.
  static Json DataOf(const std::string& html) {
    const std::string_view begin = "id=\"sample-data\">";
    const size_t at = html.find(begin) + begin.size();
    return ParseJson(html.substr(at, html.find("</script>", at) - at), "page");
  }

  void SetUp() override { AddTaskTest("q", "qa"); }
};

TEST_F(Samples, NeedAnswersOfAQuantizedModel) {
  EXPECT_EQ(SampleSection(Data()), "");
  Record("float", "-", {1}, {{0, "yes"}});
  EXPECT_EQ(SampleSection(Data()), "");
  AddGroup("r", "a", "q");
  WriteRecord(EvaluateKey("r", "a", "q"), StageOutcome{});  // it failed
  AddGroup("r", "b", "q");                                  // its stage has no record
  Record("r", "c", {1}, {});                                // it kept no samples
  EXPECT_EQ(SampleSection(Data()), "");
}

TEST_F(Samples, FlipsComeFirstThenChangedAnswersThenTheRest) {
  Record("float", "-", {1, 0, 1, 1}, {{0, "yes"}, {1, "no"}, {2, "yes"}, {3, "yes"}});
  Record("r", "a", {1, 1, 0, 1}, {{0, "yes"}, {1, "yes"}, {2, "no"}, {3, "yes!"}});
  const Json data = DataOf(SampleSection(Data()));
  EXPECT_EQ(data["conditions"], Json::array({"r · a"}));
  const auto text = [&](const Json& index) {
    return data["texts"][index.get<size_t>()].get<std::string>();
  };
  // Prompt, condition, text, flag: 1 right to wrong, 2 wrong to right, 3 changed, 0 the same.
  std::vector<std::string> seen;
  for (const Json& answer : data["answers"]) {
    const Json& prompt = data["prompts"][answer[0].get<size_t>()];
    seen.push_back(StrCat(text(prompt[1]), ": ", text(answer[2]), ", ", answer[3].get<int>()));
  }
  EXPECT_THAT(seen, ::testing::ElementsAre("row 2: no, 1", "row 1: yes, 2", "row 3: yes!, 3",
                                           "row 0: yes, 0"));
  const Json& prompt = data["prompts"][data["answers"][1][0].get<size_t>()];
  EXPECT_EQ(text(prompt[0]), "q");
  EXPECT_EQ(text(prompt[2]), "prompt 1</script>");
  EXPECT_EQ(text(prompt[3]), "yes");
  EXPECT_EQ(text(prompt[4]), "no");  // the float model's answer
  EXPECT_EQ(prompt[5], 0);           // which was wrong
}

TEST_F(Samples, CannotEndTheScriptThatHoldsThem) {
  Record("float", "-", {1}, {{0, "<!--"}});
  Record("r", "a", {1}, {{0, "yes"}});
  const std::string html = SampleSection(Data());
  EXPECT_THAT(html, HasSubstr("prompt 0\\u003c/script>"));
  EXPECT_THAT(html, HasSubstr("\"\\u003c!--\""));
  EXPECT_THAT(html, HasSubstr("1 of 1 answers (first seed"));
  EXPECT_THAT(html, HasSubstr("共 1 个回答，收录 1 个"));
}

TEST_F(Samples, OfItemsThatTheFloatModelLacksAreLeftOut) {
  // Item 2 is beyond the list of verdicts, item 1 has no answer of the float model.
  Record("float", "-", {1, 1}, {{0, "yes"}, {2, "yes"}});
  Record("r", "a", {1, 0}, {{0, "yes"}, {1, "no"}, {2, "no"}});
  const Json data = DataOf(SampleSection(Data()));
  EXPECT_EQ(data["answers"].size(), 1u);
  EXPECT_EQ(data["prompts"].size(), 1u);
}

TEST_F(Samples, ARecipeWithoutCalibrationIsNamedAlone) {
  Record("float", "-", {0}, {{0, "yes"}});
  Record("r", "-", {1}, {{0, "yes"}});
  const Json data = DataOf(SampleSection(Data()));
  EXPECT_EQ(data["answers"][0][3], 2);
  EXPECT_EQ(data["conditions"], Json::array({"r"}));
}

TEST_F(Samples, StopAtTheBoundOfThePagesSize) {
  // Each answer is a text of a million bytes: the fourth would begin beyond three million.
  std::vector<Sample> floats, others;
  std::vector<double> right;
  for (size_t item = 0; item < 6; ++item) {
    floats.push_back({item, "a"});
    others.push_back(
        {item, std::string(1'000'000, static_cast<char>('b' + static_cast<int>(item)))});
    right.push_back(1);
  }
  Record("float", "-", right, floats);
  Record("r", "a", right, others);
  const std::string html = SampleSection(Data());
  EXPECT_THAT(html, HasSubstr("<span lang=\"en\">3 of 6 answers"));
  EXPECT_EQ(DataOf(html)["answers"].size(), 3u);
}

}  // namespace
}  // namespace qualm
