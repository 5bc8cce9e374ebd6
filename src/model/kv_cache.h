// Keys and values of one sequence, float32, [position, kv_heads·head_dim] per block.
#pragma once

#include <vector>

#include "model/config.h"
#include "tensor/matrix.h"

namespace qualm {

class KvCache {
 public:
  // Room for `capacity` positions in each of `blocks` blocks.
  KvCache(const ModelConfig& config, size_t blocks, size_t capacity);

  size_t length() const { return length_; }
  size_t capacity() const { return capacity_; }
  void Truncate(size_t length);  // forgets the positions from `length` on
  size_t size_bytes() const;

  Span2D<float> keys(size_t block) { return keys_[block]; }      // [capacity, kv_features]
  Span2D<float> values(size_t block) { return values_[block]; }  // [capacity, kv_features]

 private:
  friend class Decoder;
  friend class DecoderBlock;
  std::vector<Matrix> keys_, values_;
  size_t length_ = 0, capacity_ = 0;
};

}  // namespace qualm
