#include "judge/judge.h"

#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "judge/verdict_json.h"
#include "support/demo_run.h"
#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

constexpr const char* kText =
    "Once there was a cat that liked to read in the sun, and one day it found a book about a small "
    "dog. The dog wanted to swim. They went to the lake and played with a red ball until the night "
    "came, and then both of them went home and slept.";

class JudgeTest : public testing::DemoRun {
 protected:
  // Two files of the demo model: integers per channel, and 8-bit weights and activations.
  void SetUp() override {
    DemoRun::SetUp();
    (void)DemoRun::Run(Options("rtn-w4-g64", "w4"));
    (void)DemoRun::Run(Options("rtn-w8a8", "w8a8"));
    std::filesystem::create_directories(folder_ / "judged");
  }
  JudgeOptions Plain() const {
    JudgeOptions options;
    options.seqlen = 8;
    return options;
  }
  Verdict RunJudge(JudgeOptions options, const std::vector<ModelSource>& files) {
    return Judge(DemoModel(), files, {{"text", kText}}, std::move(options), folder_ / "judged",
                 context_);
  }
  testing::TestContext context_;
  std::vector<ModelSource> Files() const { return {folder_ / "w4", folder_ / "w8a8"}; }
};

// What eval finds with both models in memory, the judge finds with one after the other.
TEST_F(JudgeTest, FindsWhatEvalFinds) {
  const Verdict verdict = RunJudge(Plain(), Files());
  ASSERT_EQ(verdict.rows.size(), 5U);
  EXPECT_EQ(verdict.rows[0].reading, JudgedReading::kReference);
  EXPECT_EQ(verdict.rows[1].reading, JudgedReading::kNoiseFloor);
  EXPECT_EQ(verdict.rows[2].reading, JudgedReading::kAll);
  EXPECT_EQ(verdict.rows[3].reading, JudgedReading::kWeightsOnly);
  EXPECT_EQ(verdict.rows[4].reading, JudgedReading::kAsConfigured);

  const Model reference = LoadModel(DemoModel(), {}, context_);
  const PerplexityText text =
      PrepareText(FindProtocol("gptq"), "text", kText, reference.RequireTokenizer(), 8);
  for (const size_t r : {size_t{2}, size_t{4}}) {
    const Model model = LoadModel(Files()[r == 2 ? 0 : 1], {}, context_);
    const DecoderScoringModel one(*model.decoder), other(*reference.decoder);
    const TextScores wanted =
        ScorePerplexity({.model = &one, .reference = &other}, {&text, 1}, {}, context_)[0];
    const TextScores& found = verdict.rows[r].texts.at(0).scores;
    EXPECT_EQ(found.ppl.value, wanted.ppl.value);
    EXPECT_EQ(found.comparison->kl_mean.value, wanted.comparison->kl_mean.value);
    EXPECT_EQ(found.comparison->kl_p999.standard_error, wanted.comparison->kl_p999.standard_error);
    EXPECT_EQ(found.comparison->top1_agreement.value, wanted.comparison->top1_agreement.value);
    EXPECT_EQ(verdict.rows[r].hash, model.Hash());
  }
  // Rounding activations too takes it further away.
  EXPECT_GT(verdict.rows[4].texts[0].scores.comparison->kl_mean.value,
            verdict.rows[3].texts[0].scores.comparison->kl_mean.value);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "judged/reference-states"));
}

// Pairs: 4 rows without the noise floor are 6 pairs under log ppl, and 3 of them under KL.
TEST_F(JudgeTest, PairsAreTestedAndAdjustedTogether) {
  const Verdict verdict = RunJudge(Plain(), Files());
  ASSERT_EQ(verdict.pairs.size(), 9U);
  for (const JudgedPair& pair : verdict.pairs) {
    EXPECT_NE(verdict.rows[pair.first].reading, JudgedReading::kNoiseFloor);
    EXPECT_GE(pair.p_holm, pair.test.p);
    if (pair.measure != "log ppl") continue;
    const Estimate& delta = pair.test.difference;
    if (pair.first != 0) continue;
    const Comparison& comparison = *verdict.rows[pair.second].texts[0].scores.comparison;
    EXPECT_NEAR(delta.value, comparison.delta_log_ppl.value, 1e-12);
    EXPECT_NEAR(delta.standard_error, comparison.delta_log_ppl.standard_error, 1e-12);
  }
}

// Bits per byte by the definition: all nats of the scored tokens over their bytes.
TEST_F(JudgeTest, BitsPerByteCountTheScoredText) {
  const Verdict verdict = RunJudge(Plain(), {folder_ / "w4"});
  const Model reference = LoadModel(DemoModel(), {}, context_);
  const Tokenizer& tokenizer = reference.RequireTokenizer();
  const PerplexityText text = PrepareText(FindProtocol("gptq"), "text", kText, tokenizer, 8);
  double bytes = -1, nats = 0;  // the blank that SentencePiece puts before the text is not of it
  for (size_t w = 0; w < text.windows.size(); ++w) {
    const Window& window = text.windows[w];
    for (size_t t = window.begin + window.first_target; t < window.begin + window.tokens; ++t) {
      std::string piece = tokenizer.Piece(text.ids[t]);
      // SentencePiece spells a blank with three bytes.
      for (size_t at; (at = piece.find("▁")) != std::string::npos;) piece.replace(at, 3, " ");
      bytes += static_cast<double>(piece.size());
    }
    nats += verdict.rows[0].texts[0].scores.window_nll[w] * static_cast<double>(window.targets());
  }
  EXPECT_NEAR(verdict.rows[0].texts[0].bits_per_byte.value, nats / std::log(2.0) / bytes, 1e-12);
}

