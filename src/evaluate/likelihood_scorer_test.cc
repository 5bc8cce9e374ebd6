// The scorer against one forward pass per request: the same bits, whatever is shared.
#include "evaluate/likelihood_scorer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"
#include "evaluate/row_scores.h"
#include "model/model.h"
#include "support/shared_data.h"
#include "support/test_context.h"

namespace qualm {
namespace {

class Scorer : public ::testing::Test {
 protected:
  Scorer() : context_(2), model_(LoadModel(testing::SourceRoot() / "demo/model", {}, context_)) {}

  const Decoder& decoder() const { return *model_.decoder; }

  std::vector<TokenId> Random(size_t count, uint64_t seed) const {
    Rng rng(seed);
    std::vector<TokenId> ids;
    for (size_t i = 0; i < count; ++i) {
      ids.push_back(static_cast<TokenId>(rng.Below(decoder().plan.vocab_size())));
    }
    return ids;
  }

  // By the definition: the whole text through the model, every row's logits.
  LikelihoodAnswer Slowly(const LikelihoodRequest& request) {
    KvCache cache = decoder().MakeCache(request.tokens.size());
    cache.SetSequenceLength(request.tokens.size() - 1);  // the last token is only looked for
    const Matrix hidden = decoder().Forward(
        std::vector<SequenceSlice>{{&cache, std::span(request.tokens)}}, context_);
    Matrix logits(hidden.rows(), decoder().plan.vocab_size());
    decoder().Logits(hidden, logits, context_);
    LikelihoodAnswer answer{0, true};
    for (size_t t = request.context_length; t < request.tokens.size(); ++t) {
      const std::span<const float> row = logits.row(t - 1);
      answer.log_likelihood -= NegativeLogLikelihood(row, request.tokens[t]);
      answer.is_greedy &= std::ranges::max_element(row) - row.begin() == request.tokens[t];
    }
    return answer;
  }

  std::vector<LikelihoodAnswer> Score(std::span<const LikelihoodRequest> requests,
                                      const ScorerOptions& options = {},
                                      ScorerCounts* counts = nullptr) {
    std::vector<LikelihoodAnswer> answers(requests.size());
    std::vector<int> times(requests.size());
    const ScorerCounts got =
        ScoreLikelihoods(decoder(), requests, options, context_,
                         [&](std::span<const size_t> equal, const LikelihoodAnswer& answer) {
                           for (size_t i : equal) {
                             answers[i] = answer;
                             ++times[i];
                           }
                         });
    for (int t : times) EXPECT_EQ(t, 1);
    if (counts != nullptr) *counts = got;
    return answers;
  }

  void ExpectTheSlowAnswers(std::span<const LikelihoodRequest> requests,
                            std::span<const LikelihoodAnswer> answers) {
    for (size_t i = 0; i < requests.size(); ++i) {
      const LikelihoodAnswer expected = Slowly(requests[i]);
      EXPECT_EQ(answers[i].log_likelihood, expected.log_likelihood) << i;
      EXPECT_EQ(answers[i].is_greedy, expected.is_greedy) << i;
    }
  }

  // Shots, questions behind them, choices of one or several tokens; some equal.
  std::vector<LikelihoodRequest> Requests() const {
    std::vector<LikelihoodRequest> requests;
    for (uint64_t subject = 0; subject < 3; ++subject) {
      const std::vector<TokenId> shots = Random(40, subject);
      for (uint64_t question = 0; question < 5; ++question) {
        std::vector<TokenId> context = shots;
        const std::vector<TokenId> text = Random(3 + question, 10 + subject * 5 + question);
        context.insert(context.end(), text.begin(), text.end());
        for (uint64_t choice = 0; choice < 4; ++choice) {
          LikelihoodRequest request{context, context.size()};
          const size_t length = subject == 2 ? 1 + choice : 1;
          const std::vector<TokenId> continuation = Random(length, 100 + choice % 3);
          request.tokens.insert(request.tokens.end(), continuation.begin(), continuation.end());
          requests.push_back(request);
        }
      }
    }
    // A context that is the beginning of others, and one that ends inside another's continuation.
    requests.push_back({Random(40, 0), 1});
    requests.push_back({Random(40, 0), 39});
    requests.push_back({Random(2, 5), 1});
    return requests;
  }

