// One difference at a time: each fact that decides a score is changed alone and must be named.
#include "evaluate/explain.h"

#include <gmock/gmock.h>

#include "evaluate/protocol_record.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// What `qualm eval --task --json` writes of one task with two items.
Json Evaluation() {
  Json item = {{"row", 4},
               {"prompt_sha256", Sha256OfText("Q: a\nA:")},
               {"prompt_bytes", 7},
               {"prompt", "Q: a\nA:"},
               {"continuations_sha256", "c4"},
               {"continuations", {" yes", " no"}},
               {"targets", {0}},
               {"shot_rows", {1, 2}},
               {"tokens", 5},
               {"token_ids", {1, 7, 8, 9, 10}},
               {"token_hash", "t4"}};
  Json later = item;
  later["row"] = 5;
  later["prompt"] = "Q: b\nA:";
  later["prompt_sha256"] = Sha256OfText("Q: b\nA:");
  later["token_ids"] = {1, 7, 11, 9, 10};
  later["token_hash"] = "t5";

  Json protocol = {{"task", "tiny"},
                   {"version", 3},
                   {"is_lm_eval", false},
                   {"kind", "multiple_choice"},
                   {"split", "dev"},
                   {"files_hash", "f"},
                   {"n", 20},
                   {"rows_in_split", 40},
                   {"limit", 20},
                   {"rows_hash", "r"},
                   {"prompts_sha256", "p"},
                   {"continuations_sha256", "c"},
                   {"bos", {{"id", 1}, {"piece", "<s>"}, {"leading", 1}}},
                   {"chat_template", nullptr},
                   {"multiturn", false},
                   {"system", nullptr},
                   {"shots", 2},
                   {"fewshot_seed", 0},
                   {"metrics", {"acc", "acc_norm"}},
                   {"filters", Json::array()},
                   {"generation", nullptr},
                   {"context", 2048},
                   {"longest_request", 60},
                   {"prompts_with_fewer_shots", 0},
                   {"prompts_truncated", 0},
                   {"texts_shortened", 0},
                   {"compute_type", "float32"},
                   {"weights", "float"},
                   {"items", {item, later}}};
  Json row = {{"task", "tiny"}, {"version", 3}, {"shots", 2},   {"metric", "acc"},
              {"value", 0.5},   {"n", 20},      {"stderr", 0.1}};
  return {{"model", "m"}, {"model_hash", "h"}, {"rows", {row}}, {"protocols", {protocol}}};
}

// What `qualm eval --corpus --json` writes of one text.
Json TextEvaluation() {
  Json window = {{"tokens", 3}, {"token_ids", {1, 7, 8}}, {"token_hash", "w"}};
  Json protocol = {{"corpus", "a.txt"},
                   {"text_sha256", "x"},
                   {"text_bytes", 100},
                   {"n", 2},
                   {"limit", 0},
                   {"protocol", "gptq"},
                   {"protocol_version", 1},
                   {"seqlen", 64},
                   {"stride", 64},
                   {"bos", {{"id", 1}, {"piece", "<s>"}, {"leading", 1}}},
                   {"bos_in_every_window", false},
                   {"compute_type", "float32"},
                   {"weights", "float"},
                   {"tokens", 128},
                   {"token_hash", "t"},
                   {"items", {window}}};
  Json row = {{"corpus", "a.txt"},
              {"metric", "ppl"},
              {"value", 12.5},
              {"stderr", 0.5},
              {"n", 2},
              {"n_tokens", 126},
              {"seqlen", 64},
              {"protocol", "gptq"},
              {"protocol_version", 1}};
  return {{"model", "m"}, {"model_hash", "h"}, {"results", {row}}, {"protocols", {protocol}}};
}

std::vector<EvaluationRecord> Read(const Json& json) {
  const testing::TemporaryFolder folder;
  return ReadEvaluations(folder.Write("eval.json", json.dump()));
}

Explanation Compare(const Json& first, const Json& second) {
  const std::vector<EvaluationRecord> a = Read(first), b = Read(second);
  const RecordPairs records = PairRecords(a, b);
  EXPECT_THAT(records.pairs, SizeIs(1));
  return Explain(*records.pairs.at(0).first, *records.pairs.at(0).second);
}

// "aspect: what", in their order.
std::vector<std::string> Named(const Explanation& explanation) {
  std::vector<std::string> named;
  for (const ProtocolDifference& difference : explanation.differences) {
    named.push_back(std::string(AspectName(difference.aspect)) + ": " + difference.what);
  }
  return named;
}

