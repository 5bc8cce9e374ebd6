// Keys and values of one sequence for every block of the model. They are kept as float32; those of
// a model with a quantized cache have the values that its codes stand for.
#pragma once

#include <optional>
#include <vector>

#include "model/kv_quantizer.h"
#include "tensor/attention.h"
#include "tensor/ops.h"

namespace qualm {

struct BlockPlan;
struct ModelPlan;

class KvCache {
 public:
  // Room for `capacity` positions in every block of the model; rounded as plan.kv_cache says.
  KvCache(const ModelPlan& plan, size_t capacity);
  // The same for some blocks only, which are then numbered from 0.
  KvCache(std::span<const BlockPlan> blocks, const std::optional<KvCacheScheme>& scheme,
          size_t capacity);

  size_t length() const { return length_; }  // positions stored in all blocks
  size_t capacity() const { return capacity_; }
  // Positions that the sequence will have in the end, as far as rotations go by it; the capacity
  // unless SetSequenceLength says otherwise. Requires for the latter: an empty cache, because keys
  // that were stored keep their angles.
  size_t sequence_length() const { return sequence_length_; }
  void SetSequenceLength(size_t length);
  void Truncate(size_t length);         // forgets the positions from `length` on
  void Grow(size_t tokens);             // positions that every block has stored now
  void CopyFrom(const KvCache& other);  // Requires: of the same model and capacity
  size_t size_bytes() const;            // of memory

  // Key and value of `position` in one block, each [kv_heads·head_dim].
  void Store(size_t block, size_t position, std::span<const float> key,
             std::span<const float> value);
  const AttentionCache& block(size_t index) const { return blocks_[index]; }

 private:
  std::vector<AttentionCache> blocks_;
  std::vector<std::optional<KvQuantizer>> quantizers_;  // by block; empty: floats are kept
  size_t length_ = 0, capacity_ = 0, sequence_length_ = 0;
};

}  // namespace qualm