  testing::TestContext context_;
  Model model_;
};

TEST_F(Scorer, GivesTheBitsOfOneForwardPassPerRequest) {
  const std::vector<LikelihoodRequest> requests = Requests();
  ScorerCounts counts;
  const std::vector<LikelihoodAnswer> answers = Score(requests, {}, &counts);
  ExpectTheSlowAnswers(requests, answers);
  EXPECT_EQ(counts.requests, requests.size());
  EXPECT_LT(counts.distinct, requests.size());  // some were equal
  EXPECT_LT(counts.computed_tokens * 3, counts.tokens);
}

TEST_F(Scorer, DoesNotDependOnBatchesAndCaches) {
  const std::vector<LikelihoodRequest> requests = Requests();
  const std::vector<LikelihoodAnswer> expected = Score(requests);
  for (const ScorerOptions& options :
       {ScorerOptions{1, uint64_t{1} << 30}, ScorerOptions{64, uint64_t{1} << 30},
        ScorerOptions{100000, uint64_t{1} << 30}, ScorerOptions{100000, 1}}) {
    const std::vector<LikelihoodAnswer> got = Score(requests, options);
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].log_likelihood, expected[i].log_likelihood);
      EXPECT_EQ(got[i].is_greedy, expected[i].is_greedy);
    }
  }
}

TEST_F(Scorer, OneWalkComputesASharedPrefixOnce) {
  std::vector<LikelihoodRequest> requests;
  const std::vector<TokenId> shots = Random(50, 1);
  for (uint64_t i = 0; i < 4; ++i) {
    LikelihoodRequest request{shots, shots.size()};
    request.tokens.push_back(static_cast<TokenId>(i));
    requests.push_back(request);
  }
  ScorerCounts counts;
  ExpectTheSlowAnswers(requests, Score(requests, {}, &counts));
  EXPECT_EQ(counts.computed_tokens, 50u);  // four letters, one forward pass
  EXPECT_EQ(counts.distinct, 4u);
}

TEST_F(Scorer, RoundedCachesAreCutAndFilledAgain) {
  for (const char* part : {"head", "channel"}) {
    KvCacheScheme scheme;
    scheme.keys.scheme.bits = scheme.values.scheme.bits = 4;
    if (std::string_view(part) == "channel") {
      scheme.key_group_tokens = 8;
      scheme.keys.granularity = KvGranularity::kChannel;
    }
    model_.decoder->plan.kv_cache = scheme;
    const std::vector<LikelihoodRequest> requests = Requests();
    ExpectTheSlowAnswers(requests, Score(requests));
  }
}

// Requests that share a prefix are turned each for its own length.
TEST_F(Scorer, RotationsGoByTheLengthOfEachRequest) {
  const std::vector<LikelihoodRequest> requests = Requests();
  const std::vector<LikelihoodAnswer> plain = Score(requests);
  for (const auto kind : {RopeScaling::Kind::kDynamic, RopeScaling::Kind::kLongRope}) {
    for (BlockPlan& block : model_.decoder->plan.blocks) {
      RotaryPlan& rotary = *std::get<AttentionPlan>(block.branches[0].part).rotary;
      rotary.scaling.kind = kind;
      rotary.scaling.factor = 4;
      rotary.scaling.original_context = 44;  // some requests are longer
      rotary.scaling.short_factors.assign(rotary.dims / 2, 1.0);
      rotary.scaling.long_factors.assign(rotary.dims / 2, 3.0);
    }
    const std::vector<LikelihoodAnswer> answers = Score(requests);
    ExpectTheSlowAnswers(requests, answers);
    ExpectTheSlowAnswers(requests, Score(requests, {.batch_tokens = 16, .cache_bytes = 1}));

    size_t changed = 0;
    for (size_t i = 0; i < requests.size(); ++i) {
      changed += answers[i].log_likelihood != plain[i].log_likelihood;
    }
    EXPECT_GT(changed, 0u);
    EXPECT_LT(changed, requests.size());
  }
}

// The same bits from caches that hold little more than a window.
TEST_F(Scorer, WindowsNeedNoMoreThanTheyShow) {
  for (BlockPlan& block : model_.decoder->plan.blocks) {
    std::get<AttentionPlan>(block.branches[0].part).window = 30;
  }
  std::vector<LikelihoodRequest> requests;
  const std::vector<TokenId> shared = Random(700, 3);
  for (uint64_t i = 0; i < 6; ++i) {
    std::vector<TokenId> tokens = shared;
    const std::vector<TokenId> own = Random(1 + 17 * i, 50 + i);
    tokens.insert(tokens.end(), own.begin(), own.end());
    requests.push_back({tokens, shared.size()});
  }
  ExpectTheSlowAnswers(requests, Score(requests));
}

TEST_F(Scorer, NothingAskedIsNothingDone) {
  ScorerCounts counts;
  EXPECT_TRUE(Score({}, {}, &counts).empty());
  EXPECT_EQ(counts.computed_tokens, 0u);
}

}  // namespace
}  // namespace qualm