// The differences after one key of the first task's or text's protocol was changed.
std::vector<std::string> AfterChange(Json json, const std::string& pointer, const Json& value) {
  const Json before = json;
  json[Json::json_pointer("/protocols/0" + pointer)] = value;
  return Named(Compare(before, json));
}

TEST(Explain, FindsNothingBetweenEqualEvaluations) {
  const Explanation explanation = Compare(Evaluation(), Evaluation());
  EXPECT_THAT(explanation.differences, IsEmpty());
  EXPECT_THAT(explanation.unknown, IsEmpty());
  ASSERT_THAT(explanation.scores, SizeIs(1));
  EXPECT_EQ(explanation.scores[0].metric, "acc");
  EXPECT_EQ(explanation.scores[0].second.value, 0.5);
  EXPECT_THAT(Compare(TextEvaluation(), TextEvaluation()).differences, IsEmpty());
}

TEST(Explain, NamesEachFactOfATaskThatDiffersAlone) {
  struct Case {
    const char* pointer;
    Json value;
    const char* named;
  };
  const std::vector<Case> cases = {
      {"/version", 4, "task: version of the task"},
      {"/kind", "continuation", "task: kind of the task"},
      {"/split", "test", "rows: split"},
      {"/files_hash", "g", "rows: hash of the task's file and its data files"},
      {"/rows_in_split", 41, "rows: rows in the split"},
      {"/rows_hash", "s", "rows: hash of the rows that were asked"},
      {"/items/0/targets/0", 1, "rows: right choice of row 4"},
      {"/items/1/prompt_sha256", "other", "prompts: prompt of row 5"},
      {"/items/0/continuations_sha256", "other", "prompts: continuations of row 4"},
      {"/prompts_sha256", "q", "prompts: SHA-256 over all prompts"},
      {"/continuations_sha256", "d", "prompts: SHA-256 over all continuations"},
      {"/bos/id", 2, "bos: BOS token"},
      {"/bos/leading", 2, "bos: BOS tokens in front"},
      {"/system",
       {{"sha256", "s"}, {"text", "Be brief."}},
       "system text: SHA-256 of the system text"},
      {"/shots", 3, "examples: number of examples"},
      {"/fewshot_seed", 1, "examples: seed of the examples"},
      {"/items/0/shot_rows/1", 3, "examples: rows of the examples of row 4"},
      {"/filters", {"strict"}, "filters: filters of the answers"},
      {"/prompts_truncated", 1, "windows: prompts that lost tokens"},
      {"/prompts_with_fewer_shots", 1, "windows: prompts that lost examples"},
      {"/items/1/token_hash", "u", "tokens: tokens of row 5, from token 6 on"},
      {"/weights", "rtn-w4-g64", "model: weights"},
      {"/compute_type", "bfloat16", "model: type of the arithmetic"},
  };
  for (const Case& one : cases) {
    EXPECT_THAT(AfterChange(Evaluation(), one.pointer, one.value), ElementsAre(one.named))
        << one.pointer;
  }
}

TEST(Explain, NamesEachFactOfATextThatDiffersAlone) {
  struct Case {
    const char* pointer;
    Json value;
    const char* named;
  };
  const std::vector<Case> cases = {
      {"/text_sha256", "y", "rows: SHA-256 of the text"},
      {"/n", 3, "rows: n"},
      {"/bos_in_every_window", true, "bos: BOS in every window"},
      {"/protocol", "llama.cpp", "windows: perplexity protocol"},
      {"/protocol_version", 2, "windows: version of the protocol"},
      {"/seqlen", 128, "windows: tokens of a window"},
      {"/stride", 32, "windows: stride of the windows"},
      {"/items/0/token_hash", "v", "tokens: tokens of window 0, from token 4 on"},
      {"/token_hash", "u", "tokens: hash of the text's tokens"},
  };
  for (const Case& one : cases) {
    EXPECT_THAT(AfterChange(TextEvaluation(), one.pointer, one.value), ElementsAre(one.named))
        << one.pointer;
  }
}

TEST(Explain, NamesTheModelAndItsHash) {
  Json other = Evaluation();
  other["model_hash"] = "other";
  EXPECT_THAT(Named(Compare(Evaluation(), other)), ElementsAre("model: hash of the model"));
}

