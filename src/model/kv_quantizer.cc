// Rounds keys and values as they enter the cache, with the quantizer of activations: per token, per
// head or, for keys, per channel over a group of tokens that is rounded once the group is complete.
#include "model/kv_quantizer.h"

#include <algorithm>

#include "tensor/vector_ops.h"

namespace qualm {
namespace {

// The grid of one part of the cache: each position is one row, in one group or in one per head.
ActivationGrid GridOf(const KvPart& part, size_t head_dim) {
  ActivationGrid grid{part.scheme, {}};
  grid.scheme.dynamic = true;
  if (part.granularity == KvGranularity::kHead) {
    grid.scheme.granularity = Granularity::kGroup;
    grid.scheme.group_size = static_cast<int>(head_dim);
  } else {
    grid.scheme.granularity = Granularity::kToken;
    grid.scheme.group_size = 0;
  }
  return grid;
}

}  // namespace

KvQuantizer::KvQuantizer(const KvCacheScheme& scheme, size_t kv_heads, size_t head_dim)
    : scheme_(scheme),
      keys_(GridOf(scheme.keys, head_dim)),
      values_(GridOf(scheme.values, head_dim)) {
  QUALM_CHECK(kv_heads > 0 && head_dim > 0);
}

// Keys that are rounded per channel are stored as they are until their group is complete: a
// channel's scale needs all tokens of the group.
void KvQuantizer::Store(size_t position, std::span<const float> key, std::span<const float> value,
                        AttentionCache& cache) const {
  std::vector<float> rounded_key(key.begin(), key.end()), rounded_value(value.size());
  values_.Round(value, rounded_value);
  if (scheme_.keys.granularity != KvGranularity::kChannel) keys_.Round(key, rounded_key);
  cache.Store(position, rounded_key, rounded_value);

  if (scheme_.keys.granularity != KvGranularity::kChannel) return;
  const auto group = static_cast<size_t>(scheme_.key_group_tokens);
  QUALM_CHECK(cache.key_group_tokens == group);
  if ((position + 1) % group == 0) RoundKeyGroup(position + 1 - group, cache);
}

// Rounds each channel over the group's tokens and stores the result in the buffer of complete
// groups. Attention reads that buffer for complete groups and the plain keys for the last, open
// one.
void KvQuantizer::RoundKeyGroup(size_t first_position, AttentionCache& cache) const {
  const auto count = static_cast<size_t>(scheme_.key_group_tokens);

  std::vector<float> channel(count);
  for (size_t head = 0; head < cache.kv_heads; ++head) {
    for (size_t d = 0; d < cache.head_dim; ++d) {
      // One channel of one head, gathered over the group's tokens.
      for (size_t i = 0; i < count; ++i) {
        const size_t p = first_position + i;
        channel[i] = cache.KeyBlock(head, p / kKeyBlock)[d * kKeyBlock + p % kKeyBlock];
      }

      // The rounded values keep their positions.
      keys_.Round(channel, channel);
      for (size_t i = 0; i < count; ++i) {
        const size_t p = first_position + i;
        cache.GroupedKeyBlock(head, p / kKeyBlock)[d * kKeyBlock + p % kKeyBlock] = channel[i];
      }
    }
  }
}

}  // namespace qualm
