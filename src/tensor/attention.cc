// Attention in tiles: a piece of work is one head of up to 16 queries of one sequence, which walk
// over the blocks of keys together while a block's keys and values are in the cache of the
// processor. The softmax is summed as the blocks come (Milakov & Gimelshein 2018).
#include "tensor/attention.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "base/context.h"
#include "tensor/dtype.h"
#include "tensor/vector_ops.h"

namespace qualm {
namespace {

size_t RoundedUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

AttentionCache::AttentionCache(size_t kv_heads_in, size_t head_dim_in, size_t capacity_in,
                               size_t key_group_tokens_in)
    : kv_heads(kv_heads_in),
      head_dim(head_dim_in),
      capacity(
          RoundedUp(capacity_in, std::lcm(kKeyBlock, std::max<size_t>(1, key_group_tokens_in)))),
      key_group_tokens(key_group_tokens_in),
      keys(CheckedProduct(kv_heads, head_dim, capacity)),
      values(keys.size()),
      grouped_keys(key_group_tokens > 0 ? keys.size() : 0) {
  // Lanes past the last stored position are computed and then ignored; they must not be garbage
  // that a sanitizer or a signalling NaN would trip over.
  std::fill_n(keys.data(), keys.size(), 0.0f);
}

void AttentionCache::Store(size_t position, std::span<const float> key,
                           std::span<const float> value) {
  const size_t place = position % capacity;
  for (size_t head = 0; head < kv_heads; ++head) {
    float* to = keys.data() + head * capacity * head_dim +
                place / kKeyBlock * (kKeyBlock * head_dim) + place % kKeyBlock;
    for (size_t d = 0; d < head_dim; ++d) to[d * kKeyBlock] = key[head * head_dim + d];
    std::ranges::copy(value.subspan(head * head_dim, head_dim),
                      values.data() + (head * capacity + place) * head_dim);
  }
}

const float* AttentionCache::KeyBlock(size_t kv_head, size_t block) const {
  return keys.data() + kv_head * capacity * head_dim + block * kKeyBlock % capacity * head_dim;
}

const float* AttentionCache::GroupedKeyBlock(size_t kv_head, size_t block) const {
  return grouped_keys.data() + kv_head * capacity * head_dim +
         block * kKeyBlock % capacity * head_dim;
}

float* AttentionCache::GroupedKeyBlock(size_t kv_head, size_t block) {
  return const_cast<float*>(std::as_const(*this).GroupedKeyBlock(kv_head, block));
}

const float* AttentionCache::ValuesFrom(size_t kv_head, size_t position) const {
  return values.data() + (kv_head * capacity + position % capacity) * head_dim;
}

namespace {

// Queries of a tile.
constexpr size_t kQueryTile = 16;

// What the queries of one head of one job share.
struct HeadOfJob {
  const AttentionCache& cache;
  size_t kv_head;
  float scale, soft_cap;
  float alibi_slope;  // 0: the scores do not depend on the distance
  bool alibi_in_bfloat16;
};

// One query of one head and its softmax so far: `out` holds the sum of exp(score - largest)·value,
// `sum` the sum of the factors.
struct QueryState {
  size_t position;
  const float* query;  // [head_dim]
  float* out;          // [head_dim]
  float largest = -INFINITY;
  float sum = 0;
};

// scores[j] = scale·q·k for all keys of a block, as the query at `position` sees them.
void ScoreVisibleKeys(const HeadOfJob& head, size_t block, const QueryState& query, float* scores) {
  // Positions from 0 on whose groups are complete with this query, and how many lie in this block.
  const AttentionCache& cache = head.cache;
  const size_t group = cache.key_group_tokens;
  const size_t complete = group == 0 ? 0 : (query.position + 1) / group * group;
  const size_t grouped =
      std::clamp(complete, block * kKeyBlock, (block + 1) * kKeyBlock) - block * kKeyBlock;
  if (grouped < kKeyBlock) {
    ScoreKeyBlock(query.query, cache.KeyBlock(head.kv_head, block), cache.head_dim, head.scale,
                  scores);
  }
  if (grouped == 0) return;

  float of_groups[kKeyBlock];
  ScoreKeyBlock(query.query, cache.GroupedKeyBlock(head.kv_head, block), cache.head_dim, head.scale,
                of_groups);
  std::copy_n(of_groups, grouped, scores);
}

// Adds keys [begin, end) of block `block` (relative to its start) to the sums of a query.
void AddKeyBlock(const HeadOfJob& head, size_t block, size_t begin, size_t end, QueryState& query) {
  float scores[kKeyBlock];
  ScoreVisibleKeys(head, block, query, scores);
  if (head.soft_cap > 0) SoftCapValues(scores + begin, end - begin, head.soft_cap);
  if (head.alibi_slope != 0 && head.alibi_in_bfloat16) {
    const float slope = ToFloat(BFloat16FromFloat(head.alibi_slope));
    for (size_t j = begin; j < end; ++j) {
      const float position = static_cast<float>(block * kKeyBlock + j);
      const float added = slope * ToFloat(BFloat16FromFloat(position));
      scores[j] += head.scale * ToFloat(BFloat16FromFloat(added));
    }
  } else if (head.alibi_slope != 0) {
    const size_t distance = query.position - block * kKeyBlock;  // from the block's first key
    for (size_t j = begin; j < end; ++j) {
      scores[j] -= head.alibi_slope * static_cast<float>(distance - j);
    }
  }

  // What was summed with a smaller largest score shrinks to the new one.
  float largest = query.largest;
  for (size_t j = begin; j < end; ++j) largest = std::max(largest, scores[j]);
  float decay = query.sum == 0 ? 0.0f : std::exp(query.largest - largest);
  float added = ExpShifted(scores + begin, end - begin, largest);
  const AttentionCache& cache = head.cache;
  DecayAndAccumulate(scores + begin, end - begin,
                     cache.ValuesFrom(head.kv_head, block * kKeyBlock + begin), cache.head_dim,
                     decay, query.out, cache.head_dim);
  query.sum = query.sum * decay + added;
  query.largest = largest;
}

// Queries [first, last) of head `head_index` of one job.
void AttendTile(const AttentionJob& job, const AttentionParameters& parameters, size_t head_index,
                size_t first, size_t last) {
  const AttentionCache& cache = *job.cache;
  const size_t kv_head = head_index / (parameters.heads / cache.kv_heads);
  const HeadOfJob head{cache,
                       kv_head,
                       parameters.scale,
                       parameters.soft_cap,
                       parameters.alibi_slopes.empty() ? 0.0f : parameters.alibi_slopes[head_index],
                       parameters.alibi_in_bfloat16};

  // Every query starts with an empty sum, in the place of its output.
  QueryState queries[kQueryTile];
  for (size_t row = first; row < last; ++row) {
    QueryState& query = queries[row - first];
    query.position = job.first_position + row;
    query.query = job.queries.row(row).data() + head_index * cache.head_dim;
    query.out = job.out.row(row).data() + head_index * cache.head_dim;
    std::fill_n(query.out, cache.head_dim, 0.0f);
  }

  // All blocks from the first key of the first query to the last query's own key.
  const size_t window = parameters.window;
  auto first_visible = [&](size_t position) {
    return window == 0 || position < window ? 0 : position + 1 - window;
  };
  const size_t last_position = job.first_position + last - 1;
  size_t block = first_visible(job.first_position + first) / kKeyBlock;
  // A block's keys are read by all queries of the tile before the next block is touched.
  for (; block * kKeyBlock <= last_position; ++block) {
    for (size_t i = 0; i < last - first; ++i) {
      const size_t position = queries[i].position;
      const size_t from = std::max(first_visible(position), block * kKeyBlock);
      const size_t to = std::min(position + 1, (block + 1) * kKeyBlock);
      if (from >= to) continue;
      AddKeyBlock(head, block, from - block * kKeyBlock, to - block * kKeyBlock, queries[i]);
    }
  }

  for (size_t i = 0; i < last - first; ++i) {
    // The softmax's denominator is known only at the end.
    const float factor = 1.0f / queries[i].sum;
    for (size_t d = 0; d < cache.head_dim; ++d) queries[i].out[d] *= factor;
  }
}

}  // namespace

void Attention(std::span<const AttentionJob> jobs, const AttentionParameters& parameters,
               const Context& context) {
  QUALM_CHECK(parameters.alibi_slopes.empty() ||
              parameters.alibi_slopes.size() == parameters.heads);

  // Tiles are independent and about equally large: whatever thread takes one, the sums are the
  // same.
  struct Tile {
    const AttentionJob* job;
    size_t head, first, last;
  };
  std::vector<Tile> tiles;
  for (const AttentionJob& job : jobs) {
    for (size_t head = 0; head < parameters.heads; ++head) {
      for (size_t first = 0; first < job.queries.rows(); first += kQueryTile) {
        tiles.push_back({&job, head, first, std::min(job.queries.rows(), first + kQueryTile)});
      }
    }
  }

  context.pool.ParallelFor(tiles.size(), [&](size_t i) {
    const Tile& tile = tiles[i];
    AttendTile(*tile.job, parameters, tile.head, tile.first, tile.last);
  });
}

}  // namespace qualm
