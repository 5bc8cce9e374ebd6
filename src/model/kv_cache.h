// Keys and values of one sequence, float32, for every block of the model.
#pragma once

#include <vector>

#include "model/config.h"
#include "tensor/ops.h"

namespace qualm {

class KvCache {
 public:
  // Room for `capacity` positions in each of `blocks` blocks.
  KvCache(const ModelConfig& config, size_t blocks, size_t capacity);

  size_t length() const { return length_; }  // positions stored in all blocks
  size_t capacity() const { return capacity_; }
  void Truncate(size_t length);  // forgets the positions from `length` on
  void Grow(size_t tokens);      // positions that every block has stored now
  size_t size_bytes() const;

  AttentionCache& block(size_t index) { return blocks_[index]; }

 private:
  std::vector<AttentionCache> blocks_;
  size_t length_ = 0, capacity_ = 0;
};

}  // namespace qualm
