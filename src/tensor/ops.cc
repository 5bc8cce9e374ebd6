// Loops over rows, shared out to threads in pieces of rows. What pays in vector instructions is in
// vector_ops.h.
#include "tensor/ops.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "tensor/vector_ops.h"

namespace qualm {
namespace {

// Rows a piece of work holds: enough to outweigh handing it out, few enough to share.
constexpr size_t kRowsPerPiece = 16;

template <typename Body>
void ForRowPieces(size_t rows, ThreadPool& pool, const Body& body) {
  size_t pieces = (rows + kRowsPerPiece - 1) / kRowsPerPiece;
  pool.ParallelFor(pieces, [&](size_t piece) {
    size_t end = std::min(rows, (piece + 1) * kRowsPerPiece);
    for (size_t row = piece * kRowsPerPiece; row < end; ++row) body(row);
  });
}

// Mean of term(x[i]) in double, summed in four interleaved chains, which a processor adds at the
// same time.
template <typename Term>
double MeanOf(std::span<const float> x, const Term& term) {
  double sums[4] = {0, 0, 0, 0};
  for (size_t i = 0; i < x.size(); ++i) sums[i % 4] += term(static_cast<double>(x[i]));
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) / static_cast<double>(x.size());
}

// The factors of Norm's columns, kept in `memory` where they are not the weights as they are.
std::span<const float> FactorsOf(std::span<const float> weight, float offset, size_t cols,
                                 std::vector<float>& memory) {
  QUALM_CHECK(!weight.empty() || offset == 0);
  if (!weight.empty() && offset == 0) return weight;  // 0 + weight would lose the sign of -0
  memory.assign(cols, 1.0f);
  for (size_t i = 0; i < weight.size(); ++i) memory[i] = offset + weight[i];
  return memory;
}

// out = x normalized, not yet multiplied by the weight. out may be x.
void NormalizeRow(std::span<const float> x, const NormParameters& parameters,
                  std::span<float> out) {
  if (parameters.kind == NormKind::kRms) {
    const double mean = MeanOf(x, [](double v) { return v * v; });
    const auto factor = static_cast<float>(1.0 / std::sqrt(mean + parameters.eps));
    for (size_t i = 0; i < x.size(); ++i) out[i] = x[i] * factor;
    return;
  }

  // The difference is taken in double: where the mean is much larger than the deviation, a mean
  // that is rounded to float would shift the whole row.
  const double mean = MeanOf(x, [](double v) { return v; });
  const double variance = MeanOf(x, [mean](double v) { return (v - mean) * (v - mean); });
  const double factor = 1.0 / std::sqrt(variance + parameters.eps);
  for (size_t i = 0; i < x.size(); ++i) out[i] = static_cast<float>((x[i] - mean) * factor);
}

}  // namespace

void Norm(Span2D<const float> x, const NormParameters& parameters, std::span<const float> weight,
          std::span<const float> bias, Span2D<float> out, ThreadPool& pool) {
  QUALM_CHECK(weight.empty() || weight.size() == x.cols());
  QUALM_CHECK(bias.empty() || bias.size() == x.cols());
  QUALM_CHECK(out.cols() == x.cols() && out.rows() == x.rows());
  std::vector<float> memory;
  const std::span<const float> factors =
      FactorsOf(weight, parameters.weight_offset, x.cols(), memory);

  ForRowPieces(x.rows(), pool, [&](size_t t) {
    std::span<float> row = out.row(t);
    NormalizeRow(x.row(t), parameters, row);
    for (size_t i = 0; i < row.size(); ++i) row[i] *= factors[i];
    if (!bias.empty()) AddTo(row.data(), bias.data(), row.size());
  });
}

RopeTable::RopeTable(std::span<const size_t> positions, std::span<const double> inverse_frequency)
    : cosine(Matrix::Uninitialized(positions.size(), inverse_frequency.size())),
      sine(Matrix::Uninitialized(positions.size(), inverse_frequency.size())) {
  for (size_t p = 0; p < positions.size(); ++p) {
    for (size_t i = 0; i < inverse_frequency.size(); ++i) {
      double angle = static_cast<double>(positions[p]) * inverse_frequency[i];
      cosine(p, i) = static_cast<float>(std::cos(angle));
      sine(p, i) = static_cast<float>(std::sin(angle));
    }
  }
}

