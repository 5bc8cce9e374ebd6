// Texts of many requests against one text after the other: the same, whatever is written with them.
#include "generate/generate.h"

#include <gmock/gmock.h>

#include <limits>

#include "support/demo_model.h"
#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

class Generation : public testing::DemoModelTest {
 protected:
  GenerationRequest Ask(std::string_view prompt, size_t max_tokens,
                        std::vector<std::string> stop = {}) const {
    GenerationRequest request;
    request.tokens = Prompt(prompt);
    request.max_tokens = max_tokens;
    request.stop = std::move(stop);
    return request;
  }

  // By the definition: token after token, the whole text decoded, cut before the first stop string.
  GenerationAnswer Slowly(const GenerationRequest& request) {
    std::vector<TokenId> all = request.tokens;
    const std::string before = tokenizer().Decode(all);
    GenerationAnswer answer;
    for (TokenId id : Continuation(request.tokens, request.max_tokens, tokenizer().special().eos)) {
      all.push_back(id);
      ++answer.tokens;
      answer.text = tokenizer().Decode(all).substr(before.size());
      size_t first = std::string::npos;
      for (const std::string& stop : request.stop) first = std::min(first, answer.text.find(stop));
      if (first == std::string::npos) continue;
      answer.text.resize(first);
      answer.reason = FinishReason::kStop;
      break;
    }
    if (answer.reason != FinishReason::kStop && answer.tokens < request.max_tokens) {
      answer.reason = FinishReason::kEos;
    }
    return answer;
  }

