// Requests against those that lm-evaluation-harness 0.4.13 builds (shared/golden/prompts): every
// file of the folder, to the byte. Tasks that the harness ships are asked as our NAME-lm-eval;
// own_* files bring their task and rows along. What is not met is listed with its reason.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "evaluate/request.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"
#include "tasks/prompt_json.h"
#include "tasks/task.h"
#include "tokenize/blanks.h"
#include "tokenize/tokenizer.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExamplesInFile =
    "the examples are texts of the harness's own task file, which runs as --task FILE";

// File, number of the variant: why it is not met. A listed variant that is met fails the test.
const std::map<std::pair<std::string, size_t>, std::string> kNotMet = {
    {{"bbh_cot_fewshot_boolean_expressions", 0}, kExamplesInFile},
    {{"bbh_fewshot_boolean_expressions", 0}, kExamplesInFile},
    {{"gsm8k_cot", 0}, kExamplesInFile},
    {{"gsm8k_cot", 1}, kExamplesInFile},
    {{"gsm8k_cot", 2}, kExamplesInFile},
    {{"gsm8k_cot_llama", 0}, kExamplesInFile},
    {{"gsm8k_cot_llama", 1}, kExamplesInFile},
    {{"minerva_math_algebra", 1}, kExamplesInFile},
};

// The splits that a golden file was made with, where it could not use the task's own.
struct Splits {
  std::string scored, shots;
};
const std::map<std::string, Splits> kSplits = {
    {"arc_easy", {"", "validation"}},
    {"arc_challenge", {"", "validation"}},
    {"hellaswag", {"val_1000", "val_1000[:400]"}},
    {"piqa", {"", "validation[:400]"}},
    {"sst2", {"", "train[:2000]"}},
    {"hendrycks_math_algebra", {"test[:12]", ""}},
};

// Our task for one of the harness's.
std::string OurName(const std::string& name) {
  if (name.starts_with("hendrycks_math_")) return "hendrycks_math-lm-eval";
  if (name.starts_with("minerva_math_")) return "minerva_math-lm-eval";
  return name + "-lm-eval";
}

// The rows and the YAML of a golden file as files of a user.
Task TaskOfFile(const Json& golden, const fs::path& folder) {
  Json yaml = golden.at("yaml");
  Json files = Json::object();
  for (const auto& [split, rows] : golden.at("rows").items()) {
    std::string lines;
    for (const Json& row : rows) lines += row.dump() + "\n";
    WriteFileAtomically(folder / (split + ".jsonl"), lines);
    files[split] = split + ".jsonl";
  }
  yaml["dataset_path"] = "json";
  yaml.erase("dataset_name");
  yaml["dataset_kwargs"] = {{"data_files", files}};
  WriteFileAtomically(folder / "task.yaml", yaml.dump(2));
  return FindTask((folder / "task.yaml").string());
}

// Rows of WinoGrande where a user would have them.
Task WinoGrande(const Json& golden, const fs::path& folder) {
  fs::create_directories(folder / "winogrande");
  for (const auto& [split, name] : {std::pair{"train", "train_xl"}, {"validation", "dev"}}) {
    if (!golden.at("rows").contains(split)) continue;
    std::string lines;
    for (const Json& row : golden.at("rows").at(split)) lines += row.dump() + "\n";
    WriteFileAtomically(folder / "winogrande" / StrCat(name, ".jsonl"), lines);
  }
  return FindTask("winogrande-lm-eval");
}

ItemOptions OptionsOf(const std::string& name, const Json& variant) {
  ItemOptions options;
  options.shots = variant.at("num_fewshot").get<size_t>();
  options.fewshot_seed = variant.at("fewshot_seed").get<uint64_t>();
  const auto splits = kSplits.find(name);
  if (splits == kSplits.end()) return options;
  options.split = splits->second.scored;
  if (*options.shots > 0) options.shot_split = splits->second.shots;
  return options;
}

// Empty: all requests are equal. Else the first difference.
std::string Difference(const Json& expected, const Json& found) {
  for (size_t i = 0; i < expected.at("requests").size(); ++i) {
    const Json& wanted = expected["requests"][i];
    for (const char* key : {"doc", "context", "continuation", "continuations"}) {
      if (!wanted.contains(key)) continue;
      const Json& got = found.at("requests").at(i);
      if (got.contains(key) && got[key] == wanted[key]) continue;
      return StrCat("request ", i, " ", key, "\nexpected ", wanted[key].dump(), "\ngot      ",
                    got.contains(key) ? got[key].dump() : "none");
    }
  }
  for (size_t i = 0; expected.contains("shot_rows") && i < expected["shot_rows"].size(); ++i) {
    const Json& wanted = expected["shot_rows"][i];
    if (found.at("shot_rows").at(i) != wanted) {
      return StrCat("shot rows ", i, ": expected ", wanted.dump(), "; got ",
                    found["shot_rows"][i].dump());
    }
  }
  return "";
}

