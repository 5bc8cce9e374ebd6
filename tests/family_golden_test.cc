// Tiny checkpoints of every family against a float64 forward pass of the family's own definition,
// by prefill and by decoding from the cache: argmax and norm of the logits at every position, the
// largest logits of the last one, and the whole last row where the golden has it.
#include <gmock/gmock.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "io/json.h"
#include "model/model.h"
#include "support/shared_data.h"
#include "support/test_context.h"

namespace qualm {
namespace {

// The tolerance that comes with the goldens: float32 against float64 over 2 or 3 small blocks.
constexpr double kTolerance = 1e-4;

// Cases of families that cannot run yet, with what they lack. The list may only shrink.
const std::map<std::string, std::string>& NotYet() {
  static const std::map<std::string, std::string> reasons = {
      {"families-hf/deepseek_v2_base", "no family deepseek_v2: latent attention and experts"},
      {"families-hf/deepseek_v3_base", "no family deepseek_v3: latent attention and experts"},
      {"families-hf/glm4_moe_base", "no family glm4_moe: experts"},
      {"families-hf/gpt_oss_base", "no family gpt_oss: experts"},
      {"families-hf/granitemoe_base", "no family granitemoe: experts"},
      {"families-hf/minicpm3_base", "no family minicpm3: latent attention"},
      {"families-hf/mixtral_base", "no family mixtral: experts"},
      {"families-hf/olmoe_base", "no family olmoe: experts"},
      {"families-hf/qwen2_moe_base", "no family qwen2_moe: experts"},
      {"families-hf/qwen3_moe_base", "no family qwen3_moe: experts"},
  };
  return reasons;
}

// "families/llama_base", ... of both folders of goldens.
std::vector<std::string> Cases() {
  std::vector<std::string> names;
  for (const char* folder : {"families", "families-hf"}) {
    const std::filesystem::path root = testing::SharedRoot() / "golden" / folder;
    if (!std::filesystem::exists(root)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(root)) {
      if (!entry.is_directory()) continue;
      names.push_back((std::filesystem::path(folder) / entry.path().filename()).string());
    }
  }
  std::ranges::sort(names);
  return names.empty() ? std::vector<std::string>{"absent"} : names;
}

class FamilyGolden : public ::testing::TestWithParam<std::string> {};

// Logits of all positions, `step` tokens at a time.
Matrix LogitsOf(const Decoder& decoder, std::span<const TokenId> ids, size_t step,
                const Context& context) {
  KvCache cache = decoder.MakeCache(ids.size());
  Matrix logits(ids.size(), decoder.plan.vocab_size());
  for (size_t first = 0; first < ids.size(); first += step) {
    const std::span<const TokenId> piece = ids.subspan(first, std::min(step, ids.size() - first));
    const Matrix hidden = decoder.Forward(std::vector<SequenceSlice>{{&cache, piece}}, context);
    decoder.Logits(hidden, logits.view().Rows(first, piece.size()), context);
  }
  return logits;
}

// Returns the largest difference of a logit that the golden states.
double CheckSequence(const Model& model, const Json& golden, size_t step, const Context& context) {
  auto ids = golden["ids"].get<std::vector<TokenId>>();
  const Matrix logits = LogitsOf(*model.decoder, ids, std::min(step, ids.size()), context);
  for (size_t t = 0; t < ids.size(); ++t) {
    std::span<const float> row = logits.row(t);
    double squares = 0;
    for (float v : row) squares += static_cast<double>(v) * v;
    // The norm of a vector moves by at most the norm of the change.
    EXPECT_NEAR(std::sqrt(squares), golden["logits_l2"][t].get<double>(),
                kTolerance * std::sqrt(static_cast<double>(row.size())));
    EXPECT_EQ(std::ranges::max_element(row) - row.begin(), golden["argmax"][t].get<long>());
  }
  std::span<const float> last = logits.row(ids.size() - 1);
  double largest = 0;
  const auto compare = [&](float got, double expected) {
    EXPECT_NEAR(got, expected, kTolerance);
    largest = std::max(largest, std::abs(got - expected));
  };
  const Json& top = golden["last_top10"];
  for (size_t i = 0; i < top["ids"].size(); ++i) {
    compare(last[top["ids"][i].get<size_t>()], top["logits"][i].get<double>());
  }
  if (golden.contains("last_logits")) {
    EXPECT_EQ(golden["last_logits"].size(), last.size());
    for (size_t i = 0; i < last.size(); ++i) {
      compare(last[i], golden["last_logits"].at(i).get<double>());
    }
  }
  return largest;
}

// The tokens of largest logit after `ids`, one at a time from the cache.
std::vector<TokenId> Greedy(const Decoder& decoder, std::vector<TokenId> ids, size_t count,
                            const Context& context) {
  KvCache cache = decoder.MakeCache(ids.size() + count);
  Matrix logits(1, decoder.plan.vocab_size());
  std::vector<TokenId> made;
  while (made.size() < count) {
    const Matrix hidden = decoder.Forward(std::vector<SequenceSlice>{{&cache, ids}}, context);
    decoder.Logits(hidden.view().Rows(ids.size() - 1, 1), logits, context);
    const std::span<const float> row = logits.row(0);
    made.push_back(static_cast<TokenId>(std::ranges::max_element(row) - row.begin()));
    ids = {made.back()};
  }
  return made;
}

TEST_P(FamilyGolden, LogitsAgreeWithTheFloat64Reference) {
  QUALM_SHARED_OR_SKIP(folder, std::filesystem::path("golden") / GetParam());
  testing::TestContext context(2);
  if (const auto reason = NotYet().find(GetParam()); reason != NotYet().end()) {
    // A case that has come to run leaves the list.
    EXPECT_THROW((void)LoadModel(folder, {}, context), Error) << "is not " << reason->second;
    GTEST_SKIP() << "not yet: " << reason->second;
  }
  Model model = LoadModel(folder, {}, context);
  Json golden = ReadJsonFile(folder / "golden.json");
  ASSERT_GE(golden["sequences"].size(), 3u);
  double largest = 0;
  for (const Json& sequence : golden["sequences"]) {
    for (const size_t step : {SIZE_MAX, size_t{1}}) {
      largest = std::max(largest, CheckSequence(model, sequence, step, context));
    }
  }
  // With --gtest_output=json: how far a family is from its reference.
  RecordProperty("largest_difference", StrCat(largest));
  if (!golden.contains("greedy")) return;
  const auto expected = golden["greedy"].get<std::vector<TokenId>>();
  EXPECT_EQ(Greedy(*model.decoder, golden["sequences"][1]["ids"].get<std::vector<TokenId>>(),
                   expected.size(), context),
            expected);
}

std::string CaseName(const std::string& name) {
  std::string word = name;
  std::ranges::replace_if(
      word, [](char c) { return std::isalnum(c) == 0; }, '_');
  return word;
}

TEST(FamilyGoldens, WhatIsListedAsMissingIsThere) {
  const std::vector<std::string> cases = Cases();
  if (cases == std::vector<std::string>{"absent"}) GTEST_SKIP() << "no goldens here";
  for (const auto& [name, reason] : NotYet()) {
    EXPECT_TRUE(std::ranges::binary_search(cases, name)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyGolden, ::testing::ValuesIn(Cases()),
                         [](const auto& instance) { return CaseName(instance.param); });

}  // namespace
}  // namespace qualm
