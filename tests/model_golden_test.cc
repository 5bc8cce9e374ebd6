// The real checkpoints against their float64 goldens: logits within 8 times what 20 float32 runs
// with permuted summation order deviate, argmax at every position, greedy continuations.
#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/thread_pool.h"
#include "generate/generate.h"
#include "io/json.h"
#include "model/model.h"
#include "support/reference_decoder.h"
#include "support/shared_data.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using Rows = std::vector<std::vector<float>>;

// Largest |Δlogit| over all positions of 20 permuted float32 runs.
double PermutedDeviation(const Checkpoint& checkpoint, std::span<const TokenId> ids,
                         const std::vector<std::vector<double>>& exact) {
  double largest = 0;
  for (uint64_t run = 0; run < 20; ++run) {
    Rng order(run);
    Rows logits = testing::ReferenceDecoder<float>(checkpoint, &order).Logits(ids);
    for (size_t t = 0; t < logits.size(); ++t) {
      for (size_t i = 0; i < logits[t].size(); ++i) {
        largest = std::max(largest, std::abs(logits[t][i] - exact[t][i]));
      }
    }
  }
  return largest;
}

Matrix LogitsOf(const Model& model, std::span<const TokenId> ids, const Context& context) {
  KvCache cache = model.decoder->MakeCache(ids.size());
  Matrix hidden = model.decoder->Forward(std::vector<SequenceSlice>{{&cache, ids}}, context);
  Matrix logits(ids.size(), model.decoder->plan.vocab_size());
  model.decoder->Logits(hidden, logits, context);
  return logits;
}

void CheckCase(const Model& model, const Json& golden, const Context& context) {
  auto ids = golden["ids"].get<std::vector<TokenId>>();
  Matrix logits = LogitsOf(model, ids, context);
  std::vector<std::vector<double>> exact =
      testing::ReferenceDecoder<double>(*model.checkpoint).Logits(ids);
  double deviation = PermutedDeviation(*model.checkpoint, ids, exact);
  double bound = 8 * deviation, seen = 0;
  for (size_t t = 0; t < ids.size(); ++t) {
    for (size_t i = 0; i < exact[t].size(); ++i) {
      seen = std::max(seen, std::abs(logits(t, i) - exact[t][i]));
    }
    auto row = logits.row(t);
    EXPECT_EQ(std::ranges::max_element(row) - row.begin(),
              golden["argmax_per_position"][t].get<long>());
    double squares = 0;
    for (float logit : row) squares += double{logit} * logit;
    // Every logit off by at most `bound`, and the golden's 6 digits.
    EXPECT_NEAR(std::sqrt(squares), golden["logits_l2_per_position"][t].get<double>(),
                bound * std::sqrt(static_cast<double>(row.size())) + 1e-6);
  }
  EXPECT_LE(seen, bound);
  // The goldens are printed with 6 digits after the point.
  for (size_t i = 0; i < golden["last_top10_ids"].size(); ++i) {
    EXPECT_NEAR(logits(ids.size() - 1, golden["last_top10_ids"][i].get<size_t>()),
                golden["last_top10_logits"][i].get<double>(), bound + 1e-6);
  }
  std::printf("  largest deviation from float64 %.2e; 20 permuted float32 runs %.2e\n", seen,
              deviation);
}

class ModelGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(ModelGolden, LogitsAndArgmaxAgreeWithTheFloat64Reference) {
  QUALM_SHARED_OR_SKIP(folder, std::filesystem::path("models") / GetParam());
  testing::TestContext context(2);
  Model model = LoadModel(folder, {}, context);
  Json golden =
      ReadJsonFile(testing::SharedRoot() / "golden/models" / (GetParam() + std::string(".json")));
  ASSERT_FALSE(golden["cases"].empty());
  for (const Json& one : golden["cases"]) CheckCase(model, one, context);
}

TEST_P(ModelGolden, GreedyContinuationsAgree) {
  QUALM_SHARED_OR_SKIP(folder, std::filesystem::path("models") / GetParam());
  testing::TestContext context(2);
  Model model = LoadModel(folder, {}, context);
  Json golden =
      ReadJsonFile(testing::SharedRoot() / "golden/models" / (GetParam() + std::string(".json")));
  for (const Json& one : golden["cases"]) {
    auto prompt = one["ids"].get<std::vector<TokenId>>();
    auto expected = one["greedy_48"].get<std::vector<TokenId>>();
    // The golden holds the prompt and then what follows it.
    GenerateOptions options;
    options.max_tokens = expected.size() - prompt.size();
    std::vector<TokenId> ids = prompt;
    std::vector<TokenId> added = Generate(*model.decoder, prompt, options, context);
    ids.insert(ids.end(), added.begin(), added.end());
    EXPECT_EQ(ids, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ModelGolden,
                         ::testing::Values("stories260K", "tinystories-656K", "qualm-bilingual"),
                         [](const auto& instance) {
                           std::string name = instance.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace qualm
