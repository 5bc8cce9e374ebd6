// Caches of blocks with windows are rings: the same logits as a cache that keeps everything, in far
// less memory, for prompts in one piece or several, token by token, and after going back.
#include "model/kv_cache.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "model/decoder.h"
#include "support/random_matrix.h"
#include "support/test_context.h"
#include "tensor/dense.h"

namespace qualm {
namespace {

constexpr size_t kWindow = 40, kTokens = 900;

// Two blocks with windows, one that sees everything, and a window that is not a multiple of
// anything.
ModelPlan Plan() {
  ModelPlan plan = ParseModelPlan(
      Json{{"model_type", "ministral"},
           {"hidden_size", 32},
           {"intermediate_size", 48},
           {"num_hidden_layers", 3},
           {"num_attention_heads", 4},
           {"num_key_value_heads", 2},
           {"vocab_size", 64},
           {"sliding_window", kWindow},
           {"layer_types", {"sliding_attention", "full_attention", "sliding_attention"}},
           {"max_position_embeddings", 1024}},
      "test");
  return plan;
}

// A decoder of the plan with random weights.
std::unique_ptr<Decoder> RandomDecoder(ModelPlan plan, const Context& context) {
  auto decoder = std::make_unique<Decoder>();
  decoder->plan = std::move(plan);
  uint64_t seed = 1;
  const auto weight = [&](size_t out, size_t in) {
    Matrix values = testing::RandomMatrix(out, in, ++seed);
    ScaleRows(values, 0.2f, context);
    return MakeDenseWeight({values.data(), DType::kF32, out, in}, context);
  };
  for (size_t b = 0; b < decoder->plan.blocks.size(); ++b) {
    auto block = std::make_unique<DecoderBlock>(decoder->plan.blocks[b], b);
    for (const NormPlan& norm : NormsOf(decoder->plan.blocks[b])) {
      block->Norm(norm.name).weight.assign(norm.width, 1.0f);
    }
    for (const LinearSite& site : SitesOf(decoder->plan.blocks[b])) {
      block->Linear(site.name).weight = weight(site.out, site.in);
    }
    decoder->blocks.push_back(std::move(block));
  }
  decoder->head.weight = weight(decoder->plan.head.out, decoder->plan.head.in);
  return decoder;
}

class WindowedCache : public ::testing::Test {
 protected:
  WindowedCache() : decoder_(RandomDecoder(Plan(), context_)) {
    decoder_->input.embedding.weight = {table_.data(), DType::kF32, table_.rows(), table_.cols()};
    Rng rng(7);
    for (size_t i = 0; i < kTokens; ++i) ids_.push_back(static_cast<TokenId>(rng.Below(64)));
  }

  // Hidden states of tokens [first, last) of ids_, `step` at a time.
  Matrix Run(KvCache& cache, size_t first, size_t last, size_t step) {
    Matrix all = Matrix::Uninitialized(last - first, 32);
    for (size_t t = first; t < last; t += step) {
      const size_t count = std::min(step, last - t);
      const std::span<const TokenId> piece(ids_.data() + t, count);
      const Matrix hidden =
          decoder_->Forward(std::vector<SequenceSlice>{{&cache, piece}}, context_);
      for (size_t i = 0; i < count; ++i) {
        std::ranges::copy(hidden.row(i), all.row(t - first + i).begin());
      }
    }
    return all;
  }

  static bool SameBits(const Matrix& a, const Matrix& b) {
    return a.rows() == b.rows() && std::equal(a.data(), a.data() + a.rows() * a.cols(), b.data());
  }

