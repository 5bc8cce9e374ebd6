#include "evaluate/perplexity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "base/rng.h"
#include "support/errors.h"
#include "support/fake_language.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using testing::ByteTokenizer;
using testing::ErrorOf;
using testing::FormulaModel;
using ::testing::HasSubstr;
using testing::kFakeVocab;

std::string RandomText(size_t characters) {
  Rng rng(7);
  std::string text;
  while (text.size() < characters) text.push_back(static_cast<char>('a' + rng.Below(26)));
  return text;
}

PerplexityText Prepare(std::string_view protocol, size_t characters, size_t seqlen) {
  return PrepareText(FindProtocol(protocol), "text", RandomText(characters), ByteTokenizer(true),
                     seqlen);
}

TextScores Score(const ScoredModels& models, const PerplexityText& text, size_t batch = 0,
                 int threads = 1) {
  testing::TestContext context(threads);
  return ScorePerplexity(models, {&text, 1}, {.batch = batch}, context)[0];
}

// log softmax of the formula's logits, from the definition.
double LogProbability(const FormulaModel& model, TokenId id, size_t position, TokenId target) {
  double sum = 0;
  for (size_t v = 0; v < model.vocab_size(); ++v) {
    sum += std::exp(static_cast<double>(model.Logit(id, position, v)));
  }
  return static_cast<double>(model.Logit(id, position, static_cast<size_t>(target))) -
         std::log(sum);
}

double NaiveMeanNll(const FormulaModel& model, const std::vector<TokenId>& ids, size_t first) {
  double nll = 0;
  for (size_t t = first; t < ids.size(); ++t)
    nll -= LogProbability(model, ids[t - 1], t - 1, ids[t]);
  return nll / static_cast<double>(ids.size() - first);
}

// Sums of a few hundred terms in double.
constexpr double kTolerance = 1e-12;

TEST(Perplexity, UniformModelHasThePerplexityOfItsVocabulary) {
  class Uniform final : public ScoringModel {
   public:
    size_t vocab_size() const override { return kFakeVocab; }
    Matrix Hidden(std::span<const std::vector<TokenId>> windows, const Context&) const override {
      return Matrix(windows.size() * windows[0].size(), 1);
    }
    void Logits(Span2D<const float>, Span2D<float> logits, const Context&) const override {
      for (size_t row = 0; row < logits.rows(); ++row) {
        std::fill(logits.row(row).begin(), logits.row(row).end(), -2.0f);
      }
    }
  };
  const Uniform model;
  const TextScores scores = Score({.model = &model}, Prepare("gptq", 99, 10));
  EXPECT_NEAR(scores.ppl.value, static_cast<double>(kFakeVocab), 1e-10);
  EXPECT_NEAR(scores.ppl.standard_error, 0, 1e-10);
  EXPECT_EQ(scores.windows, 10);
  EXPECT_EQ(scores.targets, 90);
  EXPECT_FALSE(scores.comparison.has_value());
}

TEST(Perplexity, GptqIsTheUnweightedMeanOverWindows) {
  const FormulaModel model;
  const PerplexityText text =
      Prepare("gptq", 399, 100);  // with BOS 4 windows; a window needs 2 tiles
  const TextScores scores = Score({.model = &model}, text);
  ASSERT_EQ(scores.window_nll.size(), 4);
  double mean = 0, squares = 0;
  for (size_t w = 0; w < 4; ++w) {
    EXPECT_NEAR(scores.window_nll[w], NaiveMeanNll(model, text.WindowIds(text.windows[w]), 1),
                kTolerance);
    mean += scores.window_nll[w] / 4;
  }
  for (double nll : scores.window_nll) squares += (nll - mean) * (nll - mean);
  EXPECT_NEAR(scores.ppl.value, std::exp(mean), kTolerance * scores.ppl.value);
  EXPECT_NEAR(scores.ppl.standard_error, std::exp(mean) * std::sqrt(squares / 3 / 4),
              kTolerance * scores.ppl.value);
}

TEST(Perplexity, MiOptimizeWeighsTheTailByItsTokens) {
  const FormulaModel model;
  const PerplexityText text = Prepare("mi-optimize", 25, 10);  // 26 tokens: windows of 10, 10, 6
  const TextScores scores = Score({.model = &model}, text);
  ASSERT_EQ(scores.windows, 3);
  EXPECT_EQ(scores.targets, 9 + 9 + 5);
  double sum = 0;
  for (const Window& window : text.windows) {
    sum += static_cast<double>(window.tokens) * NaiveMeanNll(model, text.WindowIds(window), 1);
  }
  EXPECT_NEAR(scores.ppl.value, std::exp(sum / 26), kTolerance * scores.ppl.value);
}

