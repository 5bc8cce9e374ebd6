// The harness's files in the form that its evaluation tracker writes: results with NaN and dtypes
// as texts, and a line of samples for every item and filter.
#include "evaluate/lm_eval_results.h"

#include <gmock/gmock.h>

#include "base/strings.h"
#include "evaluate/explain.h"
#include "evaluate/protocol_record.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr const char* kResults = R"({
  "results": {
    "piqa": {"alias": "piqa", "name": "piqa", "sample_len": 2, "acc,none": 0.75,
             "acc_stderr,none": 0.01, "acc_norm,none": NaN, "acc_norm_stderr,none": "N/A"},
    "gsm8k": {"alias": "gsm8k", "exact_match,strict-match": 0.25,
              "exact_match_stderr,strict-match": 0.02, "exact_match,flexible-extract": 0.5}
  },
  "group_subtasks": {"piqa": []},
  "configs": {
    "piqa": {"task": "piqa", "output_type": "multiple_choice", "num_fewshot": 0,
             "metric_list": [{"metric": "acc", "aggregation": "mean"}, {"metric": "acc_norm"}]},
    "gsm8k": {"task": "gsm8k", "output_type": "generate_until", "repeats": 1,
              "metric_list": [{"metric": "exact_match"}],
              "generation_kwargs": {"until": ["Question:", "</s>"], "do_sample": false,
                                    "temperature": 0.0},
              "filter_list": [{"name": "strict-match", "filter": [{"function": "take_first"}]},
                              {"name": "flexible-extract", "filter": []}]}
  },
  "versions": {"piqa": 1.0, "gsm8k": 3.0},
  "n-shot": {"piqa": 0, "gsm8k": 5},
  "n-samples": {"piqa": {"original": 1838, "effective": 2}},
  "config": {"model": "hf", "model_args": "pretrained=x,dtype=float32,add_bos_token=True",
             "model_dtype": "torch.bfloat16", "limit": 2.0, "gen_kwargs": "max_gen_toks=64",
             "fewshot_seed": 1234},
  "tokenizer_bos_token": ["<s>", "1"],
  "max_length": 2048,
  "system_instruction": null, "system_instruction_sha": null,
  "chat_template": "{{x}}", "chat_template_sha": "abc", "fewshot_as_multiturn": true
})";

std::string SampleLine(int row, const std::string& prompt, const std::string& filter = "none") {
  const Json json = {{"doc_id", row},
                     {"doc", {{"goal", "g"}}},
                     {"target", "1"},
                     {"arguments",
                      {{"gen_args_0", {{"arg_0", prompt}, {"arg_1", " a"}}},
                       {"gen_args_1", {{"arg_0", prompt}, {"arg_1", " b"}}}}},
                     {"resps", {{{"-1.0", "False"}}}},
                     {"filter", filter},
                     {"doc_hash", "d"},
                     {"prompt_hash", Sha256OfText(prompt)},
                     {"target_hash", Sha256OfText("1")},
                     {"acc", 1.0}};
  return json.dump() + "\n";
}

class LmEvalFiles : public ::testing::Test {
 protected:
  LmEvalFiles() : results_(folder_.Write("results_2024-05-01T10-00-00.5.json", kResults)) {}

  testing::TemporaryFolder folder_;
  LmEvalResults results_;
};

TEST_F(LmEvalFiles, ResultsSayHowATaskWasAsked) {
  EXPECT_THAT(results_.Tasks(), ElementsAre("piqa", "gsm8k"));
  const EvaluationRecord piqa = results_.Record("piqa");
  EXPECT_TRUE(piqa.is_lm_eval);
  ASSERT_THAT(piqa.scores, SizeIs(2));
  EXPECT_EQ(piqa.scores[0].metric, "acc");
  EXPECT_EQ(piqa.scores[0].value, 0.75);
  EXPECT_EQ(piqa.scores[0].standard_error, 0.01);
  const std::map<std::string, Json> expected = {{"task", "piqa"},
                                                {"kind", "multiple_choice"},
                                                {"main_metric", "acc"},
                                                {"version", 1.0},
                                                {"n", 2},
                                                {"rows_in_split", 1838},
                                                {"shots", 0},
                                                {"fewshot_seed", 1234},
                                                {"chat_template", "abc"},
                                                {"system", "none"},
                                                {"multiturn", true},
                                                {"bos_token", {"<s>", "1"}},
                                                {"leading_bos", 1},
                                                {"context", 2048},
                                                {"compute_type", "bfloat16"}};
  EXPECT_EQ(piqa.facts, expected);
}

TEST_F(LmEvalFiles, ResultsSayHowTextsWereGeneratedAndFiltered) {
  const EvaluationRecord gsm8k = results_.Record("gsm8k");
  EXPECT_EQ(gsm8k.facts.at("kind"), "generation");
  EXPECT_EQ(gsm8k.facts.at("filters"), Json({"strict-match", "flexible-extract"}));
  EXPECT_EQ(gsm8k.facts.at("until"), Json({"Question:", "</s>"}));
  EXPECT_EQ(gsm8k.facts.at("max_tokens"), 64);  // the run's own option
  EXPECT_EQ(gsm8k.facts.at("temperature"), 0);
  ASSERT_THAT(gsm8k.scores, SizeIs(2));
  EXPECT_EQ(gsm8k.scores[1].metric, "exact_match");
  EXPECT_EQ(gsm8k.scores[1].filter, "flexible-extract");
}