  testing::TestContext context_{2};
  Matrix table_ = testing::RandomMatrix(64, 32, 1);
  std::unique_ptr<Decoder> decoder_;
  std::vector<TokenId> ids_;
};

TEST_F(WindowedCache, GivesTheSameBitsAsOneThatKeepsEverything) {
  KvCache whole = decoder_->MakeCache(kTokens);
  const Matrix expected = Run(whole, 0, kTokens, kTokens);
  for (const size_t step : {kTokens, size_t{300}, size_t{7}, size_t{1}}) {
    KvCache ring = decoder_->MakeCache(kTokens, /*rollback=*/0);
    EXPECT_TRUE(SameBits(expected, Run(ring, 0, kTokens, step))) << step;
    EXPECT_LT(ring.size_bytes(), whole.size_bytes());
  }
}

TEST_F(WindowedCache, KeepsAQuantizedCachesGroups) {
  KvPart keys, values;
  for (KvPart* part : {&keys, &values}) {
    part->scheme.bits = 4;
    part->scheme.granularity = Granularity::kToken;
    part->scheme.range_includes_zero = false;
  }
  keys.granularity = KvGranularity::kChannel;
  values.granularity = KvGranularity::kHead;
  decoder_->plan.kv_cache = KvCacheScheme{keys, values, /*key_group_tokens=*/24};
  KvCache whole = decoder_->MakeCache(kTokens);
  KvCache ring = decoder_->MakeCache(kTokens, /*rollback=*/0);
  const Matrix expected = Run(whole, 0, kTokens, kTokens);
  EXPECT_TRUE(SameBits(expected, Run(ring, 0, kTokens, 50)));
}

// A prefix far longer than the window, continued in several ways.
TEST_F(WindowedCache, GoesBackAsFarAsItWasMadeFor) {
  constexpr size_t kPrefix = 700, kBack = 120;
  KvCache ring = decoder_->MakeCache(kTokens, kBack);
  (void)Run(ring, 0, kPrefix, kPrefix);
  const Matrix first = Run(ring, kPrefix, kPrefix + kBack, 40);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(ring.CanTruncate(kPrefix));
    ring.Truncate(kPrefix);
    EXPECT_TRUE(
        SameBits(first, Run(ring, kPrefix, kPrefix + kBack, 1 + 30 * static_cast<size_t>(i))));
  }
}

TEST_F(WindowedCache, SaysWhenItCannotGoBack) {
  KvCache ring = decoder_->MakeCache(kTokens, /*rollback=*/0);
  (void)Run(ring, 0, kTokens, kTokens);
  EXPECT_FALSE(ring.CanTruncate(100));
  EXPECT_TRUE(ring.CanTruncate(0));
  ring.Truncate(0);
  // An empty cache has nothing to go back to, so everything is possible again.
  (void)Run(ring, 0, 100, 100);
  EXPECT_TRUE(ring.CanTruncate(50));
}

// What it says it can do, it does without a trace of the positions that replaced others.
TEST_F(WindowedCache, GoesBackAsFarAsItSays) {
  KvCache whole = decoder_->MakeCache(kTokens);
  const Matrix expected = Run(whole, 0, kTokens, kTokens);
  KvCache ring = decoder_->MakeCache(kTokens, /*rollback=*/0);
  (void)Run(ring, 0, kTokens, kTokens);
  size_t furthest = 1;
  while (!ring.CanTruncate(furthest)) ++furthest;
  ASSERT_LT(furthest, kTokens - 50);
  ring.Truncate(furthest);
  const Matrix again = Run(ring, furthest, furthest + 50, 10);
  for (size_t t = 0; t < 50; ++t) {
    EXPECT_TRUE(std::ranges::equal(again.row(t), expected.row(furthest + t))) << t;
  }
}

TEST_F(WindowedCache, TakesTheBytesThatItSays) {
  const ModelPlan& plan = decoder_->plan;
  for (const size_t rollback : {size_t{0}, size_t{500}, KvCache::kKeepAll}) {
    const KvCache cache = decoder_->MakeCache(4096, rollback);
    // Places are rounded up to whole blocks of 64 keys.
    const double said = static_cast<double>(KvCache::BytesOf(plan, 4096, rollback));
    EXPECT_NEAR(static_cast<double>(cache.size_bytes()) / said, 1, 0.1) << rollback;
  }
}

}  // namespace
}  // namespace qualm