TEST(Explain, NamesTheMainMetricAsNormalization) {
  EXPECT_THAT(AfterChange(Evaluation(), "/metrics", {"acc_norm", "acc"}),
              ElementsAre("normalization: main metric", "metric: metrics"));
}

TEST(Explain, NamesTheEarlierOfTwoDifferencesFirst) {
  Json other = Evaluation();
  other["model_hash"] = "other";
  other["protocols"][0]["bos"]["leading"] = 0;
  other["protocols"][0]["split"] = "test";
  EXPECT_THAT(Named(Compare(Evaluation(), other)),
              ElementsAre("rows: split", "bos: BOS tokens in front", "model: hash of the model"));
}

TEST(Explain, ShowsWhereTheFirstPromptDiffers) {
  Json other = Evaluation();
  Json& item = other["protocols"][0]["items"][0];
  item["prompt"] = "Q: a\nA: ";
  item["prompt_sha256"] = Sha256OfText("Q: a\nA: ");
  const Explanation explanation = Compare(Evaluation(), other);
  ASSERT_THAT(Named(explanation), ElementsAre("prompts: prompt of row 4"));
  ASSERT_TRUE(explanation.differences[0].text);
  EXPECT_EQ(explanation.differences[0].text->line, 2u);
  EXPECT_EQ(explanation.differences[0].text->second, R"("Q: a\nA: ")");
}

TEST(Explain, ShowsTheTokensFromTheFirstThatDiffers) {
  Json other = Evaluation();
  Json& item = other["protocols"][0]["items"][0];
  item["token_ids"] = {1, 7, 20, 21};
  item["token_hash"] = "x";
  const Explanation explanation = Compare(Evaluation(), other);
  ASSERT_THAT(Named(explanation), ElementsAre("tokens: tokens of row 4, from token 3 on"));
  EXPECT_EQ(explanation.differences[0].first, Json({8, 9, 10}));
  EXPECT_EQ(explanation.differences[0].second, Json({20, 21}));
}

// A hash that does not fit its text must not be taken for a difference that can be shown.
TEST(Explain, EqualTextsWithOtherHashesHaveNoExcerpt) {
  Json other = Evaluation();
  other["protocols"][0]["items"][0]["prompt_sha256"] = "lie";
  const Explanation explanation = Compare(Evaluation(), other);
  ASSERT_THAT(explanation.differences, SizeIs(1));
  EXPECT_FALSE(explanation.differences[0].text);
}

TEST(Explain, LeavesOutWhatCannotMatter) {
  // A longer context where everything fits, a seed without examples, a limit of the same rows.
  EXPECT_THAT(AfterChange(Evaluation(), "/context", 4096), IsEmpty());
  EXPECT_THAT(AfterChange(Evaluation(), "/limit", 0), IsEmpty());
  EXPECT_THAT(AfterChange(Evaluation(), "/multiturn", true), IsEmpty());
  Json first = Evaluation();
  first["protocols"][0]["shots"] = 0;
  EXPECT_THAT(AfterChange(first, "/fewshot_seed", 9), IsEmpty());
  // Where a request does not fit into one of the two, it matters.
  Json long_prompts = Evaluation();
  long_prompts["protocols"][0]["longest_request"] = 2050;
  EXPECT_THAT(AfterChange(long_prompts, "/context", 4096), ElementsAre("windows: model's context"));
  // One text under two names.
  Json other = TextEvaluation();
  other["results"][0]["corpus"] = other["protocols"][0]["corpus"] = "b.txt";
  EXPECT_THAT(Named(Compare(TextEvaluation(), other)), IsEmpty());
}

TEST(Explain, ReadsTheChatTemplate) {
  const Json chat = {
      {"name", "chatml"}, {"sha256", "1"}, {"date", "2024-07-26"}, {"options", Json::array()}};
  EXPECT_THAT(AfterChange(Evaluation(), "/chat_template", chat),
              ElementsAre("chat template: SHA-256 of the chat template"));
  Json first = Evaluation();
  first["protocols"][0]["chat_template"] = chat;
  EXPECT_THAT(AfterChange(first, "/chat_template/date", "2025-01-01"),
              ElementsAre("chat template: date that the chat template is told"));
  EXPECT_THAT(AfterChange(first, "/chat_template/options", {"a=1"}),
              ElementsAre("chat template: options of the chat template"));
  EXPECT_THAT(AfterChange(first, "/multiturn", true),
              ElementsAre("chat template: examples as turns"));
}

