// The engine's texts against those of each prompt alone, whatever comes, goes and waits meanwhile.
#include "generate/engine.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>

#include "support/demo_model.h"
#include "support/errors.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using Ids = std::vector<TokenId>;

constexpr size_t kCapacity = 100;

class EngineTest : public testing::DemoModelTest {
 protected:
  Engine Make(const EngineOptions& options = {}) {
    return Engine(decoder(), kCapacity, options, context_);
  }

  // A request whose tokens and end are kept under `name`.
  EngineRequest Ask(const std::string& name, const Ids& prompt, size_t max_tokens) {
    EngineRequest request;
    request.prompt = prompt;
    request.max_tokens = max_tokens;
    request.on_token = [this, name](TokenId id) {
      tokens_[name].push_back(id);
      return true;
    };
    request.on_end = [this, name](EndReason reason) { ends_[name].push_back(reason); };
    return request;
  }

  void ExpectText(const std::string& name, const Ids& prompt, size_t max_tokens) {
    EXPECT_EQ(tokens_[name], Continuation(prompt, max_tokens)) << name;
    EXPECT_THAT(ends_[name], ElementsAre(EndReason::kLength)) << name;
  }

  // Tokens without a common beginning: `first` is the first one.
  static Ids Counting(TokenId first, size_t length) {
    Ids ids(length);
    for (size_t i = 0; i < length; ++i) ids[i] = first + static_cast<TokenId>(i);
    return ids;
  }

  static void Finish(Engine& engine) {
    while (engine.Step()) {
    }
  }

  std::map<std::string, Ids> tokens_;
  std::map<std::string, std::vector<EndReason>> ends_;
};

TEST_F(EngineTest, RequestsMayComeWhileOthersRun) {
  const Ids cat = Prompt("The cat sat"), time = Prompt("Once upon a time"), day = Prompt("One day");
  for (size_t sequences : {size_t{1}, size_t{2}, size_t{64}}) {
    tokens_.clear();
    ends_.clear();
    Engine engine = Make({2048, sequences, uint64_t{1} << 30});
    engine.Submit(Ask("cat", cat, 12));
    for (int step = 0; step < 3; ++step) EXPECT_TRUE(engine.Step());
    engine.Submit(Ask("time", time, 20));
    EXPECT_TRUE(engine.Step());
    engine.Submit(Ask("day", day, 5));
    Finish(engine);
    ExpectText("cat", cat, 12);
    ExpectText("time", time, 20);
    ExpectText("day", day, 5);

    // Also after all was done.
    EXPECT_FALSE(engine.Step());
    engine.Submit(Ask("again", time, 7));
    Finish(engine);
    ExpectText("again", time, 7);
  }
}

TEST_F(EngineTest, ACancelledRequestHearsNothingMoreAndDisturbsNoOther) {
  const Ids cat = Prompt("The cat sat"), time = Prompt("Once upon a time");
  Engine engine = Make({2048, 2, uint64_t{1} << 30});
  engine.Submit(Ask("stays", cat, 16));
  const Engine::RequestId running = engine.Submit(Ask("running", time, 16));
  const Engine::RequestId waiting = engine.Submit(Ask("waiting", time, 16));
  engine.Submit(Ask("next", time, 9));  // takes the place of `running`
  for (int step = 0; step < 4; ++step) engine.Step();

  EXPECT_TRUE(engine.Cancel(waiting));
  EXPECT_TRUE(engine.Cancel(running));
  EXPECT_FALSE(engine.Cancel(waiting));
  EXPECT_FALSE(engine.Cancel(running));
  EXPECT_FALSE(engine.Cancel(99));
  Finish(engine);
  EXPECT_EQ(tokens_["running"], Continuation(time, 4));
  EXPECT_TRUE(ends_["running"].empty());
  EXPECT_TRUE(tokens_["waiting"].empty());
  ExpectText("stays", cat, 16);
  ExpectText("next", time, 9);
  EXPECT_FALSE(engine.Cancel(1)) << "it has ended";
}

