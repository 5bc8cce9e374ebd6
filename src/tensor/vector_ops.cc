// The elementwise operations of the forward pass, once as vector code and once in plain C++ for
// portable builds. Lanes are independent elements; the only sums across elements are written as
// scalar chains in a fixed order.
#include "tensor/vector_ops.h"

#include <algorithm>
#include <cmath>

#ifndef QUALM_PORTABLE
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/vector_ops.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// After highway.h:
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace qualm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::CappedTag<float, 16>;

// Scores of a block of 64 keys for one query. Keys are stored by dimension, so lanes are keys.
void ScoreKeyBlock(const float* q, const float* keys, size_t head_dim, float scale, float* scores) {
  const Tag d;
  const size_t lanes = hn::Lanes(d);
  // 32 keys with 8 lanes, 64 with 16: four sums at a time.
  for (size_t first = 0; first < kKeyBlock; first += 4 * lanes) {
    auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    const float* column = keys + first;
    for (size_t i = 0; i < head_dim; ++i, column += kKeyBlock) {
      const auto factor = hn::Set(d, q[i]);
      s0 = hn::MulAdd(factor, hn::LoadU(d, column), s0);
      s1 = hn::MulAdd(factor, hn::LoadU(d, column + lanes), s1);
      s2 = hn::MulAdd(factor, hn::LoadU(d, column + 2 * lanes), s2);
      s3 = hn::MulAdd(factor, hn::LoadU(d, column + 3 * lanes), s3);
    }

    const auto by = hn::Set(d, scale);
    hn::StoreU(hn::Mul(s0, by), d, scores + first);
    hn::StoreU(hn::Mul(s1, by), d, scores + first + lanes);
    hn::StoreU(hn::Mul(s2, by), d, scores + first + 2 * lanes);
    hn::StoreU(hn::Mul(s3, by), d, scores + first + 3 * lanes);
  }
}

// exp for arguments of any size; 0 below the smallest normal result. NaN stays NaN, which both a
// maximum and Highway's Exp would hide.
template <class D, class V>
HWY_INLINE V SafeExp(D d, V x) {
  const auto floor = hn::Set(d, -87.0f);
  const auto result = hn::Exp(d, hn::Max(x, floor));
  const auto kept = hn::IfThenElse(hn::Lt(x, floor), hn::Zero(d), result);
  return hn::IfThenElse(hn::Eq(x, x), kept, x);
}

// exp(values - shift) in place, and their sum.
float ExpShifted(float* values, size_t count, float shift) {
  const Tag d;
  const size_t lanes = hn::Lanes(d);
  const auto by = hn::Set(d, shift);

  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    hn::StoreU(SafeExp(d, hn::Sub(hn::LoadU(d, values + i), by)), d, values + i);
  }
  // The last values go through a padded vector; padding is not copied back.
  if (i < count) {
    HWY_ALIGN float rest[16] = {};
    std::copy(values + i, values + count, rest);
    hn::Store(SafeExp(d, hn::Sub(hn::Load(d, rest), by)), d, rest);
    std::copy(rest, rest + (count - i), values + i);
  }

  // The sum has a fixed order whatever the vector length is: four interleaved chains.
  float sums[4] = {0, 0, 0, 0};
  for (size_t k = 0; k < count; ++k) sums[k % 4] += values[k];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// kVectors vectors of columns; their sums stay in registers over all rows.
template <size_t kVectors>
HWY_INLINE void DecayColumns(const float* weights, size_t rows, const float* values, size_t stride,
                             float decay, float* out) {
  const Tag d;
  const size_t lanes = hn::Lanes(d);
  hn::Vec<Tag> sums[kVectors];
  // The old values decay first and are the start of each chain.
  for (size_t v = 0; v < kVectors; ++v) {
    sums[v] = hn::Mul(hn::LoadU(d, out + v * lanes), hn::Set(d, decay));
  }

  for (size_t j = 0; j < rows; ++j, values += stride) {
    const auto weight = hn::Set(d, weights[j]);
    for (size_t v = 0; v < kVectors; ++v) {
      sums[v] = hn::MulAdd(weight, hn::LoadU(d, values + v * lanes), sums[v]);
    }
  }
  for (size_t v = 0; v < kVectors; ++v) hn::StoreU(sums[v], d, out + v * lanes);
}