TEST(Perplexity, LlamaCppIsTheMeanOverTheTokensOfTheSecondHalves) {
  const FormulaModel model;
  const PerplexityText text = Prepare("llama.cpp", 45, 20);
  const TextScores scores = Score({.model = &model}, text);
  ASSERT_EQ(scores.windows, 2);
  EXPECT_EQ(scores.targets, 18);  // 20 - 1 - 10 in each
  double mean = 0;
  for (const Window& window : text.windows) {
    std::vector<TokenId> ids = text.WindowIds(window);
    EXPECT_EQ(ids[0], testing::kFakeBos);
    mean += NaiveMeanNll(model, ids, 11) / 2;
  }
  EXPECT_NEAR(scores.ppl.value, std::exp(mean), kTolerance * scores.ppl.value);
}

TEST(Perplexity, AModelComparedWithItselfHasNoDistance) {
  const FormulaModel model;
  const TextScores scores = Score({.model = &model, .reference = &model}, Prepare("gptq", 199, 20));
  const Comparison& comparison = scores.comparison.value();
  EXPECT_EQ(comparison.kl_mean.value, 0);
  EXPECT_EQ(comparison.kl_median.value, 0);
  EXPECT_EQ(comparison.kl_max.value, 0);
  EXPECT_EQ(comparison.top1_agreement.value, 1);
  EXPECT_EQ(comparison.rms_delta_p.value, 0);
  EXPECT_EQ(comparison.rms_delta_p.standard_error, 0);
  EXPECT_EQ(comparison.delta_log_ppl.value, 0);
  EXPECT_EQ(scores.reference_ppl->value, scores.ppl.value);
  EXPECT_FALSE(scores.noise_floor.has_value());
}

TEST(Perplexity, ComparisonAgreesWithTheDefinitions) {
  const FormulaModel model(0.8), reference;
  const PerplexityText text = Prepare("gptq", 199, 20);
  const TextScores scores = Score({.model = &model, .reference = &reference}, text);
  double kl_sum = 0, square_sum = 0, same = 0, positions = 0, kl_max = 0, delta = 0;
  for (const Window& window : text.windows) {
    const std::vector<TokenId> ids = text.WindowIds(window);
    delta += (NaiveMeanNll(model, ids, 1) - NaiveMeanNll(reference, ids, 1)) / 10;
    for (size_t t = 1; t < ids.size(); ++t, ++positions) {
      double kl = 0;
      TokenId best_p = 0, best_q = 0;
      std::vector<double> p, q;
      for (TokenId v = 0; v < static_cast<TokenId>(kFakeVocab); ++v) {
        p.push_back(LogProbability(reference, ids[t - 1], t - 1, v));
        q.push_back(LogProbability(model, ids[t - 1], t - 1, v));
        kl += std::exp(p.back()) * (p.back() - q.back());
        if (p.back() > p[static_cast<size_t>(best_p)]) best_p = v;
        if (q.back() > q[static_cast<size_t>(best_q)]) best_q = v;
      }
      const size_t target = static_cast<size_t>(ids[t]);
      const double delta_p = std::exp(q[target]) - std::exp(p[target]);
      kl_sum += kl;
      kl_max = std::max(kl_max, kl);
      square_sum += delta_p * delta_p;
      same += best_p == best_q;
    }
  }
  const Comparison& comparison = scores.comparison.value();
  EXPECT_NEAR(comparison.kl_mean.value, kl_sum / positions, kTolerance);
  EXPECT_NEAR(comparison.kl_max.value, kl_max, kTolerance);
  EXPECT_NEAR(comparison.rms_delta_p.value, std::sqrt(square_sum / positions), kTolerance);
  EXPECT_DOUBLE_EQ(comparison.top1_agreement.value, same / positions);
  EXPECT_NEAR(comparison.delta_log_ppl.value, delta, kTolerance);
  EXPECT_NEAR(std::log(scores.ppl.value / scores.reference_ppl->value), delta, kTolerance);
  EXPECT_GT(same, 0);
  EXPECT_LT(same, positions);
  EXPECT_LE(comparison.kl_median.value, comparison.kl_p99.value);
  EXPECT_LE(comparison.kl_p99.value, comparison.kl_p999.value);
  EXPECT_LE(comparison.kl_p999.value, comparison.kl_max.value);
  EXPECT_GT(comparison.kl_mean.standard_error, 0);
  EXPECT_GT(comparison.top1_agreement.standard_error, 0);
  EXPECT_TRUE(std::isnan(comparison.kl_max.standard_error));
}

