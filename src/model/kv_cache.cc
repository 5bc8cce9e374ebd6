// The caches of all blocks of a model for one sequence. With a scheme, keys and values are rounded
// as they are stored, so that attention reads what a quantized cache would hold.
#include "model/kv_cache.h"

#include <algorithm>

#include "base/error.h"
#include "model/model_plan.h"

namespace qualm {

KvCache::KvCache(const ModelPlan& plan, size_t capacity)
    : KvCache(plan.blocks, plan.kv_cache, capacity) {}

KvCache::KvCache(std::span<const BlockPlan> blocks, const std::optional<KvCacheScheme>& scheme,
                 size_t capacity)
    : capacity_(capacity), sequence_length_(capacity) {
  const size_t group_tokens = scheme ? static_cast<size_t>(scheme->key_group_tokens) : 0;
  blocks_.reserve(blocks.size());
  for (const BlockPlan& block : blocks) {
    // A block without attention keeps its number and stores nothing.
    const AttentionPlan* attention = AttentionOf(block);
    const size_t heads = attention == nullptr ? 0 : attention->kv_heads;
    const size_t head_dim = attention == nullptr ? 0 : attention->head_dim;
    blocks_.emplace_back(heads, head_dim, capacity, group_tokens);
    quantizers_.emplace_back();
    if (scheme && attention != nullptr) quantizers_.back().emplace(*scheme, heads, head_dim);
  }
}

void KvCache::SetSequenceLength(size_t length) {
  QUALM_CHECK(length_ == 0 && length <= capacity_);
  sequence_length_ = length;
}

// Forgets positions without touching them: the next tokens overwrite them.
void KvCache::Truncate(size_t length) {
  QUALM_CHECK(length <= length_);
  length_ = length;
}

void KvCache::Grow(size_t tokens) {
  QUALM_CHECK(length_ + tokens <= capacity_);
  length_ += tokens;
}

void KvCache::CopyFrom(const KvCache& other) {
  // Whole buffers are copied: keys are stored in blocks of positions, so a prefix is not
  // contiguous.
  QUALM_CHECK(capacity_ == other.capacity_ && blocks_.size() == other.blocks_.size());
  for (size_t i = 0; i < blocks_.size(); ++i) {
    std::ranges::copy(other.blocks_[i].keys.span(), blocks_[i].keys.data());
    std::ranges::copy(other.blocks_[i].values.span(), blocks_[i].values.data());
    std::ranges::copy(other.blocks_[i].grouped_keys.span(), blocks_[i].grouped_keys.data());
  }
  length_ = other.length_;
  sequence_length_ = other.sequence_length_;
}

void KvCache::Store(size_t block, size_t position, std::span<const float> key,
                    std::span<const float> value) {
  if (!quantizers_[block]) {
    blocks_[block].Store(position, key, value);
  } else {
    quantizers_[block]->Store(position, key, value, blocks_[block]);
  }
}

size_t KvCache::size_bytes() const {
  size_t total = 0;
  for (const AttentionCache& block : blocks_) {
    total += (block.keys.size() + block.values.size() + block.grouped_keys.size()) * sizeof(float);
  }
  return total;
}

}  // namespace qualm
