// The caches of all blocks of a model for one sequence. With a scheme, keys and values are rounded
// as they are stored, so that attention reads what a quantized cache would hold.
#include "model/kv_cache.h"

#include <algorithm>

#include "base/error.h"
#include "model/model_plan.h"
#include "tensor/vector_ops.h"

namespace qualm {

namespace {

// Positions of a prompt that a block with a window stores before it attends to them: enough for the
// threads to share, few enough to be little next to a window.
constexpr size_t kPiece = 256;

// Places of a block's cache. With fewer than positions they make a ring, in which a piece of new
// positions must not replace what the piece's first query sees, nor what Truncate may go back to.
size_t PlacesOf(const AttentionPlan& attention, size_t capacity, size_t rollback,
                size_t group_tokens) {
  if (attention.window == 0 || rollback >= capacity) return capacity;
  const size_t needed =
      std::max(attention.window, group_tokens) + std::max(rollback, kPiece) + kKeyBlock;
  return std::min(needed, capacity);
}

}  // namespace

KvCache::KvCache(const ModelPlan& plan, size_t capacity, size_t rollback)
    : KvCache(plan.blocks, plan.kv_cache, capacity, rollback) {}

KvCache::KvCache(std::span<const BlockPlan> blocks, const std::optional<KvCacheScheme>& scheme,
                 size_t capacity, size_t rollback)
    : capacity_(capacity), sequence_length_(capacity) {
  const size_t group_tokens = scheme ? static_cast<size_t>(scheme->key_group_tokens) : 0;
  blocks_.reserve(blocks.size());
  for (const BlockPlan& block : blocks) {
    quantizers_.emplace_back();
    const AttentionPlan* attention = AttentionOf(block);
    if (attention == nullptr) {
      // A block without attention keeps its number and stores nothing.
      blocks_.emplace_back(0, 0, capacity, group_tokens);
      windows_.push_back(0);
      continue;
    }

    const size_t places = PlacesOf(*attention, capacity, rollback, group_tokens);
    blocks_.emplace_back(attention->kv_heads, attention->head_dim, places, group_tokens);
    windows_.push_back(blocks_.back().capacity < capacity ? attention->window : 0);
    if (scheme) {
      quantizers_.back().emplace(*scheme, attention->kv_heads, attention->head_dim);
    }
  }
}

// Without making one: caches are as large as models.
uint64_t KvCache::BytesOf(const ModelPlan& plan, size_t capacity, size_t rollback) {
  const size_t group_tokens =
      plan.kv_cache ? static_cast<size_t>(plan.kv_cache->key_group_tokens) : 0;
  uint64_t floats = 0;
  for (const BlockPlan& block : plan.blocks) {
    const AttentionPlan* attention = AttentionOf(block);
    if (attention == nullptr) continue;
    const uint64_t places = PlacesOf(*attention, capacity, rollback, group_tokens);
    floats += places * attention->kv_heads * attention->head_dim * (group_tokens > 0 ? 3 : 2);
  }
  return floats * sizeof(float);
}

size_t KvCache::PositionsAtOnce(size_t block) const {
  return windows_[block] > 0 ? kPiece : capacity_;
}

void KvCache::SetSequenceLength(size_t length) {
  QUALM_CHECK(length_ == 0);
  sequence_length_ = length;
}

// Forgets positions without touching them: the next tokens overwrite them.
void KvCache::Truncate(size_t length) {
  QUALM_CHECK(length <= length_ && CanTruncate(length));
  length_ = length;
  if (length == 0) furthest_ = 0;
}

// The first position that the query at `length` sees must not have been replaced in any ring.
bool KvCache::CanTruncate(size_t length) const {
  if (length == 0) return true;
  for (size_t b = 0; b < blocks_.size(); ++b) {
    if (windows_[b] == 0) continue;
    const size_t first = length + 1 > windows_[b] ? length + 1 - windows_[b] : 0;
    if (furthest_ > first + blocks_[b].capacity) return false;
  }
  return true;
}

void KvCache::Grow(size_t tokens) {
  QUALM_CHECK(length_ + tokens <= capacity_);
  length_ += tokens;
  furthest_ = std::max(furthest_, length_);
}

void KvCache::CopyFrom(const KvCache& other) {
  // Whole buffers are copied: keys are stored in blocks of positions, so a prefix is not
  // contiguous.
  QUALM_CHECK(capacity_ == other.capacity_ && blocks_.size() == other.blocks_.size());
  QUALM_CHECK(windows_ == other.windows_);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    std::ranges::copy(other.blocks_[i].keys.span(), blocks_[i].keys.data());
    std::ranges::copy(other.blocks_[i].values.span(), blocks_[i].values.data());
    std::ranges::copy(other.blocks_[i].grouped_keys.span(), blocks_[i].grouped_keys.data());
  }
  length_ = other.length_;
  furthest_ = other.furthest_;
  sequence_length_ = other.sequence_length_;
}

void KvCache::Store(size_t block, size_t position, std::span<const float> key,
                    std::span<const float> value) {
  QUALM_CHECK(position < capacity_);
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