TEST(Perplexity, PairedDifferenceIsSharperThanTheTwoErrors) {
  const FormulaModel model(0.05), reference;
  const TextScores scores =
      Score({.model = &model, .reference = &reference}, Prepare("gptq", 999, 20));
  const double unpaired = scores.ppl.standard_error / scores.ppl.value;
  EXPECT_LT(scores.comparison->delta_log_ppl.standard_error, unpaired / 4);
}

TEST(Perplexity, NoiseFloorComparesTheRoundedReferenceNotTheModel) {
  const FormulaModel model(0.8), reference, rounded(1e-3);
  const PerplexityText text = Prepare("gptq", 199, 20);
  const TextScores all =
      Score({.model = &model, .reference = &reference, .rounded_reference = &rounded}, text);
  const TextScores direct = Score({.model = &rounded, .reference = &reference}, text);
  EXPECT_EQ(all.noise_floor->kl_mean.value, direct.comparison->kl_mean.value);
  EXPECT_EQ(all.noise_floor->delta_log_ppl.value, direct.comparison->delta_log_ppl.value);
  EXPECT_LT(all.noise_floor->kl_mean.value, 1e-4 * all.comparison->kl_mean.value);
}

// All numbers of a result as bits.
std::vector<uint64_t> Bits(const TextScores& scores) {
  std::vector<uint64_t> bits;
  const auto add = [&](const Estimate& e) {
    bits.push_back(std::bit_cast<uint64_t>(e.value));
    bits.push_back(std::bit_cast<uint64_t>(e.standard_error));
  };
  for (const double nll : scores.window_nll) bits.push_back(std::bit_cast<uint64_t>(nll));
  add(scores.ppl);
  add(scores.reference_ppl.value());
  for (const Comparison& c : {scores.comparison.value(), scores.noise_floor.value()}) {
    for (const Estimate& e : {c.kl_mean, c.kl_median, c.kl_p99, c.kl_p999, c.kl_max,
                              c.top1_agreement, c.rms_delta_p, c.delta_log_ppl}) {
      add(e);
    }
  }
  return bits;
}

TEST(Perplexity, SameBitsForEveryBatchSizeAndThreadCount) {
  const FormulaModel model(0.3), reference, rounded(1e-3);
  const ScoredModels models = {
      .model = &model, .reference = &reference, .rounded_reference = &rounded};
  const PerplexityText text = Prepare("mi-optimize", 700, 90);
  const std::vector<uint64_t> expected = Bits(Score(models, text, 1, 1));
  for (const size_t batch : {0u, 2u, 3u, 100u}) {
    for (const int threads : {1, 2, 5}) {
      EXPECT_EQ(Bits(Score(models, text, batch, threads)), expected) << batch << " " << threads;
    }
  }
}

TEST(Perplexity, SeveralTextsAreScoredAsIfAlone) {
  const FormulaModel model;
  const std::vector<PerplexityText> texts = {Prepare("gptq", 99, 10), Prepare("gptq", 299, 50)};
  testing::TestContext context(1);
  const auto scores = ScorePerplexity({.model = &model}, texts, {}, context);
  ASSERT_EQ(scores.size(), 2);
  EXPECT_EQ(scores[0].ppl.value, Score({.model = &model}, texts[0]).ppl.value);
  EXPECT_EQ(scores[1].ppl.value, Score({.model = &model}, texts[1]).ppl.value);
}

TEST(Perplexity, DifferentVocabulariesCannotBeCompared) {
  const FormulaModel model, other(0, kFakeVocab + 1);
  EXPECT_THAT(
      ErrorOf([&] { Score({.model = &model, .reference = &other}, Prepare("gptq", 99, 10)); }),
      HasSubstr("vocabulary of 130 tokens; got 131"));
}

}  // namespace
}  // namespace qualm
