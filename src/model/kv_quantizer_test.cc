#include "model/kv_quantizer.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "model/block_plan.h"
#include "model/kv_cache.h"
#include "support/random_matrix.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;

constexpr size_t kHeads = 2, kDim = 8, kTokens = 150;

KvPart Part(int bits, KvGranularity granularity) {
  KvPart part;
  part.scheme.bits = bits;
  part.scheme.granularity = Granularity::kToken;
  part.scheme.range_includes_zero = false;
  part.granularity = granularity;
  return part;
}

// A cache of one block.
KvCache Cache(const std::optional<KvCacheScheme>& scheme, size_t capacity) {
  AttentionPlan attention;
  attention.heads = 2 * kHeads;
  attention.kv_heads = kHeads;
  attention.head_dim = kDim;
  BlockPlan block;
  block.branches.push_back({{}, attention, {}});
  return KvCache({&block, 1}, scheme, capacity);
}

// The attention's output when the tokens arrive `step` at a time.
Matrix Attend(const KvCacheScheme& scheme, size_t step) {
  testing::TestContext context(2);
  KvCache cache = Cache(scheme, kTokens);
  const Matrix keys = testing::RandomMatrix(kTokens, kHeads * kDim, 1),
               values = testing::RandomMatrix(kTokens, kHeads * kDim, 2);
  const Matrix queries = testing::RandomMatrix(kTokens, 2 * kHeads * kDim, 3);
  Matrix out(kTokens, 2 * kHeads * kDim);
  for (size_t first = 0; first < kTokens; first += step) {
    const size_t count = std::min(step, kTokens - first);
    for (size_t t = first; t < first + count; ++t) cache.Store(0, t, keys.row(t), values.row(t));
    const AttentionJob job{&cache.block(0), first, queries.view().Rows(first, count),
                           out.view().Rows(first, count)};
    Attention(std::span(&job, 1), {.heads = 2 * kHeads, .scale = ScaleOfHeadDim(kDim)}, context);
    cache.Grow(count);
  }
  return out;
}

// Softmax attention in double over what each query may see of keys [tokens, heads·dim].
double ExpectedAt(size_t position, size_t head, size_t d, size_t group, const Matrix& keys,
                  const Matrix& grouped, const Matrix& values, const Matrix& queries) {
  const size_t kv_head = head / 2;
  std::vector<double> scores;
  for (size_t p = 0; p <= position; ++p) {
    const Matrix& from = p < (position + 1) / group * group ? grouped : keys;
    double dot = 0;
    for (size_t i = 0; i < kDim; ++i) {
      dot += double{queries(position, head * kDim + i)} * from(p, kv_head * kDim + i);
    }
    scores.push_back(std::exp(dot / std::sqrt(double{kDim})));
  }
  double sum = 0, weighted = 0;
  for (size_t p = 0; p <= position; ++p) {
    sum += scores[p];
    weighted += scores[p] * values(p, kv_head * kDim + d);
  }
  return weighted / sum;
}

