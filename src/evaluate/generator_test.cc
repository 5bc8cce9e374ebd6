// The generator against one text after the other: the same texts, whatever is written beside them.
#include "evaluate/generator.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "model/generate.h"
#include "model/model.h"
#include "support/shared_data.h"
#include "support/test_context.h"

namespace qualm {
namespace {

class Generation : public ::testing::Test {
 protected:
  Generation()
      : context_(2), model_(LoadModel(testing::SourceRoot() / "demo/model", {}, context_)) {}

  const Decoder& decoder() const { return *model_.decoder; }
  const Tokenizer& tokenizer() const { return model_.RequireTokenizer(); }

  GenerationRequest Ask(std::string_view prompt, size_t max_tokens,
                        std::vector<std::string> stop = {}) const {
    GenerationRequest request;
    request.tokens = EncodeGenerationPrompt(tokenizer(), prompt);
    request.max_tokens = max_tokens;
    request.stop = std::move(stop);
    return request;
  }

  // By the definition: token after token, the whole text decoded, cut before the first stop string.
  GenerationAnswer Slowly(const GenerationRequest& request) {
    GenerateOptions options;
    options.max_tokens = request.max_tokens;
    options.eos = tokenizer().special().eos;
    std::vector<TokenId> all = request.tokens;
    const std::string before = tokenizer().Decode(all);
    GenerationAnswer answer;
    (void)Generate(decoder(), request.tokens, options, context_, [&](TokenId id) {
      all.push_back(id);
      ++answer.tokens;
      answer.text = tokenizer().Decode(all).substr(before.size());
      size_t first = std::string::npos;
      for (const std::string& stop : request.stop) first = std::min(first, answer.text.find(stop));
      if (first == std::string::npos) return true;
      answer.text.resize(first);
      answer.reason = FinishReason::kStop;
      return false;
    });
    if (answer.reason != FinishReason::kStop && answer.tokens < request.max_tokens) {
      answer.reason = FinishReason::kEos;
    }
    return answer;
  }

  std::vector<GenerationAnswer> Run(std::span<const GenerationRequest> requests,
                                    const GeneratorOptions& options = {},
                                    GeneratorCounts* counts = nullptr) {
    std::vector<GenerationAnswer> answers(requests.size());
    std::vector<int> times(requests.size());
    const GeneratorCounts got =
        GenerateTexts(decoder(), tokenizer(), requests, options, context_,
                      [&](std::span<const size_t> equal, const GenerationAnswer& answer) {
                        for (size_t i : equal) {
                          answers[i] = answer;
                          ++times[i];
                        }
                      });
    EXPECT_EQ(times, std::vector<int>(requests.size(), 1));
    if (counts != nullptr) *counts = got;
    return answers;
  }

  testing::TestContext context_;
  Model model_;
};

const char* const kPrompts[] = {"Once upon a time",
                                "The cat sat",
                                "Question: who?\nAnswer:",
                                "今天天气",
                                "",
                                "Once upon a time there was a"};

TEST_F(Generation, TextsAreThoseOfOneAfterTheOther) {
  std::vector<GenerationRequest> requests;
  for (const char* prompt : kPrompts) {
    requests.push_back(Ask(prompt, 24));
    requests.push_back(Ask(prompt, 40, {".", "\n\n", " the"}));
  }
  for (const GeneratorOptions& options :
       {GeneratorOptions{}, GeneratorOptions{4, 3, 1}, GeneratorOptions{16, 2, 1 << 30}}) {
    const std::vector<GenerationAnswer> got = Run(requests, options);
    for (size_t i = 0; i < requests.size(); ++i) {
      const GenerationAnswer expected = Slowly(requests[i]);
      EXPECT_EQ(got[i].text, expected.text) << i;
      EXPECT_EQ(got[i].tokens, expected.tokens) << i;
      EXPECT_EQ(got[i].reason, expected.reason) << i;
    }
  }
}

TEST_F(Generation, AStopStringMayCrossTokens) {
  // What the model says, cut anywhere: every middle of it is a stop string that ends the text
  // there.
  const GenerationAnswer whole = Run(std::vector{Ask("The cat sat", 12)})[0];
  ASSERT_GT(whole.text.size(), 12u);
  for (size_t at = 1; at + 5 < whole.text.size(); ++at) {
    const std::string stop = whole.text.substr(at, 5);
    const GenerationAnswer cut = Run(std::vector{Ask("The cat sat", 12, {stop})})[0];
    EXPECT_EQ(cut.text, whole.text.substr(0, whole.text.find(stop)));
    EXPECT_EQ(cut.reason, FinishReason::kStop);
  }
}

TEST_F(Generation, EqualRequestsAndPrefixesAreComputedOnce) {
  const std::string shots(200, 'x');
  std::vector<GenerationRequest> requests = {Ask(shots + " one", 4), Ask(shots + " one", 4),
                                             Ask(shots + " two", 4), Ask(shots + " three", 4)};
  GeneratorCounts counts;
  (void)Run(requests, {2048, 1, uint64_t{1} << 30}, &counts);
  EXPECT_EQ(counts.requests, 4u);
  EXPECT_EQ(counts.distinct, 3u);
  EXPECT_LT(counts.computed_tokens, requests[0].tokens.size() + 12);
  (void)Run(requests, {}, &counts);  // all at once: the others take over the first one's cache
  EXPECT_LT(counts.computed_tokens, requests[0].tokens.size() + 12);
}

TEST_F(Generation, WhatIsTakenFromOtherCachesChangesNoText) {
  std::string shots;
  for (int i = 0; i < 12; ++i) shots += "The cat sat on a mat and saw the dog. ";
  std::vector<GenerationRequest> requests;
  for (const char* question : {"Once upon", "The dog", "Then the cat", "One day", "The"}) {
    requests.push_back(Ask(shots + question, 20));
  }
  requests.push_back(Ask(shots.substr(0, shots.size() / 2) + "Tom", 20));
  GeneratorCounts counts;
  for (const GeneratorOptions& options : {GeneratorOptions{}, GeneratorOptions{2048, 2, 1 << 30}}) {
    const std::vector<GenerationAnswer> got = Run(requests, options, &counts);
    EXPECT_LT(counts.computed_tokens, 2 * requests[0].tokens.size());
    for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(got[i].text, Slowly(requests[i]).text);
  }
}

TEST_F(Generation, SamplesDependOnTheirNumberOnly) {
  std::vector<GenerationRequest> requests;
  for (uint64_t sample = 0; sample < 4; ++sample) {
    requests.push_back(Ask("Once upon a time", 16));
    requests.back().temperature = 1;
    requests.back().top_p = 0.9;
    requests.back().sample = sample;
  }
  const auto together = Run(requests);
  EXPECT_NE(together[0].text, together[1].text);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(Run(std::vector{requests[i]})[0].text, together[i].text);
  }
}

}  // namespace
}  // namespace qualm
