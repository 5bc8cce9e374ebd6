// Perplexity of real checkpoints: window NLLs against a float64 forward pass, the same bits for
// every batch size and number of threads, and the comparison with a reference on real logits.
#include <gtest/gtest.h>

#include <bit>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "evaluate/perplexity.h"
#include "io/json.h"
#include "model/model.h"
#include "support/shared_data.h"
#include "support/test_context.h"

namespace qualm {
namespace {

// The first `count` code points of a text.
std::string_view FirstCodePoints(std::string_view text, size_t count) {
  size_t end = 0;
  for (; end < text.size(); ++end) {
    const bool starts_code_point = (static_cast<unsigned char>(text[end]) & 0xC0) != 0x80;
    if (starts_code_point && count-- == 0) break;
  }
  return text.substr(0, end);
}

std::filesystem::path TextPath(const std::string& name) {
  for (const char* folder : {"text", "datasets/wikitext-2-raw-v1", "datasets/ptb"}) {
    const std::filesystem::path path = testing::SharedRoot() / folder / name;
    if (std::filesystem::exists(path)) return path;
  }
  return name;
}

TextScores Score(const ScoredModels& models, const PerplexityText& text, size_t batch,
                 int threads) {
  testing::TestContext context(threads);
  return ScorePerplexity(models, {&text, 1}, {.batch = batch}, context)[0];
}

// Each window's NLL to 1e-4 (the goldens have six digits; float32 against float64 is below 1e-5).
void CheckWindows(const std::filesystem::path& folder, const std::filesystem::path& golden_file) {
  testing::TestContext context(2);
  const Model model = LoadModel(folder, {}, context);
  const DecoderScoringModel scoring(*model.decoder);
  const PerplexityProtocol& protocol = FindProtocol("gptq");
  const Json golden = ReadJsonFile(golden_file);
  for (const Json& entry : golden["perplexity"]) {
    const std::string name = entry["text"].get<std::string>();
    ASSERT_EQ(entry["protocol"], protocol.name);
    const std::string file = ReadFile(TextPath(name));
    const std::string_view text = FirstCodePoints(file, entry["characters"].get<size_t>());
    const PerplexityText prepared =
        PrepareText(protocol, name, text, model.RequireTokenizer(), entry["seqlen"].get<size_t>(),
                    entry["windows"].get<size_t>());
    const std::vector<TokenId> first_ids = entry["first_ids"].get<std::vector<TokenId>>();
    for (size_t i = 0; i < first_ids.size(); ++i) EXPECT_EQ(prepared.ids[i], first_ids[i]);
    const TextScores scores = Score({.model = &scoring}, prepared, 0, 2);
    const auto expected = entry["window_nll"].get<std::vector<double>>();
    ASSERT_EQ(scores.window_nll.size(), expected.size()) << name;
    double largest = 0;
    for (size_t w = 0; w < expected.size(); ++w) {
      EXPECT_NEAR(scores.window_nll[w], expected[w], 1e-4) << name << " window " << w;
      largest = std::max(largest, std::abs(scores.window_nll[w] - expected[w]));
    }
    EXPECT_NEAR(scores.ppl.value, entry["ppl"].get<double>(), 1e-4 * scores.ppl.value) << name;
    std::cout << name << ": largest difference of a window's NLL " << largest << "\n";
  }
}

TEST(PerplexityGolden, Stories260KWindowsEqualTheFloat64Reference) {
  QUALM_SHARED_OR_SKIP(folder, "models/stories260K");
  QUALM_SHARED_OR_SKIP(golden, "golden/models/stories260K.json");
  CheckWindows(folder, golden);
}

TEST(PerplexityGolden, QualmBilingualWindowsEqualTheFloat64Reference) {
  QUALM_SHARED_OR_SKIP(folder, "models/qualm-bilingual");
  QUALM_SHARED_OR_SKIP(golden, "golden/models/qualm-bilingual.json");
  CheckWindows(folder, golden);
}

TEST(PerplexityGolden, BitsDoNotDependOnBatchOrThreads) {
  QUALM_SHARED_OR_SKIP(folder, "models/stories260K");
  QUALM_SHARED_OR_SKIP(file, "text/tinystories-valid-sample.txt");
  testing::TestContext context(1);
  const Model model = LoadModel(folder, {}, context);
  const DecoderScoringModel scoring(*model.decoder);
  // Windows of different lengths: the last one has 41 of 70 tokens.
  const std::string text = ReadFile(file).substr(0, 900);
  PerplexityText prepared =
      PrepareText(FindProtocol("mi-optimize"), "text", text, model.RequireTokenizer(), 70);
  const TextScores expected = Score({.model = &scoring}, prepared, 1, 1);
  ASSERT_GT(expected.windows, 4u);
  for (const size_t batch : {2u, 3u, 64u}) {
    for (const int threads : {1, 2, 3}) {
      const TextScores scores = Score({.model = &scoring}, prepared, batch, threads);
      for (size_t w = 0; w < expected.windows; ++w) {
        EXPECT_EQ(std::bit_cast<uint64_t>(scores.window_nll[w]),
                  std::bit_cast<uint64_t>(expected.window_nll[w]))
            << "window " << w << ", batch " << batch << ", " << threads << " threads";
      }
    }
  }
}

TEST(PerplexityGolden, Bfloat16WeightsAreTheNoiseFloorOfAFloat32Model) {
  QUALM_SHARED_OR_SKIP(folder, "models/stories260K");
  QUALM_SHARED_OR_SKIP(file, "text/tinystories-valid-sample.txt");
  testing::TestContext context(2);
  const Model model = LoadModel(folder, {}, context);
  const Model rounded = LoadModel(folder, {.compute_in_bf16 = true}, context);
  const DecoderScoringModel scoring(*model.decoder), scoring_rounded(*rounded.decoder);
  const PerplexityText prepared =
      PrepareText(FindProtocol("gptq"), "text", ReadFile(file).substr(0, 20000),
                  model.RequireTokenizer(), 256, 8);
  const TextScores scores =
      Score({.model = &scoring, .reference = &scoring, .rounded_reference = &scoring_rounded},
            prepared, 0, 2);
  EXPECT_EQ(scores.comparison->kl_max.value, 0);
  EXPECT_EQ(scores.comparison->top1_agreement.value, 1);
  // Relative rounding errors of 2^-9 in every weight: a divergence of the order of 1e-5 to 1e-4.
  EXPECT_GT(scores.noise_floor->kl_mean.value, 1e-6);
  EXPECT_LT(scores.noise_floor->kl_mean.value, 1e-3);
  EXPECT_GT(scores.noise_floor->top1_agreement.value, 0.98);
}

}  // namespace
}  // namespace qualm
