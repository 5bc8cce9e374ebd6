// Rounds keys and values on their way into a cache, as a quantized model's KvCacheScheme asks for.
#pragma once

#include <span>
#include <vector>

#include "artefact/activations.h"
#include "artefact/kv_scheme.h"
#include "tensor/attention.h"
#include "tensor/ops.h"

namespace qualm {

class KvQuantizer {
 public:
  // Requires scheme.Validate().
  KvQuantizer(const KvCacheScheme& scheme, size_t kv_heads, size_t head_dim);

  // Stores rounded key and value of `position` (each [kv_heads·head_dim]) in `cache`, whose
  // key_group_tokens are the scheme's. Keys per channel are stored as they are, and rounded with
  // their group when its last position arrives.
  void Store(size_t position, std::span<const float> key, std::span<const float> value,
             AttentionCache& cache) const;

 private:
  void RoundKeyGroup(size_t first_position, AttentionCache& cache) const;

  KvCacheScheme scheme_;
  ActivationQuantizer keys_, values_;
};

}  // namespace qualm