TEST_F(EngineTest, NothingIsLeftToDoAfterTheLastRequestIsCancelled) {
  Engine engine = Make();
  const Engine::RequestId id = engine.Submit(Ask("only", Prompt("The cat sat"), 16));
  EXPECT_TRUE(engine.Step());
  EXPECT_TRUE(engine.Cancel(id));
  EXPECT_FALSE(engine.Step());
  EXPECT_EQ(tokens_["only"].size(), 1u);
  EXPECT_EQ(engine.counts().passes, 1u);

  // Also if its own sink does it.
  EngineRequest request = Ask("", Prompt("The cat sat"), 16);
  request.on_token = [&](TokenId) { return engine.Cancel(id + 1); };
  EXPECT_EQ(engine.Submit(std::move(request)), id + 1);
  EXPECT_FALSE(engine.Step());
}

TEST_F(EngineTest, SinksMaySubmitAndCancel) {
  const Ids cat = Prompt("The cat sat"), time = Prompt("Once upon a time");
  Engine engine = Make();
  Engine::RequestId self = 0, other = 0;
  EngineRequest request = Ask("first", cat, 16);
  request.on_token = [&](TokenId id) {
    tokens_["first"].push_back(id);
    if (tokens_["first"].size() < 3) return true;
    engine.Submit(Ask("follower", time, 6));
    EXPECT_TRUE(engine.Cancel(other));
    EXPECT_TRUE(engine.Cancel(self));
    return false;  // which ends nothing that is cancelled already
  };
  self = engine.Submit(std::move(request));
  other = engine.Submit(Ask("other", time, 16));

  // The next one asks again from where it ended: its request is not there any more.
  request = Ask("ends", cat, 2);
  Engine::RequestId ends = 0;
  request.on_end = [&](EndReason) {
    EXPECT_FALSE(engine.Cancel(ends));
    engine.Submit(Ask("after", time, 3));
  };
  ends = engine.Submit(std::move(request));
  Finish(engine);

  EXPECT_EQ(tokens_["first"], Continuation(cat, 3));
  EXPECT_EQ(tokens_["other"], Continuation(time, 2)) << "cancelled in the pass of its third token";
  EXPECT_TRUE(ends_["first"].empty());
  EXPECT_TRUE(ends_["other"].empty());
  ExpectText("follower", time, 6);
  ExpectText("after", time, 3);
}

TEST_F(EngineTest, ATextEndsAtEosOrWhenItsSinkSaysSo) {
  const Ids prompt = Prompt("Once upon a time");
  const Ids expected = Continuation(prompt, 12);
  Engine engine = Make();
  EngineRequest request = Ask("eos", prompt, 12);
  request.ends = {expected[4]};
  engine.Submit(std::move(request));
  request = Ask("stopped", prompt, 12);
  request.on_token = [&](TokenId id) {
    tokens_["stopped"].push_back(id);
    return id != expected[4];
  };
  engine.Submit(std::move(request));
  request = EngineRequest();  // nobody listens
  request.prompt = prompt;
  engine.Submit(std::move(request));
  Finish(engine);

  const auto end = std::ranges::find(expected, expected[4]);
  EXPECT_EQ(tokens_["eos"], Ids(expected.begin(), end));
  EXPECT_THAT(ends_["eos"], ElementsAre(EndReason::kEos));
  EXPECT_EQ(tokens_["stopped"], Ids(expected.begin(), end + 1));
  EXPECT_THAT(ends_["stopped"], ElementsAre(EndReason::kStopped));
}

TEST_F(EngineTest, AnyOfSeveralIdsEndsAText) {
  const Ids prompt = Prompt("Once upon a time");
  const Ids expected = Continuation(prompt, 12);
  for (size_t last : {size_t{0}, size_t{4}, size_t{7}}) {
    tokens_.clear();
    ends_.clear();
    Engine engine = Make();
    EngineRequest request = Ask("ends", prompt, 12);
    request.ends = {expected[7], expected[last]};
    engine.Submit(std::move(request));
    Finish(engine);
    const auto end = std::ranges::find_if(
        expected, [&](TokenId id) { return id == expected[7] || id == expected[last]; });
    EXPECT_EQ(tokens_["ends"], Ids(expected.begin(), end)) << last;
    EXPECT_THAT(ends_["ends"], ElementsAre(EndReason::kEos)) << last;
  }
}