namespace {

// Turns the pairs (first[i·kStep], second[i·kStep]) by the angle i.
template <size_t kStep>
void TurnPairs(std::span<const float> cosine, std::span<const float> sine, float* first,
               float* second) {
  for (size_t i = 0; i < cosine.size(); ++i) {
    const float a = first[i * kStep], b = second[i * kStep];
    first[i * kStep] = a * cosine[i] - b * sine[i];
    second[i * kStep] = b * cosine[i] + a * sine[i];
  }
}

}  // namespace

void ApplyRope(std::span<float> x, size_t head_dim, std::span<const float> cosine,
               std::span<const float> sine, RotaryLayout layout) {
  const size_t pairs = cosine.size();
  QUALM_CHECK(sine.size() == pairs && 2 * pairs <= head_dim && x.size() % head_dim == 0);
  for (size_t head = 0; head < x.size(); head += head_dim) {
    float* values = x.data() + head;
    if (layout == RotaryLayout::kInterleaved) {
      TurnPairs<2>(cosine, sine, values, values + 1);
    } else {
      TurnPairs<1>(cosine, sine, values, values + pairs);
    }
  }
}

AttentionCache::AttentionCache(size_t kv_heads_in, size_t head_dim_in, size_t capacity_in,
                               size_t key_group_tokens_in)
    : kv_heads(kv_heads_in),
      head_dim(head_dim_in),
      capacity((capacity_in + kKeyBlock - 1) / kKeyBlock * kKeyBlock),
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
  QUALM_CHECK(position < capacity);
  for (size_t head = 0; head < kv_heads; ++head) {
    float* to = keys.data() + head * capacity * head_dim +
                position / kKeyBlock * (kKeyBlock * head_dim) + position % kKeyBlock;
    for (size_t d = 0; d < head_dim; ++d) to[d * kKeyBlock] = key[head * head_dim + d];
    std::ranges::copy(value.subspan(head * head_dim, head_dim),
                      values.data() + (head * capacity + position) * head_dim);
  }
}

const float* AttentionCache::KeyBlock(size_t kv_head, size_t block) const {
  return keys.data() + kv_head * capacity * head_dim + block * (kKeyBlock * head_dim);
}

const float* AttentionCache::GroupedKeyBlock(size_t kv_head, size_t block) const {
  return grouped_keys.data() + kv_head * capacity * head_dim + block * (kKeyBlock * head_dim);
}

float* AttentionCache::GroupedKeyBlock(size_t kv_head, size_t block) {
  return const_cast<float*>(std::as_const(*this).GroupedKeyBlock(kv_head, block));
}

const float* AttentionCache::ValuesFrom(size_t kv_head, size_t position) const {
  return values.data() + (kv_head * capacity + position) * head_dim;
}

namespace {

constexpr size_t kQueryTile = 16;

// State of the online softmax of one query (Milakov & Gimelshein 2018).
struct SoftmaxState {
  float largest = -INFINITY;
  float sum = 0;
};

// Scores of a block's keys as the query at `position` sees them.
void ScoreVisibleKeys(const AttentionCache& cache, size_t kv_head, size_t block, size_t position,
                      const float* query, float scale, float* scores) {
  const size_t group = cache.key_group_tokens;
  const size_t complete = group == 0 ? 0 : (position + 1) / group * group;  // positions
  const size_t grouped =
      std::clamp(complete, block * kKeyBlock, (block + 1) * kKeyBlock) - block * kKeyBlock;
  if (grouped < kKeyBlock) {
    ScoreKeyBlock(query, cache.KeyBlock(kv_head, block), cache.head_dim, scale, scores);
  }
  if (grouped == 0) return;
  float of_groups[kKeyBlock];
  ScoreKeyBlock(query, cache.GroupedKeyBlock(kv_head, block), cache.head_dim, scale, of_groups);
  std::copy_n(of_groups, grouped, scores);
}

// Adds keys [begin, end) of block `block` (relative to its start) to the sums of the query at
// `position`.
void AddKeyBlock(const AttentionCache& cache, size_t kv_head, size_t block, size_t begin,
                 size_t end, size_t position, const float* query, float scale, SoftmaxState& state,
                 float* out) {
  float scores[kKeyBlock];
  ScoreVisibleKeys(cache, kv_head, block, position, query, scale, scores);
  float largest = state.largest;
  for (size_t j = begin; j < end; ++j) largest = std::max(largest, scores[j]);
  float decay = state.sum == 0 ? 0.0f : std::exp(state.largest - largest);
  float added = ExpShifted(scores + begin, end - begin, largest);
  DecayAndAccumulate(scores + begin, end - begin,
                     cache.ValuesFrom(kv_head, block * kKeyBlock + begin), cache.head_dim, decay,
                     out, cache.head_dim);
  state.sum = state.sum * decay + added;
  state.largest = largest;
}

// Queries [first, last) of one head of one job.
void AttendTile(const AttentionJob& job, size_t heads, size_t head, size_t window, size_t first,
                size_t last) {
  const AttentionCache& cache = *job.cache;
  size_t kv_head = head / (heads / cache.kv_heads);
  auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(cache.head_dim)));
  SoftmaxState states[kQueryTile];
  for (size_t row = first; row < last; ++row) {
    std::fill_n(job.out.row(row).data() + head * cache.head_dim, cache.head_dim, 0.0f);
  }
  auto first_visible = [&](size_t position) {
    return window == 0 || position < window ? 0 : position + 1 - window;
  };
  size_t last_position = job.first_position + last - 1;
  size_t block = first_visible(job.first_position + first) / kKeyBlock;
  for (; block * kKeyBlock <= last_position; ++block) {
    for (size_t row = first; row < last; ++row) {
      size_t position = job.first_position + row;
      size_t from = std::max(first_visible(position), block * kKeyBlock);
      size_t to = std::min(position + 1, (block + 1) * kKeyBlock);
      if (from >= to) continue;
      AddKeyBlock(cache, kv_head, block, from - block * kKeyBlock, to - block * kKeyBlock, position,
                  job.queries.row(row).data() + head * cache.head_dim, scale, states[row - first],
                  job.out.row(row).data() + head * cache.head_dim);
    }
  }
  for (size_t row = first; row < last; ++row) {
    float* out = job.out.row(row).data() + head * cache.head_dim;
    float factor = 1.0f / states[row - first].sum;
    for (size_t d = 0; d < cache.head_dim; ++d) out[d] *= factor;
  }
}

}  // namespace

