// Ids that end a text, from both files in each of their forms, and the settings that are kept for
// people.
#include "model/generation_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Reads the two files of a model of 100 ids; an empty text leaves the second file out.
GenerationConfig Read(const std::string& config, const std::string& generation_config = "") {
  const testing::TemporaryFolder folder;
  folder.Write("config.json", config);
  if (!generation_config.empty()) folder.Write("generation_config.json", generation_config);
  return ReadGenerationConfig(folder.path(), 100);
}

TEST(GenerationConfig, EndOfTextIsTheUnionOfBothFiles) {
  EXPECT_THAT(Read("{}").ends, IsEmpty());
  EXPECT_THAT(Read(R"({"eos_token_id": 2})").ends, ElementsAre(2));
  EXPECT_THAT(Read(R"({"eos_token_id": [9, 2, 9]})").ends, ElementsAre(2, 9));
  EXPECT_THAT(Read(R"({"eos_token_id": null})", R"({"eos_token_id": 7})").ends, ElementsAre(7));
  EXPECT_THAT(Read(R"({"eos_token_id": 2})", R"({"eos_token_id": [0, 99]})").ends,
              ElementsAre(0, 2, 99));
  EXPECT_THAT(Read(R"({"eos_token_id": 2})", R"({"eos_token_id": null})").ends, ElementsAre(2));
  EXPECT_THAT(Read(R"({"eos_token_id": 2})", R"({"eos_token_id": []})").ends, ElementsAre(2));
  EXPECT_THAT(Read(R"({"eos_token_id": 2})", "{}").ends, ElementsAre(2));
}

TEST(GenerationConfig, IdsThatTheModelCannotChooseAreLeftOutWithAWarning) {
  const GenerationConfig config =
      Read(R"({"eos_token_id": -1})", R"({"eos_token_id": [100, 3, 18446744073709551615]})");
  EXPECT_THAT(config.ends, ElementsAre(3));
  ASSERT_EQ(config.warnings.size(), 3u);
  EXPECT_THAT(config.warnings,
              ::testing::Contains(HasSubstr("config.json: eos_token_id -1 is left out: the "
                                            "model's ids are 0 to 99")));
  EXPECT_THAT(config.warnings, ::testing::Contains(HasSubstr("eos_token_id 100 is left out")));
}

TEST(GenerationConfig, ValuesOfAnotherTypeAreRefused) {
  for (const char* value : {"\"</s>\"", "2.0", "true", "{}", "[[2]]", "[2, null]", "[2, \"3\"]"}) {
    const std::string file = std::string(R"({"eos_token_id": )") + value + "}";
    EXPECT_THAT(ErrorOf([&] { (void)Read("{}", file); }),
                HasSubstr("generation_config.json: eos_token_id] expected a token id, a list of "
                          "token ids or null; got "))
        << value;
    EXPECT_THAT(ErrorOf([&] { (void)Read(file); }), HasSubstr("config.json: eos_token_id]"))
        << value;
  }
  EXPECT_THAT(ErrorOf([&] { (void)Read("{}", "[1]"); }),
              HasSubstr("generation_config.json] expected a JSON object; got array"));
  EXPECT_THAT(ErrorOf([&] { (void)Read("{}", "{"); }), HasSubstr("expected JSON"));
}

TEST(GenerationConfig, KeepsTheSettingsThatChangeATextInTheOrderOfTheFile) {
  const GenerationConfig config =
      Read("{}", R"({"transformers_version": "4.37.0", "top_p": 0.8, "do_sample": true,
                     "num_beams": 2, "typical_p": null, "top_k": 0, "max_length": 4096})");
  std::vector<std::string> settings;
  for (const SamplingSetting& setting : config.sampling) {
    settings.push_back(setting.key + " " + setting.value +
                       (setting.is_supported ? "" : " unsupported") +
                       (setting.is_neutral ? " neutral" : ""));
  }
  EXPECT_THAT(settings, ElementsAre("top_p 0.8", "do_sample true", "num_beams 2 unsupported",
                                    "top_k 0 neutral"));
}

TEST(GenerationConfig, TheFileIsAnInputOnlyIfItIsThere) {
  EXPECT_THAT(Read("{}").inputs.files(), IsEmpty());
  const GenerationConfig config = Read("{}", "{}");
  ASSERT_EQ(config.inputs.files().size(), 1u);
  EXPECT_EQ(config.inputs.files()[0].role, "generation_config.json");
}

}  // namespace
}  // namespace qualm