TEST_F(EngineTest, ARepetitionPenaltyCountsThePromptAndTheText) {
  // With a penalty this large no token is chosen twice, and none of the prompt. The second request
  // finds the prompt in the cache.
  const Ids prompt = Prompt("Once upon a time there was a");
  Engine engine = Make({2048, 1, uint64_t{1} << 30});
  for (const char* name : {"first", "second"}) {
    EngineRequest request = Ask(name, prompt, 24);
    request.sampling.repetition_penalty = 1e6;
    engine.Submit(std::move(request));
  }
  Finish(engine);
  Ids all = prompt;
  all.insert(all.end(), tokens_["first"].begin(), tokens_["first"].end());
  Ids distinct = all;
  std::ranges::sort(distinct);
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  Ids of_prompt = prompt;
  std::ranges::sort(of_prompt);
  of_prompt.erase(std::unique(of_prompt.begin(), of_prompt.end()), of_prompt.end());
  EXPECT_EQ(distinct.size(), of_prompt.size() + 24);
  EXPECT_EQ(tokens_["second"], tokens_["first"]);
  EXPECT_NE(tokens_["first"], Continuation(prompt, 24));
}

TEST_F(EngineTest, WhatDoesNotFitIsAnErrorAndChangesNothing) {
  const Ids cat = Prompt("The cat sat");
  Engine engine = Make();
  engine.Submit(Ask("cat", cat, 8));
  engine.Step();
  const auto refusal = [&](Ids prompt, size_t max_tokens) {
    return ErrorOf([&] { engine.Submit(Ask("refused", prompt, max_tokens)); });
  };
  EXPECT_EQ(refusal({}, 1), "[prompt] expected at least one token; got none");
  EXPECT_EQ(refusal(Ids(kCapacity + 1, 5), 1),
            "[prompt] expected at most 100 tokens (the engine's caches); got 101");
  EXPECT_EQ(refusal(Ids(10, 5), 0),
            "[max_tokens] expected 1 to 91 after a prompt of 10 tokens; got 0");
  EXPECT_EQ(refusal(Ids(10, 5), 92),
            "[max_tokens] expected 1 to 91 after a prompt of 10 tokens; got 92");
  EXPECT_EQ(refusal(Ids(10, 5), std::numeric_limits<size_t>::max()),
            "[max_tokens] expected 1 to 91 after a prompt of 10 tokens; got 18446744073709551615");
  const std::string vocab = std::to_string(decoder().plan.vocab_size());
  const std::string last = std::to_string(decoder().plan.vocab_size() - 1);
  for (const std::string& id : {vocab, std::string("-1")}) {
    EXPECT_EQ(refusal({1, std::stoi(id)}, 1),
              "[embedding] expected token ids in 0.." + last + "; got " + id +
                  "; do the tokenizer and the model belong together?");
  }

  engine.Submit(Ask("fills", Ids(kCapacity, 5), 1));
  engine.Submit(Ask("fills too", Ids(10, 5), 91));
  Finish(engine);
  ExpectText("cat", cat, 8);
  ExpectText("fills", Ids(kCapacity, 5), 1);
  ExpectText("fills too", Ids(10, 5), 91);
  EXPECT_TRUE(tokens_["refused"].empty() && ends_["refused"].empty());
}

TEST_F(EngineTest, ThePromptHasToLeaveRoomInTheContext) {
  decoder().plan.context = 20;
  Engine engine = Make();  // its capacity is then the context
  EXPECT_EQ(ErrorOf([&] { engine.Submit(Ask("", Ids(20, 5), 1)); }),
            "[prompt] expected fewer than 20 tokens (the model's context); got 20");
  EXPECT_EQ(ErrorOf([&] { engine.Submit(Ask("", Ids(19, 5), 3)); }),
            "[max_tokens] expected 1 to 2 after a prompt of 19 tokens; got 3");
  engine.Submit(Ask("fits", Ids(19, 5), 2));
  Finish(engine);
  ExpectText("fits", Ids(19, 5), 2);
}

