#include "model/kv_cache.h"

#include <algorithm>

#include "base/error.h"

namespace qualm {

KvCache::KvCache(const ModelConfig& config, size_t blocks, size_t capacity) : capacity_(capacity) {
  const size_t group_tokens =
      config.kv_cache ? static_cast<size_t>(config.kv_cache->key_group_tokens) : 0;
  blocks_.reserve(blocks);
  for (size_t i = 0; i < blocks; ++i) {
    blocks_.emplace_back(config.kv_heads, config.head_dim, capacity, group_tokens);
  }
  if (config.kv_cache) quantizer_.emplace(*config.kv_cache, config.kv_heads, config.head_dim);
}

void KvCache::Truncate(size_t length) {
  QUALM_CHECK(length <= length_);
  length_ = length;
}

void KvCache::Grow(size_t tokens) {
  QUALM_CHECK(length_ + tokens <= capacity_);
  length_ += tokens;
}

void KvCache::CopyFrom(const KvCache& other) {
  QUALM_CHECK(capacity_ == other.capacity_ && blocks_.size() == other.blocks_.size());
  for (size_t i = 0; i < blocks_.size(); ++i) {
    std::ranges::copy(other.blocks_[i].keys.span(), blocks_[i].keys.data());
    std::ranges::copy(other.blocks_[i].values.span(), blocks_[i].values.data());
    std::ranges::copy(other.blocks_[i].grouped_keys.span(), blocks_[i].grouped_keys.data());
  }
  length_ = other.length_;
}

void KvCache::Store(size_t block, size_t position, std::span<const float> key,
                    std::span<const float> value) {
  if (quantizer_) {
    quantizer_->Store(position, key, value, blocks_[block]);
  } else {
    blocks_[block].Store(position, key, value);
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