TEST(KvQuantizer, AQuerySeesCompleteGroupsRoundedAndTheRestAsItIs) {
  const KvCacheScheme scheme{Part(2, KvGranularity::kChannel), Part(8, KvGranularity::kHead), 24};
  const Matrix keys = testing::RandomMatrix(kTokens, kHeads * kDim, 1);
  const Matrix queries = testing::RandomMatrix(kTokens, 2 * kHeads * kDim, 3);
  Matrix values = testing::RandomMatrix(kTokens, kHeads * kDim, 2), grouped = Matrix::CopyOf(keys);
  const Grid keys_grid(scheme.keys.scheme, 2), values_grid(scheme.values.scheme, 8);
  const auto round = [](const Grid& grid, std::span<float*> all) {
    float min = *all[0], max = *all[0];
    for (float* v : all) min = std::min(min, *v), max = std::max(max, *v);
    GridLanes lanes;
    const GridPoint point = grid.Fit(min, max);
    lanes.scale.fill(point.scale);
    lanes.zero.fill(point.zero);
    for (float* v : all) {
      std::array<float, kPanelLanes> in{*v}, out;
      grid.QuantizeLanes(in.data(), lanes, nullptr, out.data());
      *v = out[0];
    }
  };
  for (size_t c = 0; c < kHeads * kDim; ++c) {
    for (size_t first = 0; first + 24 <= kTokens; first += 24) {
      std::vector<float*> channel;
      for (size_t p = first; p < first + 24; ++p) channel.push_back(&grouped(p, c));
      round(keys_grid, channel);
    }
  }
  for (size_t p = 0; p < kTokens; ++p) {
    for (size_t head = 0; head < kHeads; ++head) {
      std::vector<float*> row;
      for (size_t d = 0; d < kDim; ++d) row.push_back(&values(p, head * kDim + d));
      round(values_grid, row);
    }
  }
  const Matrix got = Attend(scheme, kTokens);
  for (size_t position : std::initializer_list<size_t>{0, 22, 23, 24, 47, 63, 64, 100, 149}) {
    for (size_t head = 0; head < 2 * kHeads; ++head) {
      for (size_t d = 0; d < kDim; ++d) {
        // Scores of a few units in float: errors of 150 summands of 2^-24 and exp's 2 ulp.
        EXPECT_NEAR(got(position, head * kDim + d),
                    ExpectedAt(position, head, d, 24, keys, grouped, values, queries), 3e-5)
            << position;
      }
    }
  }
}

TEST(KvQuantizer, TokensOneByOneGiveTheBitsOfAllAtOnce) {
  for (const KvCacheScheme& scheme :
       {KvCacheScheme{Part(4, KvGranularity::kChannel), Part(4, KvGranularity::kHead), 32},
        KvCacheScheme{Part(2, KvGranularity::kChannel), Part(2, KvGranularity::kToken), 40},
        KvCacheScheme{Part(8, KvGranularity::kToken), Part(8, KvGranularity::kToken), 0}}) {
    const Matrix whole = Attend(scheme, kTokens);
    for (size_t step : std::initializer_list<size_t>{1, 7, 64}) {
      const Matrix pieces = Attend(scheme, step);
      for (size_t t = 0; t < kTokens; ++t) {
        EXPECT_THAT(pieces.row(t), ::testing::ElementsAreArray(whole.row(t))) << step;
      }
    }
  }
}

TEST(KvCacheScheme, CountsItsBytes) {
  // 16 values of 4 bits and, per head, a float16 scale and a 4-bit zero point: 8 + 2·2.5 each.
  const KvCacheScheme heads{Part(4, KvGranularity::kHead), Part(4, KvGranularity::kHead), 0};
  EXPECT_DOUBLE_EQ(heads.BytesPerPosition(kHeads, kDim), 26);
  // Keys per channel: 16 scales and zero points for 32 positions.
  const KvCacheScheme channels{Part(4, KvGranularity::kChannel), Part(8, KvGranularity::kToken),
                               32};
  EXPECT_DOUBLE_EQ(channels.BytesPerPosition(kHeads, kDim), 8 + 16 * 2.5 / 32 + 16 + 3);
}

TEST(KvCacheScheme, RefusesWhatCannotBe) {
  const auto message = [](const KvCacheScheme& scheme) -> std::string {
    try {
      scheme.Validate();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const KvPart head = Part(4, KvGranularity::kHead), channel = Part(4, KvGranularity::kChannel);
  EXPECT_EQ(message({channel, head, 32}), "");
  EXPECT_THAT(message({head, channel, 0}), HasSubstr("values per token or head"));
  EXPECT_THAT(message({channel, head, 4}), HasSubstr("group_tokens in 8..1024"));
  EXPECT_THAT(message({head, head, 32}), HasSubstr("keys per channel only"));
  KvPart mx = head;
  mx.scheme = SchemeOfFormat(NumberType::kMxfp4);
  EXPECT_THAT(message({mx, head, 0}), HasSubstr("one float scale"));
}

}  // namespace
}  // namespace qualm
