// Distances on scored positions against whole forward passes of both models, row by row.
#include "evaluate/scored_distance.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "evaluate/row_scores.h"
#include "model/model.h"
#include "support/shared_data.h"
#include "support/test_context.h"

namespace qualm {
namespace {

class ScoredDistances : public ::testing::Test {
 protected:
  ScoredDistances()
      : context_(2),
        reference_(LoadModel(testing::SourceRoot() / "demo/model", {}, context_)),
        model_(
            LoadModel(testing::SourceRoot() / "demo/model", {.compute_in_bf16 = true}, context_)) {}

  Matrix LogitsOf(const Decoder& decoder, const LikelihoodRequest& request) {
    KvCache cache = decoder.MakeCache(request.tokens.size());
    const Matrix hidden =
        decoder.Forward(std::vector<SequenceSlice>{{&cache, std::span(request.tokens)}}, context_);
    Matrix logits(hidden.rows(), decoder.plan.vocab_size());
    decoder.Logits(hidden, logits, context_);
    return logits;
  }

  ScoredDistance Slowly(const LikelihoodRequest& request) {
    const Matrix a = LogitsOf(*reference_.decoder, request), b = LogitsOf(*model_.decoder, request);
    ScoredDistance distance;
    RowComparer comparer;
    const auto rows = static_cast<double>(request.continuation_length());
    for (size_t t = request.context_length; t < request.tokens.size(); ++t) {
      const RowComparison one = comparer.Compare(a.row(t - 1), b.row(t - 1), 0);
      distance.kl += one.kl / rows;
      distance.same_top1 += (one.same_top1 ? 1.0 : 0.0) / rows;
    }
    return distance;
  }

  // Letters behind one context, endings of several tokens, an equal request.
  std::vector<LikelihoodRequest> Requests() const {
    Rng rng(3);
    const auto random = [&](size_t count) {
      std::vector<TokenId> ids;
      for (size_t i = 0; i < count; ++i) {
        ids.push_back(static_cast<TokenId>(rng.Below(reference_.decoder->plan.vocab_size())));
      }
      return ids;
    };
    std::vector<LikelihoodRequest> requests;
    const std::vector<TokenId> context = random(20);
    for (size_t length : std::vector<size_t>{1, 1, 1, 5, 9}) {
      LikelihoodRequest request{context, context.size()};
      for (TokenId id : random(length)) request.tokens.push_back(id);
      requests.push_back(request);
    }
    requests.push_back(requests[3]);
    requests.push_back({random(12), 4});
    return requests;
  }

  testing::TestContext context_;
  Model reference_, model_;
};

TEST_F(ScoredDistances, ThoseOfWholePassesRowByRow) {
  const std::vector<LikelihoodRequest> requests = Requests();
  const std::vector<ScoredDistance> got =
      CompareScoredPositions(*reference_.decoder, *model_.decoder, requests, {}, context_);
  ASSERT_EQ(got.size(), requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    const ScoredDistance expected = Slowly(requests[i]);
    EXPECT_GT(expected.kl, 0);
    // The same rows in the same arithmetic; only the order of adding them up could differ.
    EXPECT_DOUBLE_EQ(got[i].kl, expected.kl) << i;
    EXPECT_DOUBLE_EQ(got[i].same_top1, expected.same_top1) << i;
  }
}

TEST_F(ScoredDistances, AModelIsNotFarFromItself) {
  for (const ScoredDistance& one :
       CompareScoredPositions(*reference_.decoder, *reference_.decoder, Requests(), {}, context_)) {
    EXPECT_EQ(one.kl, 0);
    EXPECT_EQ(one.same_top1, 1);
  }
}

}  // namespace
}  // namespace qualm
