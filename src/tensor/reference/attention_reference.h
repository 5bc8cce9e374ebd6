// A slow, obvious twin of attention: what the tiles and the online softmax are tested against.
#pragma once

#include "tensor/attention.h"

namespace qualm::reference {

// What Attention promises for one job, in double and one query, head and key after the other.
// Query row i has position first_position + i.
//
// queries [tokens, heads·head_dim]; keys and values [positions, kv_heads·head_dim].
Matrix Attention(Span2D<const float> queries, Span2D<const float> keys, Span2D<const float> values,
                 const AttentionParameters& parameters, size_t kv_heads, size_t first_position);

}  // namespace qualm::reference