TEST_F(EngineTest, PiecesOfAPromptChangeNoToken) {
  const Ids longer = Counting(40, 90), shorter = Counting(150, 33);
  KvCacheScheme grouped;  // pieces end inside its groups of keys
  grouped.keys.granularity = KvGranularity::kChannel;
  grouped.keys.scheme.bits = 2;
  grouped.key_group_tokens = 24;
  for (bool is_grouped : {false, true}) {
    if (is_grouped) decoder().plan.kv_cache = grouped;
    const Ids after_longer = Continuation(longer, 6), after_shorter = Continuation(shorter, 6);
    for (size_t batch_tokens : std::vector<size_t>{0, 7, 32, 64, 123, 2048}) {
      tokens_.clear();
      Engine engine = Make({batch_tokens, 64, uint64_t{1} << 30});
      engine.Submit(Ask("longer", longer, 6));
      engine.Submit(Ask("shorter", shorter, 6));
      Finish(engine);
      EXPECT_EQ(tokens_["longer"], after_longer) << batch_tokens;
      EXPECT_EQ(tokens_["shorter"], after_shorter) << batch_tokens;
      EXPECT_EQ(engine.counts().computed_tokens, 123u);
      if (batch_tokens >= 123) {
        EXPECT_EQ(engine.counts().passes, 6u);
      }
    }
  }
}

TEST_F(EngineTest, ALongPromptHoldsUpNoTextThatIsBeingWritten) {
  const Ids cat = Prompt("The cat sat");
  Engine engine = Make({16, 4, uint64_t{1} << 30});
  engine.Submit(Ask("writes", cat, 12));
  engine.Step();
  engine.Submit(Ask("long", Counting(40, 90), 4));
  // 15 of its tokens go with each token of the other text.
  for (size_t step = 2; step <= 6; ++step) {
    engine.Step();
    EXPECT_EQ(tokens_["writes"].size(), step);
    EXPECT_TRUE(tokens_["long"].empty());
  }
  engine.Step();
  EXPECT_EQ(tokens_["long"].size(), 1u);
  Finish(engine);
  ExpectText("writes", cat, 12);
  ExpectText("long", Counting(40, 90), 4);
}

TEST_F(EngineTest, APromptThatWaitsForRoomIsNotOvertakenForEver) {
  // Each pass has room for one of these prompts. Those that keep coming get the first slot, which
  // is free again after each pass, and which comes before the slot of the one that waits.
  Engine engine = Make({50, 2, uint64_t{1} << 30});
  engine.Submit(Ask("first", Counting(40, 45), 1));
  engine.Submit(Ask("waits", Counting(41, 45), 1));
  TokenId passes = 0;
  while (ends_["waits"].empty() && passes < 100) {
    engine.Submit(Ask("newer", Counting(42 + passes++, 45), 1));
    engine.Step();
  }
  EXPECT_EQ(passes, 65);
  EXPECT_EQ(ends_["newer"].size(), 63u);
}

TEST_F(EngineTest, APromptStartsFromWhatSomeCacheHolds) {
  const Ids shots = Counting(40, 80);
  Ids first = shots, second = shots;
  first.push_back(7);
  second.insert(second.end(), {9, 11});
  for (size_t sequences : {size_t{1}, size_t{2}}) {
    tokens_.clear();
    ends_.clear();
    Engine engine = Make({2048, sequences, uint64_t{1} << 30});
    engine.Submit(Ask("first", first, 6));
    engine.Submit(Ask("second", second, 6));
    Finish(engine);
    EXPECT_EQ(engine.counts().computed_tokens, 81u + 2u);
    engine.Submit(Ask("again", second, 6));
    Finish(engine);
    // The first slot has the same prompt if it is the only one, else all of it but two tokens.
    EXPECT_EQ(engine.counts().computed_tokens, 81u + 2u + sequences);
    ExpectText("first", first, 6);
    ExpectText("second", second, 6);
    ExpectText("again", second, 6);
  }
}

// Requests with the same prompt and other lengths: keys of one are of no use to the other.
TEST_F(EngineTest, RotationsGoByTheLengthOfEachText) {
  for (BlockPlan& block : decoder().plan.blocks) {
    RotaryPlan& rotary = *std::get<AttentionPlan>(block.branches[0].part).rotary;
    rotary.scaling = {.kind = RopeScaling::Kind::kDynamic, .factor = 4, .original_context = 30};
  }
  const Ids prompt = Counting(300, 28);
  Engine engine = Make();
  engine.Submit(Ask("short", prompt, 2));
  engine.Submit(Ask("long", prompt, 40));
  engine.Submit(Ask("longer", prompt, 60));
  Finish(engine);
  engine.Submit(Ask("again", prompt, 2));
  Finish(engine);
  ExpectText("short", prompt, 2);
  ExpectText("long", prompt, 40);
  ExpectText("longer", prompt, 60);
  ExpectText("again", prompt, 2);
}

