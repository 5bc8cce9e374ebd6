#include "model/decoder.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"

namespace qualm {
namespace {

size_t TokensOf(std::span<const SequenceSlice> slices) {
  size_t tokens = 0;
  for (const SequenceSlice& slice : slices) tokens += slice.ids.size();
  return tokens;
}

void ApplyLinear(const LinearLayer& layer, Span2D<const float> x, Span2D<float> y,
                 ThreadPool& pool) {
  layer.weight->Multiply(x, y, pool);
  AddBias(y, layer.bias);
}

Matrix ApplyLinear(const LinearLayer& layer, Span2D<const float> x, ThreadPool& pool) {
  Matrix y = Matrix::Uninitialized(x.rows(), layer.weight->out_features());
  ApplyLinear(layer, x, y, pool);
  return y;
}

}  // namespace

DecoderBlock::DecoderBlock(const ModelConfig& config, const Family& family, size_t index)
    : config_(config), family_(family), index_(index) {}

LinearLayer& DecoderBlock::Linear(std::string_view name) {
  // In the order of the family's groups: q, k, v / o / gate, up / down.
  LinearLayer* const layers[] = {&q, &k, &v, &o, &gate, &up, &down};
  size_t i = 0;
  for (const LinearGroup& group : family_.groups) {
    for (const LinearSpec& linear : group.linears) {
      if (linear.name == name) return *layers[i];
      ++i;
    }
  }
  internal::CheckFailed("the family's table has this linear layer", __FILE__, __LINE__);
}

Matrix DecoderBlock::AttentionInput(Span2D<const float> hidden, ThreadPool& pool) const {
  Matrix normed = Matrix::Uninitialized(hidden.rows(), hidden.cols());
  Norm(hidden, {.eps = config_.rms_norm_eps}, attention_norm, {}, normed, pool);
  return normed;
}

Matrix DecoderBlock::Attended(std::span<const SequenceSlice> slices, const RopeTable& rope,
                              size_t cache_block, Span2D<const float> input,
                              ThreadPool& pool) const {
  Matrix queries = ApplyLinear(q, input, pool);
  Matrix keys = ApplyLinear(k, input, pool);
  Matrix values = ApplyLinear(v, input, pool);
  pool.ParallelFor(input.rows(), [&](size_t t) {
    for (Matrix* heads : {&queries, &keys}) {
      ApplyRope(heads->row(t), config_.head_dim, rope.cosine.row(t), rope.sine.row(t),
                RotaryLayout::kHalf);
    }
  });
  Matrix out = Matrix::Uninitialized(input.rows(), config_.q_features());
  std::vector<AttentionJob> jobs;
  size_t first = 0;
  for (const SequenceSlice& slice : slices) {
    size_t start = slice.cache->length(), count = slice.ids.size();
    for (size_t t = 0; t < count; ++t) {
      slice.cache->Store(cache_block, start + t, keys.row(first + t), values.row(first + t));
    }
    jobs.push_back({&slice.cache->block(cache_block), start, queries.view().Rows(first, count),
                    out.view().Rows(first, count)});
    first += count;
  }
  bool windowed = config_.sliding_window && index_ >= config_.first_window_layer;
  AttentionParameters parameters{.heads = config_.heads,
                                 .scale = ScaleOfHeadDim(config_.head_dim),
                                 .window = windowed ? *config_.sliding_window : 0};
  Attention(jobs, parameters, pool);
  return out;
}

void DecoderBlock::AddAttentionOutput(Span2D<const float> attended, Span2D<float> hidden,
                                      ThreadPool& pool) const {
  AddRows(hidden, ApplyLinear(o, attended, pool).view(), pool);
}

Matrix DecoderBlock::MlpInput(Span2D<const float> hidden, ThreadPool& pool) const {
  Matrix normed = Matrix::Uninitialized(hidden.rows(), hidden.cols());
  Norm(hidden, {.eps = config_.rms_norm_eps}, mlp_norm, {}, normed, pool);
  return normed;
}

Matrix DecoderBlock::Gated(Span2D<const float> input, ThreadPool& pool) const {
  Matrix gated = ApplyLinear(gate, input, pool);
  GatedActivation(Activation::kSilu, gated, ApplyLinear(up, input, pool).view(), pool);
  return gated;
}

void DecoderBlock::AddMlpOutput(Span2D<const float> gated, Span2D<float> hidden,
                                ThreadPool& pool) const {
  AddRows(hidden, ApplyLinear(down, gated, pool).view(), pool);
}

void DecoderBlock::Forward(std::span<const SequenceSlice> slices, const RopeTable& rope,
                           size_t cache_block, Span2D<float> hidden, ThreadPool& pool,
                           const GroupObserver& observer) const {
  auto seen = [&](size_t group, Matrix input) {
    if (observer) observer(group, input.view());
    return input;
  };
  {
    Matrix input = seen(0, AttentionInput(hidden, pool));
    AddAttentionOutput(seen(1, Attended(slices, rope, cache_block, input, pool)), hidden, pool);
  }
  Matrix input = seen(2, MlpInput(hidden, pool));
  AddMlpOutput(seen(3, Gated(input, pool)), hidden, pool);
}

RopeTable RopeOf(const ModelConfig& config, std::span<const SequenceSlice> slices) {
  std::vector<size_t> positions;
  for (const SequenceSlice& slice : slices) {
    for (size_t t = 0; t < slice.ids.size(); ++t) positions.push_back(slice.cache->length() + t);
  }
  return RopeTable(positions, RopeInverseFrequencies(config));
}

void EmbeddingTable::Lookup(std::span<const TokenId> ids, Span2D<float> out) const {
  const auto* bytes = static_cast<const std::byte*>(weight.data);
  size_t row_bytes = weight.cols * SizeOf(weight.type);
  for (size_t t = 0; t < ids.size(); ++t) {
    if (ids[t] < 0 || static_cast<size_t>(ids[t]) >= weight.rows) {
      ThrowBadInput("embedding", StrCat("token ids in 0..", weight.rows - 1), StrCat(ids[t]),
                    "do the tokenizer and the model belong together?");
    }
    ConvertToFloat(weight.type, bytes + static_cast<size_t>(ids[t]) * row_bytes, out.row(t).data(),
                   weight.cols);
  }
}

Matrix Decoder::Forward(std::span<const SequenceSlice> slices, ThreadPool& pool) const {
  Matrix hidden = Matrix::Uninitialized(TokensOf(slices), config.hidden_size);
  size_t first = 0;
  for (const SequenceSlice& slice : slices) {
    if (slice.cache->length() + slice.ids.size() > slice.cache->capacity()) {
      ThrowBadInput("forward", StrCat("at most ", slice.cache->capacity(), " positions"),
                    StrCat(slice.cache->length() + slice.ids.size()));
    }
    embedding.Lookup(slice.ids, hidden.view().Rows(first, slice.ids.size()));
    first += slice.ids.size();
  }
  RopeTable rope = RopeOf(config, slices);
  for (size_t b = 0; b < blocks.size(); ++b) {
    blocks[b]->Forward(slices, rope, b, hidden, pool);
  }
  for (const SequenceSlice& slice : slices) slice.cache->Grow(slice.ids.size());
  Norm(hidden, {.eps = config.rms_norm_eps}, final_norm, {}, hidden, pool);
  return hidden;
}

void Decoder::Logits(Span2D<const float> hidden, Span2D<float> logits, ThreadPool& pool) const {
  ApplyLinear(head, hidden, logits, pool);
}

uint64_t Decoder::weight_bytes() const {
  uint64_t total = head.weight->weight_bytes();
  for (const auto& block : blocks) {
    for (const LinearGroup& group : family->groups) {
      for (const LinearSpec& linear : group.linears) {
        total += block->Linear(linear.name).weight->weight_bytes();
      }
    }
  }
  return total;
}

}  // namespace qualm