// A second run takes everything from the store: the files may even be gone but for what tells them.
TEST_F(JudgeTest, ASecondRunComputesNothing) {
  class Listener final : public Progress {
   public:
    void Begin(std::string_view stage, uint64_t) override { stages.emplace_back(stage); }
    void Advance(uint64_t, std::string_view) override {}
    void End() override {}
    void Warn(std::string_view) override {}
    void Info(std::string_view) override {}
    std::vector<std::string> stages;
  };
  const std::string first = VerdictJson(RunJudge(Plain(), Files())).dump();
  Listener listener;
  const Context context{context_.pool, listener};
  const Verdict again =
      Judge(DemoModel(), Files(), {{"text", kText}}, Plain(), folder_ / "judged", context);
  EXPECT_EQ(VerdictJson(again).dump(), first);
  EXPECT_THAT(listener.stages, ::testing::IsEmpty());
}

// What was found before a run was killed stays, and the states of the reference are taken up.
TEST_F(JudgeTest, AKilledRunIsContinued) {
  class Killer final : public Progress {
   public:
    void Begin(std::string_view, uint64_t) override { ++texts; }
    void Advance(uint64_t done, std::string_view) override {
      if (texts == 3 && done >= 2) throw std::runtime_error("killed");
    }
    void End() override {}
    void Warn(std::string_view) override {}
    void Info(std::string_view) override {}
    int texts = 0;
  };
  JudgeOptions small = Plain();
  small.batch = 2;
  Killer killer;
  const Context context{context_.pool, killer};
  EXPECT_THROW((void)Judge(DemoModel(), Files(), {{"text", kText}}, std::move(small),
                           folder_ / "judged", context),
               std::runtime_error);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "judged/reference-states"));
  const std::string continued = VerdictJson(RunJudge(Plain(), Files())).dump();
  std::filesystem::remove_all(folder_ / "judged");
  std::filesystem::create_directories(folder_ / "judged");
  EXPECT_EQ(continued, VerdictJson(RunJudge(Plain(), Files())).dump());
}

TEST_F(JudgeTest, AFileThatFailsLeavesTheOthersStanding) {
  std::filesystem::create_directories(folder_ / "broken");
  std::ofstream(folder_ / "broken/config.json") << "{";
  const Verdict verdict = RunJudge(Plain(), {folder_ / "broken", folder_ / "w4"});
  ASSERT_EQ(verdict.rows.size(), 4U);
  EXPECT_THAT(verdict.rows[2].error, HasSubstr("config.json"));
  EXPECT_TRUE(verdict.rows[3].error.empty());
  EXPECT_TRUE(verdict.rows[3].texts[0].is_on_front);
}

// With another tokenizer nothing is paired but the text itself.
TEST_F(JudgeTest, OtherTokensLeaveBitsPerByteOnly) {
  std::filesystem::copy(DemoModel(), folder_ / "other");
  const std::filesystem::path config = folder_ / "other/tokenizer_config.json";
  Json json = ReadJsonFile(config);
  json["add_bos_token"] = !json.value("add_bos_token", true);
  WriteJsonFile(config, json);
  const Verdict verdict = RunJudge(Plain(), {folder_ / "other", folder_ / "w4"});
  const JudgedText& other = verdict.rows[2].texts[0];
  EXPECT_TRUE(other.has_own_tokens);
  EXPECT_FALSE(other.scores.comparison);
  EXPECT_GT(other.bits_per_byte.value, 0);
  EXPECT_FALSE(other.is_on_front);
  for (const JudgedPair& pair : verdict.pairs) {
    EXPECT_NE(pair.first, 2U);
    EXPECT_NE(pair.second, 2U);
  }
  const Json text = VerdictJson(verdict)["rows"][2]["texts"][0];
  EXPECT_TRUE(text["ppl"].is_null());
  EXPECT_TRUE(text["comparison"].is_null());
}

TEST_F(JudgeTest, BadReferencesAreRefused) {
  EXPECT_THAT(ErrorOf([&] {
                (void)Judge(folder_ / "nowhere", Files(), {{"text", kText}}, Plain(),
                            folder_ / "judged", context_);
              }),
              HasSubstr("nowhere"));
  JudgeOptions large = Plain();
  large.seqlen = 4096;
  EXPECT_THAT(ErrorOf([&] { (void)RunJudge(std::move(large), Files()); }),
              HasSubstr("--seqlen] expected at most the model's context of 2048 tokens; got 4096"));
}

}  // namespace
}  // namespace qualm