// Eight vectors of columns at a time, then single ones, then single columns.
void DecayAndAccumulate(const float* weights, size_t rows, const float* values, size_t stride,
                        float decay, float* out, size_t count) {
  const Tag d;
  const size_t lanes = hn::Lanes(d);

  size_t c = 0;
  for (; c + 8 * lanes <= count; c += 8 * lanes) {
    DecayColumns<8>(weights, rows, values + c, stride, decay, out + c);
  }
  for (; c + lanes <= count; c += lanes) {
    DecayColumns<1>(weights, rows, values + c, stride, decay, out + c);
  }
  // The same chain for the columns that fill no vector.
  for (; c < count; ++c) {
    float sum = out[c] * decay;
    for (size_t j = 0; j < rows; ++j) sum = std::fma(weights[j], values[j * stride + c], sum);
    out[c] = sum;
  }
}

// gate = silu(gate)·up in place.
void SiluMultiply(float* gate, const float* up, size_t count) {
  const Tag d;
  const size_t lanes = hn::Lanes(d);

  const auto one = hn::Set(d, 1.0f);

  // In the definition exp(-x) overflows to infinity for x < -88.7, and silu is then -0. The largest
  // argument allowed here gives a quotient below 1e-35, which no float sum of this size can see.
  const auto largest = hn::Set(d, 87.0f);
  auto silu = [&](auto x) HWY_ATTR {
    return hn::Div(x, hn::Add(one, hn::Exp(d, hn::Min(hn::Neg(x), largest))));
  };

  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    hn::StoreU(hn::Mul(silu(hn::LoadU(d, gate + i)), hn::LoadU(d, up + i)), d, gate + i);
  }
  // The last values go through a padded vector.
  if (i < count) {
    HWY_ALIGN float rest[16] = {};
    std::copy(gate + i, gate + count, rest);
    hn::Store(silu(hn::Load(d, rest)), d, rest);
    for (size_t k = 0; i + k < count; ++k) gate[i + k] = rest[k] * up[i + k];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace qualm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qualm {

HWY_EXPORT(ScoreKeyBlock);
HWY_EXPORT(ExpShifted);
HWY_EXPORT(DecayAndAccumulate);
HWY_EXPORT(SiluMultiply);

void ScoreKeyBlock(const float* q, const float* keys, size_t head_dim, float scale, float* scores) {
  HWY_DYNAMIC_DISPATCH(ScoreKeyBlock)(q, keys, head_dim, scale, scores);
}
float ExpShifted(float* values, size_t count, float shift) {
  return HWY_DYNAMIC_DISPATCH(ExpShifted)(values, count, shift);
}
void DecayAndAccumulate(const float* weights, size_t rows, const float* values, size_t stride,
                        float decay, float* out, size_t count) {
  HWY_DYNAMIC_DISPATCH(DecayAndAccumulate)(weights, rows, values, stride, decay, out, count);
}
void SiluMultiply(float* gate, const float* up, size_t count) {
  HWY_DYNAMIC_DISPATCH(SiluMultiply)(gate, up, count);
}

void AddTo(float* to, const float* from, size_t count) {
  for (size_t i = 0; i < count; ++i) to[i] += from[i];
}

}  // namespace qualm
#endif  // HWY_ONCE

#else  // QUALM_PORTABLE

namespace qualm {

void ScoreKeyBlock(const float* q, const float* keys, size_t head_dim, float scale, float* scores) {
  for (size_t j = 0; j < kKeyBlock; ++j) {
    float sum = 0;
    for (size_t d = 0; d < head_dim; ++d) sum = std::fma(q[d], keys[d * kKeyBlock + j], sum);
    scores[j] = sum * scale;
  }
}

float ExpShifted(float* values, size_t count, float shift) {
  float sums[4] = {0, 0, 0, 0};
  for (size_t i = 0; i < count; ++i) {
    values[i] = std::exp(values[i] - shift);
    sums[i % 4] += values[i];
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

void DecayAndAccumulate(const float* weights, size_t rows, const float* values, size_t stride,
                        float decay, float* out, size_t count) {
  for (size_t c = 0; c < count; ++c) {
    float sum = out[c] * decay;
    for (size_t j = 0; j < rows; ++j) sum = std::fma(weights[j], values[j * stride + c], sum);
    out[c] = sum;
  }
}

void SiluMultiply(float* gate, const float* up, size_t count) {
  for (size_t i = 0; i < count; ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
}

void AddTo(float* to, const float* from, size_t count) {
  for (size_t i = 0; i < count; ++i) to[i] += from[i];
}

}  // namespace qualm

#endif  // QUALM_PORTABLE