  std::vector<GenerationAnswer> Run(std::span<const GenerationRequest> requests,
                                    const EngineOptions& options = {},
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
  std::vector<GenerationAnswer> expected;
  for (const GenerationRequest& request : requests) expected.push_back(Slowly(request));
  for (const EngineOptions& options :
       {EngineOptions{}, EngineOptions{4, 3, 1}, EngineOptions{16, 2, 1 << 30}}) {
    const std::vector<GenerationAnswer> got = Run(requests, options);
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(got[i].text, expected[i].text) << i;
      EXPECT_EQ(got[i].tokens, expected[i].tokens) << i;
      EXPECT_EQ(got[i].reason, expected[i].reason) << i;
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
  for (const EngineOptions& options : {EngineOptions{}, EngineOptions{2048, 2, 1 << 30}}) {
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

TEST_F(Generation, ASampledTextIsDrawnFromTheStreamOfItsRequest) {
  GenerationRequest request = Ask("Once upon a time", 16);
  request.temperature = 1;
  request.sample = 3;
  EngineRequest same;
  same.prompt = request.tokens;
  same.max_tokens = request.max_tokens;
  same.sampling.temperature = 1;
  same.random = Rng(3, request.PromptHash());
  std::vector<TokenId> all = request.tokens;
  same.on_token = [&](TokenId id) {
    all.push_back(id);
    return true;
  };
  Engine engine(decoder(), decoder().plan.context, {}, context_);
  engine.Submit(std::move(same));
  while (engine.Step()) {
  }
  EXPECT_EQ(Run(std::vector{request})[0].text,
            tokenizer().Decode(all).substr(tokenizer().Decode(request.tokens).size()));
}

TEST_F(Generation, OtherEndsCutATextAndChangeNoToken) {
  GenerationRequest request = Ask("Once upon a time", 16);
  request.temperature = 1;
  request.sample = 5;
  const std::vector<TokenId> prompt = request.tokens;
  const GenerationAnswer whole = Run(std::vector{request})[0];
  ASSERT_EQ(whole.reason, FinishReason::kLength);

  // The fourth token of that text becomes an end.
  std::vector<TokenId> tokens;
  EngineRequest same;
  same.prompt = prompt;
  same.max_tokens = 16;
  same.sampling.temperature = 1;
  same.random = Rng(5, request.PromptHash());
  same.on_token = [&](TokenId id) {
    tokens.push_back(id);
    return true;
  };
  Engine engine(decoder(), decoder().plan.context, {}, context_);
  engine.Submit(std::move(same));
  while (engine.Step()) {
  }
  request.other_ends = {tokens[3]};
  const auto end = std::ranges::find(tokens, tokens[3]);

  const GenerationAnswer cut = Run(std::vector{request})[0];
  EXPECT_EQ(cut.reason, FinishReason::kEos);
  EXPECT_EQ(cut.tokens, static_cast<uint64_t>(end - tokens.begin()));
  EXPECT_TRUE(whole.text.starts_with(cut.text)) << cut.text;
}

TEST_F(Generation, KeysOfAnswersChangeWithWhatEndsTheText) {
  const GenerationRequest request = Ask("The cat", 4, {"."});
  GenerationRequest other = request;
  other.other_ends = {7};
  EXPECT_EQ(request.Hash(), request.PromptHash());
  EXPECT_NE(other.Hash(), request.Hash());
  EXPECT_EQ(other.PromptHash(), request.PromptHash());
  GenerationRequest two = other;
  two.other_ends = {7, 9};
  EXPECT_NE(two.Hash(), other.Hash());
}

TEST_F(Generation, RequestsThatCannotBeAnsweredAreRefusedBeforeAnyWork) {
  const auto refusal = [&](const GenerationRequest& request) {
    const std::vector<GenerationRequest> requests = {Ask("The", 4), request};
    return ErrorOf([&] {
      GenerateTexts(decoder(), tokenizer(), requests, {}, context_,
                    [](auto, const GenerationAnswer&) { FAIL() << "a text was written"; });
    });
  };
  const size_t context = decoder().plan.context;
  GenerationRequest request;
  EXPECT_EQ(refusal(request), "[prompt] expected at least one token; got none");
  request.tokens.assign(context, 1);
  EXPECT_THAT(refusal(request), HasSubstr("(the model's context); got "));
  request = Ask("The", 0);
  EXPECT_THAT(refusal(request), HasSubstr("[max_tokens] expected 1 to "));
  request.max_tokens = std::numeric_limits<size_t>::max();
  EXPECT_THAT(refusal(request), HasSubstr("[max_tokens] expected 1 to "));
}

TEST_F(Generation, AModelWhoseLogitsAreNotFiniteFails) {
  decoder().input.embedding.scale = std::numeric_limits<float>::quiet_NaN();
  const std::vector<GenerationRequest> requests = {Ask("The cat", 4)};
  EXPECT_EQ(ErrorOf([&] { Run(requests); }, ErrorKind::kFailed),
            "[generate] the logits are not finite; is the model whole?");
  EXPECT_EQ(ErrorOf([&] { Generate(decoder(), Prompt("The cat"), {}, context_); }),
            "[generate] expected finite logits; got NaN or infinity; are there such numbers among "
            "the model's weights?");
}

TEST_F(Generation, OnePromptGetsItsContinuationUntilEosOrTheSinkStopsIt) {
  const std::vector<TokenId> prompt = Prompt("Once upon a time");
  const std::vector<TokenId> expected = Continuation(prompt, 24);
  GenerateOptions options;
  options.max_tokens = 24;
  EXPECT_EQ(Generate(decoder(), prompt, options, context_), expected);

  // The token that takes the part of EOS here is not among the tokens before it.
  const auto before_eos = std::ranges::find(expected, expected[9]);
  options.ends = {expected[9]};
  EXPECT_EQ(Generate(decoder(), prompt, options, context_),
            std::vector<TokenId>(expected.begin(), before_eos));
  options.ends.clear();
  EXPECT_EQ(Generate(decoder(), prompt, options, context_), expected);

  size_t calls = 0;
  EXPECT_EQ(Generate(decoder(), prompt, options, context_, [&](TokenId) { return ++calls < 3; }),
            std::vector<TokenId>(expected.begin(), expected.begin() + 3));
  EXPECT_EQ(calls, 3u);
}

TEST_F(Generation, OnePromptStopsAtTheEndOfTheContext) {
  const std::vector<TokenId> prompt = Prompt("The cat sat on a mat");
  const std::vector<TokenId> expected = Continuation(prompt, 6);
  decoder().plan.context = prompt.size() + 5;  // the sixth token fills it and is not read again
  EXPECT_EQ(Generate(decoder(), prompt, {}, context_), expected);
  GenerateOptions options;
  options.max_tokens = 0;
  EXPECT_TRUE(Generate(decoder(), prompt, options, context_).empty());
  EXPECT_EQ(ErrorOf([&] { Generate(decoder(), {}, options, context_); }),
            "[prompt] expected at least one token; got none");

  decoder().plan.context = prompt.size();
  const std::string size = std::to_string(prompt.size());
  EXPECT_EQ(ErrorOf([&] { Generate(decoder(), prompt, {}, context_); }),
            "[prompt] expected fewer than " + size + " tokens (the model's context); got " + size);
}

}  // namespace
}  // namespace qualm