// What a task asks in the way of a variant, compared with the golden.
std::string CompareTask(const Task& task, const Json& golden, const Json& variant,
                        const fs::path& data) {
  const auto name = golden.at("task").get<std::string>();
  ItemOptions options = OptionsOf(name, variant);
  options.limit = variant.at("requests").size();
  PromptStyle style;
  std::optional<ChatTemplate> chat;
  if (variant.contains("chat_template")) {
    const auto file = variant["chat_template"].get<std::string>();
    // The tokens of the models that the harness was given.
    const std::string bos = file == "chatml"     ? "<|endoftext|>"
                            : file == "gemma-it" ? ""
                                                 : "<|begin_of_text|>";
    const fs::path path = testing::SharedRoot() / "chat-templates" / (file + ".jinja");
    ChatOptions tokens;
    tokens.bos = bos;
    chat.emplace(FindChatTemplate(path.string(), "", tokens));
    style.chat = &*chat;
  }
  if (variant.contains("system_instruction")) style.system = variant["system_instruction"];
  style.shots_as_turns =
      variant.contains("fewshot_as_multiturn") && variant["fewshot_as_multiturn"].get<bool>();
  return Difference(variant, PromptsAsJson(task, MakeItems(task, options, data), style));
}

// What a variant asks here, compared with the golden.
std::string Compare(const Json& golden, const Json& variant, const fs::path& folder) {
  const auto name = golden.at("task").get<std::string>();
  const fs::path data = testing::SharedRoot() / "datasets";
  if (name == "winogrande") return CompareTask(WinoGrande(golden, folder), golden, variant, folder);
  const Task task = golden.contains("rows") ? TaskOfFile(golden, folder) : FindTask(OurName(name));
  return CompareTask(task, golden, variant, data);
}

TEST(LmEvalPrompts, AreThoseOfTheHarness) {
  QUALM_SHARED_OR_SKIP(goldens, "golden/prompts");
  size_t met = 0;
  std::set<std::pair<std::string, size_t>> listed;
  for (const auto& [key, reason] : kNotMet) listed.insert(key);

  for (const auto& entry : fs::directory_iterator(goldens)) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".json" || name == "pairs" || name == "wikitext") continue;
    const Json golden = ReadJsonFile(entry.path());
    for (size_t i = 0; i < golden.at("variants").size(); ++i) {
      const testing::TemporaryFolder folder;
      std::string difference;
      try {
        difference = Compare(golden, golden["variants"][i], folder.path());
      } catch (const Error& error) {
        difference = error.what();
      }
      const bool is_listed = listed.erase({name, i}) > 0;
      met += difference.empty() ? 1 : 0;
      if (is_listed) {
        EXPECT_FALSE(difference.empty()) << name << " " << i << " is met: take it off the list";
      } else {
        EXPECT_EQ(difference, "") << name << " variant " << i;
      }
    }
  }
  EXPECT_GT(met, 0u);
  EXPECT_TRUE(listed.empty()) << listed.begin()->first << " is listed, but there is no such golden";
}

// The harness's files below lm_eval/tasks with examples that our files do not copy.
const std::map<std::string, const char*> kFilesWithExamples = {
    {"gsm8k_cot", "gsm8k/gsm8k-cot.yaml"},
    {"gsm8k_cot_llama", "gsm8k/gsm8k-cot-llama.yaml"},
    {"bbh_fewshot_boolean_expressions", "bbh/fewshot/boolean_expressions.yaml"},
    {"bbh_cot_fewshot_boolean_expressions", "bbh/cot_fewshot/boolean_expressions.yaml"},
    {"minerva_math_algebra", "minerva_math/minerva_math_algebra.yaml"}};

// $QUALM_LM_EVAL is the folder of an installed lm_eval 0.4.13. Every variant that our own tasks
// leave out is met by the file of the harness, or it is refused because of Python code.
TEST(LmEvalPrompts, FilesOfAnInstalledHarnessBringTheirExamples) {
  QUALM_SHARED_OR_SKIP(goldens, "golden/prompts");
  const char* harness = std::getenv("QUALM_LM_EVAL");
  if (harness == nullptr) GTEST_SKIP() << "QUALM_LM_EVAL names no installed lm_eval";

  for (const auto& [variant, reason] : kNotMet) {
    const auto& [name, number] = variant;
    const Json golden = ReadJsonFile(goldens / (name + ".json"));
    const fs::path file = fs::path(harness) / "tasks" / kFilesWithExamples.at(name);
    ASSERT_TRUE(fs::exists(file)) << file;
    std::string difference;
    try {
      difference = CompareTask(FindTask(file.string()), golden, golden.at("variants").at(number),
                               testing::SharedRoot() / "datasets");
    } catch (const Error& error) {
      difference = error.what();
    }
    if (name == "minerva_math_algebra") {
      EXPECT_NE(difference.find("!function utils.process_docs; qualm runs no Python"),
                std::string::npos)
          << difference;
    } else {
      EXPECT_EQ(difference, "") << name << " variant " << number;
    }
  }
}