void Attention(std::span<const AttentionJob> jobs, size_t heads, size_t window, ThreadPool& pool) {
  struct Tile {
    const AttentionJob* job;
    size_t head, first, last;
  };
  std::vector<Tile> tiles;
  for (const AttentionJob& job : jobs) {
    for (size_t head = 0; head < heads; ++head) {
      for (size_t first = 0; first < job.queries.rows(); first += kQueryTile) {
        tiles.push_back({&job, head, first, std::min(job.queries.rows(), first + kQueryTile)});
      }
    }
  }
  pool.ParallelFor(tiles.size(), [&](size_t i) {
    const Tile& tile = tiles[i];
    AttendTile(*tile.job, heads, tile.head, window, tile.first, tile.last);
  });
}

void Activate(Activation activation, Span2D<float> x, ThreadPool& pool) {
  ForRowPieces(x.rows(), pool,
               [&](size_t t) { ActivateValues(activation, x.row(t).data(), nullptr, x.cols()); });
}

void GatedActivation(Activation activation, Span2D<float> gate, Span2D<const float> up,
                     ThreadPool& pool) {
  QUALM_CHECK(gate.rows() == up.rows() && gate.cols() == up.cols());
  ForRowPieces(gate.rows(), pool, [&](size_t t) {
    ActivateValues(activation, gate.row(t).data(), up.row(t).data(), gate.cols());
  });
}

void AddRows(Span2D<float> to, Span2D<const float> from, ThreadPool& pool) {
  ForRowPieces(to.rows(), pool,
               [&](size_t t) { AddTo(to.row(t).data(), from.row(t).data(), to.cols()); });
}

void AddScaled(Span2D<float> to, Span2D<const float> from, float factor, ThreadPool& pool) {
  QUALM_CHECK(to.rows() == from.rows() && to.cols() == from.cols());
  ForRowPieces(to.rows(), pool, [&](size_t t) {
    const std::span<float> sums = to.row(t);
    const std::span<const float> added = from.row(t);
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += added[i] * factor;
  });
}

void AddBias(Span2D<float> to, std::span<const float> bias) {
  if (bias.empty()) return;
  QUALM_CHECK(bias.size() == to.cols());
  for (size_t t = 0; t < to.rows(); ++t) AddTo(to.row(t).data(), bias.data(), bias.size());
}

void ScaleRows(Span2D<float> x, float factor, ThreadPool& pool) {
  ForRowPieces(x.rows(), pool, [&](size_t t) {
    for (float& value : x.row(t)) value *= factor;
  });
}

void SoftCap(Span2D<float> logits, float cap, ThreadPool& pool) {
  ForRowPieces(logits.rows(), pool,
               [&](size_t t) { SoftCapValues(logits.row(t).data(), logits.cols(), cap); });
}

double LogSumExp(std::span<const float> logits) {
  float largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum);
}

}  // namespace qualm
