// Elementwise and short-vector operations of the forward pass, dispatched to the instruction set at
// run time. Lanes never cross a reduction, so all instruction sets with fused multiply-add give the
// same bits (exp and tanh: the same polynomial everywhere but in the portable build).
#pragma once

#include <cstddef>

#include "tensor/activation.h"

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

// values[i] = cap·tanh(values[i]/cap), tanh within 4 ulp; infinities become ±cap, NaN stays NaN.
// cap > 0.
void SoftCapValues(float* values, size_t count, float cap);

// values[i] = activation(values[i]), and times factors[i] (rounded once more) unless `factors` is
// null. silu is within 5 ulp of its definition (below -87, where it nearly vanishes, within
// |x|·2e-38), the two gelus within 1 ulp: they are computed in double, because their exponents
// would amplify roundings of x². NaN stays NaN. The relus of -inf are 0; the others, -inf·0 by
// definition, are NaN or -inf.
void ActivateValues(Activation activation, float* values, const float* factors, size_t count);

// to[i] += from[i]
void AddTo(float* to, const float* from, size_t count);

}  // namespace qualm