constexpr const char* kEndAfterContext =
    "this tokenizer ends every text by EOS, which the harness leaves between context and "
    "continuation and ours does not";

// Tokenizer, add_bos_token: sets of pairs.json that are not met, and why.
const std::map<std::pair<std::string, std::string>, std::string> kPairsNotMet = {
    {{"tokenizers/unigram_t5", "null"}, kEndAfterContext},
    {{"tokenizers/unigram_t5", "true"}, kEndAfterContext},
};

// Where the harness has no token of the context or of the continuation, it fails an assertion
// later; ours gives the context BOS, and the continuation at least one token or an error.
bool FailsInTheHarness(const Json& one) {
  return one.at("context_ids").empty() || one.at("continuation_ids").empty();
}

// Empty: equal.
std::string PairDifference(const Tokenizer& tokenizer, const Json& one, bool with_bos) {
  const LikelihoodRequest request = MakeLikelihoodRequest(
      tokenizer, EncodeContext(tokenizer, one.at("context").get<std::string>(), with_bos),
      one.at("continuation").get<std::string>());
  const auto cut = request.tokens.begin() + static_cast<ptrdiff_t>(request.context_length);
  const Json found = {{"context_ids", std::vector<TokenId>(request.tokens.begin(), cut)},
                      {"continuation_ids", std::vector<TokenId>(cut, request.tokens.end())}};
  if (found["context_ids"] == one.at("context_ids") &&
      found["continuation_ids"] == one.at("continuation_ids")) {
    return "";
  }
  return StrCat("expected ", one.dump(), "\ngot      ", found.dump());
}

// The first difference of a set, or the complaint about its tokenizer.
std::string SetDifference(const Json& set, size_t& checked) {
  try {
    const fs::path folder =
        testing::SharedRoot() / "golden" / set.at("tokenizer").get<std::string>();
    const auto tokenizer = LoadTokenizer(folder);
    for (const Json& one : set.at("cases")) {
      if (FailsInTheHarness(one)) continue;
      ++checked;
      std::string difference = PairDifference(*tokenizer, one, set.at("add_bos_token") != false);
      if (!difference.empty()) return difference;
    }
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(LmEvalPrompts, ContextsAndContinuationsAreCutAsInTheHarness) {
  QUALM_SHARED_OR_SKIP(file, "golden/prompts/pairs.json");
  size_t checked = 0;
  auto listed = kPairsNotMet;
  for (const Json& set : ReadJsonFile(file)) {
    const auto name = set.at("tokenizer").get<std::string>();
    const std::string add_bos = set.at("add_bos_token").dump();
    const std::string difference = SetDifference(set, checked);
    if (listed.erase({name, add_bos}) > 0) {
      EXPECT_NE(difference, "") << name << " " << add_bos << " is met: take it off the list";
    } else {
      EXPECT_EQ(difference, "") << name << " " << add_bos;
    }
  }
  EXPECT_GT(checked, 0u);
  EXPECT_TRUE(listed.empty()) << "a listed set is not in the file";
}

TEST(LmEvalPrompts, PagesOfWikitextAreTheHarnesss) {
  QUALM_SHARED_OR_SKIP(file, "golden/prompts/wikitext.json");
  const Json goldens = ReadJsonFile(file);
  const testing::TemporaryFolder folder;
  std::string lines;
  for (const Json& golden : goldens) lines += Json{{"page", golden.at("input")}}.dump() + "\n";
  WriteFileAtomically(folder.path() / "pages.jsonl", lines);
  WriteFileAtomically(
      folder.path() / "task.yaml",
      "task: pages\ndataset_path: json\ndataset_kwargs: {data_files: {test: pages.jsonl}}\n"
      "test_split: test\noutput_type: loglikelihood_rolling\ndoc_to_text: ''\n"
      "doc_to_target: '{{page | wikitext}}'\nqualm: {counted: '{{page}}'}\n");
  const TaskItems made = MakeItems(FindTask((folder.path() / "task.yaml").string()), {}, "");

  ASSERT_EQ(made.items.size(), goldens.size());
  ASSERT_GT(goldens.size(), 0u);
  for (size_t i = 0; i < goldens.size(); ++i) {
    EXPECT_EQ(made.items[i].continuations[0], goldens[i].at("expected").get<std::string>()) << i;
    EXPECT_EQ(SplitCount(made.items[i].counted), goldens[i].at("words").get<size_t>()) << i;
    EXPECT_EQ(made.items[i].counted.size(), goldens[i].at("bytes").get<size_t>()) << i;
  }
}

}  // namespace
}  // namespace qualm
