// Elementwise and short-vector operations of the forward pass, dispatched to the instruction set at
// run time. Lanes never cross a reduction, so all instruction sets with fused multiply-add give the
// same bits (exp uses the same polynomial everywhere except in the portable build).
#pragma once

#include <cstddef>

namespace qualm {

// Positions per block of keys; a cache block is stored [head_dim][kKeyBlock].
inline constexpr size_t kKeyBlock = 64;

// scores[j] = scale · Σ_d q[d]·keys[d·kKeyBlock + j] for j < kKeyBlock; the sum is a fused chain
// from 0 over rising d, the product with scale is rounded once. q [head_dim], scores [kKeyBlock].
void ScoreKeyBlock(const float* q, const float* keys, size_t head_dim, float scale, float* scores);

// values[i] = exp(values[i] - shift), within 2 ulp; exp(-inf) = 0. Returns the sum, added in rising
// i in four interleaved chains ((s0+s1)+(s2+s3)).
float ExpShifted(float* values, size_t count, float shift);

// out[c] = out[c]·decay + Σ_j weights[j]·values[j·stride + c] for c < count: one rounded product,
// then a fused chain over rising j < rows.
void DecayAndAccumulate(const float* weights, size_t rows, const float* values, size_t stride,
                        float decay, float* out, size_t count);

// gate[i] = silu(gate[i])·up[i], silu(x) = x / (1 + exp(-x)).
void SiluMultiply(float* gate, const float* up, size_t count);

// to[i] += from[i]
void AddTo(float* to, const float* from, size_t count);

}  // namespace qualm
