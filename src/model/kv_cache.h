// Keys and values of one sequence for every block of the model. They are kept as float32; those of
// a model with a quantized cache have the values that its codes stand for.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model/kv_quantizer.h"
#include "tensor/attention.h"
#include "tensor/ops.h"

namespace qualm {

struct BlockPlan;
struct ModelPlan;

// Blocks that attend to a window keep only what the window and `rollback` need: the positions that
// Truncate may go back from the furthest one that was stored. The default keeps everything.
class KvCache {
 public:
  static constexpr size_t kKeepAll = SIZE_MAX;

  // Room for `capacity` positions in every block of the model; rounded as plan.kv_cache says.
  KvCache(const ModelPlan& plan, size_t capacity, size_t rollback = kKeepAll);
  // The same for some blocks only, which are then numbered from 0.
  KvCache(std::span<const BlockPlan> blocks, const std::optional<KvCacheScheme>& scheme,
          size_t capacity, size_t rollback = kKeepAll);
  // Bytes that such a cache takes.
  static uint64_t BytesOf(const ModelPlan& plan, size_t capacity, size_t rollback = kKeepAll);

  size_t length() const { return length_; }  // positions stored in all blocks
  size_t capacity() const { return capacity_; }
  // Positions that the sequence will have in the end, as far as rotations go by it; the capacity
  // unless SetSequenceLength says otherwise. Requires for the latter: an empty cache, because keys
  // that were stored keep their angles. It may be longer than the capacity.
  size_t sequence_length() const { return sequence_length_; }
  void SetSequenceLength(size_t length);
  // Whether what a window before `length` sees is still there. Always with a length of 0.
  bool CanTruncate(size_t length) const;
  void Truncate(size_t length);         // forgets the positions from `length` on; needs the above
  void Grow(size_t tokens);             // positions that every block has stored now
  void CopyFrom(const KvCache& other);  // Requires: of the same model and capacity
  size_t size_bytes() const;            // of memory

  // How many new positions of a block may be stored before their queries have read theirs.
  size_t PositionsAtOnce(size_t block) const;
  // Key and value of `position` in one block, each [kv_heads·head_dim].
  void Store(size_t block, size_t position, std::span<const float> key,
             std::span<const float> value);
  const AttentionCache& block(size_t index) const { return blocks_[index]; }

 private:
  std::vector<AttentionCache> blocks_;
  std::vector<size_t> windows_;                         // by block; 0 where it keeps all positions
  std::vector<std::optional<KvQuantizer>> quantizers_;  // by block; empty: floats are kept
  size_t length_ = 0, capacity_ = 0, sequence_length_ = 0;
  size_t furthest_ = 0;  // length that the cache has had since it was last empty
};

}  // namespace qualm