TEST_F(LmEvalFiles, SamplesAreFoundBesideTheResultsByTheirDate) {
  EXPECT_EQ(results_.SamplesOf("piqa"), "");
  folder_.Write("samples_piqa_2023-01-01T10-00-00.5.jsonl", SampleLine(0, "p"));
  EXPECT_EQ(results_.SamplesOf("piqa"), "");
  const auto samples =
      folder_.Write("samples_piqa_2024-05-01T10-00-00.5.jsonl", SampleLine(0, "p"));
  EXPECT_EQ(results_.SamplesOf("piqa"), samples);
}

// The definition: SHA-256 of the prompt, and of the hashes' digits one after the other.
TEST_F(LmEvalFiles, SamplesHaveTheHarnessHashesOfPrompts) {
  std::string lines;
  for (int row = 0; row < 6; ++row) lines += SampleLine(row, StrCat("p", row), "first");
  for (int row = 0; row < 6; ++row) lines += SampleLine(row, StrCat("p", row), "second");
  const auto samples = folder_.Write("s.jsonl", lines);
  EvaluationRecord record = results_.Record("piqa");
  const std::vector<uint64_t> wanted = {4};
  results_.AddSamples(samples, wanted, record);

  EXPECT_EQ(record.facts.at("n"), 6);
  EXPECT_EQ(record.facts.at("first_rows"), Json({0, 1, 2}));
  std::string digits;
  for (int row = 0; row < 6; ++row) digits += Sha256OfText(StrCat("p", row));
  EXPECT_EQ(record.facts.at("prompts_sha256"), Sha256OfText(digits));
  ASSERT_THAT(record.items, SizeIs(4));
  EXPECT_EQ(record.items[3].row, 4u);
  EXPECT_EQ(record.items[3].prompt, "p4");
  EXPECT_EQ(record.items[3].prompt_sha256, Sha256OfText("p4"));
  EXPECT_THAT(record.items[3].continuations, ElementsAre(" a", " b"));
  EXPECT_EQ(record.items[3].continuations_sha256,
            Sha256OfText(Sha256OfText(" a") + Sha256OfText(" b")));
  EXPECT_THAT(record.items[3].targets, ElementsAre("1"));
}

TEST_F(LmEvalFiles, OlderSamplesHaveListsAndNoHashes) {
  const auto samples = folder_.Write(
      "s.jsonl", R"({"doc_id": 0, "target": 1, "arguments": [["p", " a"], ["p", " b"]]})");
  EvaluationRecord record = results_.Record("piqa");
  results_.AddSamples(samples, {}, record);
  ASSERT_THAT(record.items, SizeIs(1));
  EXPECT_EQ(record.items[0].prompt_sha256, Sha256OfText("p"));
  EXPECT_THAT(record.items[0].continuations, ElementsAre(" a", " b"));
}

TEST(LmEvalNames, OfOurTasks) {
  EXPECT_EQ(LmEvalTaskName("piqa"), "piqa");
  EXPECT_EQ(LmEvalTaskName("piqa-lm-eval@chatml+turns"), "piqa");
  EXPECT_EQ(LmEvalTaskName("mmlu-lm-eval:anatomy"), "mmlu_anatomy");
}

// --- untrusted files

TEST_F(LmEvalFiles, RefusesWhatTheHarnessDoesNotWrite) {
  const auto refusal = [&](const std::string& text) {
    return ErrorOf([&] { LmEvalResults(folder_.Write("r.json", text)); });
  };
  EXPECT_THAT(refusal("{"), HasSubstr("expected JSON"));
  EXPECT_THAT(refusal("[]"), HasSubstr("the key 'results'"));
  EXPECT_THAT(refusal(R"({"results": []})"), HasSubstr("without --against"));
  EXPECT_THAT(ErrorOf([&] { (void)results_.Record("piqo"); }), HasSubstr("did you mean 'piqa'"));

  const auto refused_samples = [&](const std::string& lines) {
    EvaluationRecord record = results_.Record("piqa");
    return ErrorOf([&] { results_.AddSamples(folder_.Write("s.jsonl", lines), {}, record); });
  };
  EXPECT_THAT(refused_samples(""), HasSubstr("a line for each item"));
  EXPECT_THAT(refused_samples("{}\n"), HasSubstr("s.jsonl line 1"));
  EXPECT_THAT(refused_samples(SampleLine(0, "p") + "3\n"), HasSubstr("s.jsonl line 2"));
  EXPECT_THAT(refused_samples(R"({"doc_id": -1})"), HasSubstr("at least 0"));
  EXPECT_THAT(refused_samples(R"({"doc_id": 0})"), HasSubstr("prompt_hash"));
  EXPECT_THAT(refused_samples(R"({"doc_id": 0, "prompt_hash": 3})"), HasSubstr("prompt_hash"));
  EXPECT_THAT(refused_samples(R"({"doc_id": 0, "prompt_hash": "x", "filter": 1})"),
              HasSubstr("filter"));
  EXPECT_THAT(refused_samples(R"({"doc_id": 0, "arguments": {"gen_args_0": 3}})"),
              HasSubstr("prompt_hash"));
}

// Values of the wrong kind in the results are as if they were not said.
TEST_F(LmEvalFiles, OddValuesAreNotKnown) {
  const LmEvalResults odd(folder_.Write("odd.json", R"({
    "results": {"a": {"acc,none": 1, "x,": "y", ",": 2}},
    "configs": {"a": {"output_type": 3, "metric_list": [4, {"metric": 5}]}},
    "n-shot": 3, "versions": {"a": {}}, "n-samples": {"a": 4}, "config": 5,
    "tokenizer_bos_token": [1], "chat_template_sha": 6, "max_length": [[1]]})"));
  const EvaluationRecord record = odd.Record("a");
  EXPECT_EQ(record.facts.size(), 3u);
  EXPECT_EQ(record.facts.at("main_metric"), "acc");
  EXPECT_EQ(record.facts.at("chat_template"), "none");
}

}  // namespace
}  // namespace qualm