// Caches of blocks with windows forget what later prompts share with earlier ones.
TEST_F(EngineTest, PrefixesFarBeyondAWindowGiveTheSameTexts) {
  for (BlockPlan& block : decoder().plan.blocks) {
    std::get<AttentionPlan>(block.branches[0].part).window = 24;
  }
  decoder().plan.context = 8192;
  Engine engine(decoder(), 4000, {2048, 2, uint64_t{1} << 30}, context_);
  Ids longest = Counting(0, 3000);
  for (TokenId& id : longest) id = 3 + id * 7 % 200;
  const Ids prefix(longest.begin(), longest.begin() + 400);
  engine.Submit(Ask("longest", longest, 4));
  Finish(engine);
  engine.Submit(Ask("prefix", prefix, 6));
  engine.Submit(Ask("longest again", longest, 5));
  Finish(engine);
  ExpectText("longest", longest, 4);
  ExpectText("prefix", prefix, 6);
  ExpectText("longest again", longest, 5);
}

TEST_F(EngineTest, LogitsThatAreNotFiniteEndTheirOwnTextOnly) {
  // One row of the embedding is not a number; the head keeps its own weights.
  const EmbeddingTable& table = decoder().input.embedding;
  const size_t row_bytes = table.weight.cols * SizeOf(table.weight.type);
  const auto* bytes = static_cast<const std::byte*>(table.weight.data);
  std::vector<std::byte> poisoned(bytes, bytes + table.weight.rows * row_bytes);
  const Ids cat = Prompt("The cat sat");
  const Ids expected = Continuation(cat, 8);
  TokenId bad = 100;
  while (std::ranges::count(expected, bad) > 0 || std::ranges::count(cat, bad) > 0) ++bad;
  std::fill_n(poisoned.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(bad) * row_bytes),
              row_bytes, std::byte{0xff});  // NaN in every float format
  decoder().input.embedding.weight.data = poisoned.data();

  Engine engine = Make();
  engine.Submit(Ask("bad", {1, bad}, 8));
  engine.Submit(Ask("cat", cat, 8));
  Finish(engine);
  EXPECT_TRUE(tokens_["bad"].empty());
  EXPECT_THAT(ends_["bad"], ElementsAre(EndReason::kNotFinite));
  ExpectText("cat", cat, 8);
}

TEST_F(EngineTest, SampledTokensDependOnTheRequestsStreamOnly) {
  const Ids prompt = Prompt("Once upon a time");
  const auto sampled = [&](const std::string& name, uint64_t seed) {
    EngineRequest request = Ask(name, prompt, 16);
    request.sampling.temperature = 1;
    request.random = Rng(seed);
    return request;
  };
  Engine together = Make();
  together.Submit(sampled("one", 1));
  together.Submit(sampled("two", 2));
  Finish(together);
  Engine alone = Make();
  alone.Submit(sampled("two alone", 2));
  Finish(alone);
  EXPECT_EQ(tokens_["two"], tokens_["two alone"]);
  EXPECT_NE(tokens_["two"], tokens_["one"]);
}

TEST_F(EngineTest, TheBudgetOfAllCachesLimitsHowManyTextsAreWrittenAtOnce) {
  const uint64_t cache_bytes = decoder().MakeCache(kCapacity).size_bytes();
  const auto passes = [&](uint64_t budget) {
    Engine engine = Make({2048, 64, budget});
    for (TokenId i = 0; i < 4; ++i) engine.Submit(Ask("any", Counting(40 + 20 * i, 10), 5));
    Finish(engine);
    return engine.counts().passes;
  };
  EXPECT_EQ(passes(0), 20u) << "one at least";
  EXPECT_EQ(passes(2 * cache_bytes), 10u);
  EXPECT_EQ(passes(4 * cache_bytes), 5u);
}

}  // namespace
}  // namespace qualm