TEST(Explain, SaysWhatOlderFilesDoNotSay) {
  Json old = Evaluation();
  old.erase("protocols");
  const Explanation explanation = Compare(old, Evaluation());
  EXPECT_THAT(explanation.differences, IsEmpty());
  std::vector<std::string> unknown;
  for (const UnknownFact& fact : explanation.unknown) {
    EXPECT_FALSE(fact.is_in_first) << fact.what;
    unknown.push_back(fact.what);
  }
  EXPECT_THAT(unknown, ::testing::IsSupersetOf({"split", "prompts of the first items",
                                                "BOS tokens in front", "tokens of the first items",
                                                "SHA-256 of the chat template"}));
}

TEST(Explain, OtherRowsAreNotComparedPromptByPrompt) {
  Json other = Evaluation();
  other["protocols"][0]["rows_hash"] = "s";
  other["protocols"][0]["prompts_sha256"] = "q";
  other["protocols"][0]["items"][0]["row"] = 14;
  other["protocols"][0]["items"][1]["row"] = 15;
  EXPECT_THAT(Named(Compare(Evaluation(), other)), ElementsAre("rows: first rows"));
}

TEST(Explain, PairsByNameThenByTaskThenTheOnlyOnes) {
  const auto record = [](const char* name, bool is_text = false) {
    EvaluationRecord one;
    one.name = name;
    one.is_text = is_text;
    return one;
  };
  const auto names = [](const RecordPairs& records) {
    std::vector<std::string> all;
    for (const auto& [a, b] : records.pairs) all.push_back(a->name + "=" + b->name);
    return all;
  };
  const std::vector<EvaluationRecord> first = {record("a@chatml"), record("b"), record("c")};
  const std::vector<EvaluationRecord> second = {record("b@x"), record("b"), record("a"),
                                                record("d")};
  const RecordPairs records = PairRecords(first, second);
  EXPECT_THAT(names(records), ElementsAre("b=b", "a@chatml=a"));
  EXPECT_THAT(records.only_in_first, ElementsAre("c"));
  EXPECT_THAT(records.only_in_second, ElementsAre("b@x", "d"));

  const std::vector<EvaluationRecord> one = {record("x")}, other = {record("y")},
                                      text = {record("x", true)};
  EXPECT_THAT(names(PairRecords(one, other)), ElementsAre("x=y"));
  EXPECT_THAT(names(PairRecords(one, text)), IsEmpty());
}

// --- untrusted files

TEST(Explain, RefusesWhatIsNotAnEvaluation) {
  const auto refusal = [](const Json& json) { return ErrorOf([&] { (void)Read(json); }); };
  const auto changed = [](const char* pointer, const Json& value) {
    Json json = Evaluation();
    json[Json::json_pointer(pointer)] = value;
    return json;
  };
  EXPECT_THAT(refusal({{"results", Json::object()}}), HasSubstr("--against"));
  EXPECT_THAT(refusal(Json::array()), HasSubstr("'qualm eval --json'"));
  EXPECT_THAT(refusal(changed("/rows", 3)), HasSubstr("a list under 'rows'"));
  EXPECT_THAT(refusal(changed("/rows/0", 3)), HasSubstr("an object for each score"));
  EXPECT_THAT(refusal(changed("/rows/0/metric", 3)), HasSubstr("metric"));
  EXPECT_THAT(refusal(changed("/rows/0/value", "x")), HasSubstr("value"));
  EXPECT_THAT(refusal(changed("/protocols", 3)), HasSubstr("a list under 'protocols'"));
  EXPECT_THAT(refusal(changed("/protocols/0", 3)), HasSubstr("a JSON object; got number"));
  EXPECT_THAT(refusal(changed("/protocols/0/n", Json::object())), HasSubstr("under 'n'"));
  EXPECT_THAT(refusal(changed("/protocols/0/bos", 1)), HasSubstr("a JSON object; got number"));
  EXPECT_THAT(refusal(changed("/protocols/0/chat_template", 1)),
              HasSubstr("a JSON object; got number"));
  EXPECT_THAT(refusal(changed("/protocols/0/items/0", "x")), HasSubstr("token_ids"));
  EXPECT_THAT(refusal(changed("/protocols/0/items/0/token_ids", {1.5})),
              HasSubstr("whole numbers under 'token_ids'"));
  EXPECT_THAT(refusal(changed("/protocols/0/items/0/targets", {Json::object()})),
              HasSubstr("a list under 'targets'"));
}

}  // namespace
}  // namespace qualm
