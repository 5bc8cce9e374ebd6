#include "model/kv_cache.h"

namespace qualm {

KvCache::KvCache(const ModelConfig& config, size_t blocks, size_t capacity) : capacity_(capacity) {
  blocks_.reserve(blocks);
  for (size_t i = 0; i < blocks; ++i) {
    blocks_.emplace_back(config.kv_heads, config.head_dim, capacity);
  }
}

void KvCache::Truncate(size_t length) {
  QUALM_CHECK(length <= length_);
  length_ = length;
}

void KvCache::Grow(size_t tokens) {
  QUALM_CHECK(length_ + tokens <= capacity_);
  length_ += tokens;
}

size_t KvCache::size_bytes() const {
  size_t total = 0;
  for (const AttentionCache& block : blocks_) {
    total += (block.keys.size() + block.values.size()) * sizeof(float);
  }
  return total;
}

}  // namespace qualm
