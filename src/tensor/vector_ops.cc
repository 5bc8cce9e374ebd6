// Each operation is written once with Highway, for vectors of any width up to 16 floats, and
// compiled for every instruction set; the portable build has plain loops with the same order of
// sums. exp and tanh come from Highway's contrib/math.
#include "tensor/vector_ops.h"

#include <algorithm>
#include <cmath>
#include <numbers>

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

// values[i] = function(values[i])·factors[i], a vector at a time; without `factors` (null) there is
// no product. The last values go through a buffer and the same vector instructions, so that a
// result does not depend on the value's place.
template <class Function>
HWY_INLINE void MapVectors(float* values, const float* factors, size_t count,
                           const Function& function) {
  const Tag d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    auto result = function(d, hn::LoadU(d, values + i));
    if (factors != nullptr) result = hn::Mul(result, hn::LoadU(d, factors + i));
    hn::StoreU(result, d, values + i);
  }

  // Fewer values than a vector: the buffer's other lanes are computed and dropped.
  if (i < count) {
    HWY_ALIGN float rest[16] = {};
    std::copy(values + i, values + count, rest);
    hn::Store(function(d, hn::Load(d, rest)), d, rest);
    for (size_t k = 0; i + k < count; ++k) {
      values[i + k] = factors == nullptr ? rest[k] : rest[k] * factors[i + k];
    }
  }
}

// exp for arguments <= 0 or of any size; below the smallest normal result it is 0. NaN stays
// NaN, which both a maximum and Highway's Exp would hide.
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

void SoftCapValues(float* values, size_t count, float cap) {
  MapVectors(values, nullptr, count, [cap](auto d, auto x) HWY_ATTR {
    const auto by = hn::Set(d, cap);
    return hn::Mul(hn::Tanh(d, hn::Div(x, by)), by);
  });
}

template <class D, class V>
HWY_INLINE V Silu(D d, V x) {
  // exp(-x) overflows to infinity for x < -88.7 in the definition and silu is then -0; the largest
  // argument allowed here gives a quotient below |x|·2e-38, which no sum of usual floats can see.
  const auto largest = hn::Set(d, 87.0f);
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), hn::Exp(d, hn::Min(hn::Neg(x), largest))));
}

// x/(1 + exp(-2u)), which equals x/2·(1 + tanh(u)) and does not cancel where tanh(u) is close to
// -1.
template <class D, class V>
HWY_INLINE V GeluTanh(D d, V x) {
  const auto cubic = hn::Set(d, -2 * kRootOfTwoOverPi * kGeluTanhCubic);
  const auto linear = hn::Set(d, -2 * kRootOfTwoOverPi);
  const auto exponent = hn::Mul(x, hn::MulAdd(hn::Mul(x, x), cubic, linear));
  // The quotient by exp(700) is 0 as a float, and exp(700) does not yet overflow.
  const auto largest = hn::Set(d, 700.0);
  return hn::Div(x, hn::Add(hn::Set(d, 1.0), hn::Exp(d, hn::Min(exponent, largest))));
}

// x·Φ(x), where the upper tail 1 - Φ(|x|) is exp(-x²/2)·t·P(t) with t = 1/(1 + |x|/5). P was fitted
// for this project: it interpolates the tail at the 12 Chebyshev nodes of t for |x| in [0, 15] and
// is within 1e-10 of it, relatively. Beyond 15 the result is below the smallest float.
template <class D, class V>
HWY_INLINE V GeluErf(D d, V x) {
  constexpr double kHighestFirst[] = {0.02269982087715, -0.1338320345471, 0.3003102062443,
                                      -0.3551106528145, 0.3336780507169,  -0.1403490089134,
                                      0.1224866918043,  0.04006649211228, 0.07437848936599,
                                      0.07605500459134, 0.07982989057979, 0.07978705001599};
  const auto one = hn::Set(d, 1.0);
  const auto t = hn::Div(one, hn::MulAdd(hn::Abs(x), hn::Set(d, 0.2), one));
  auto sum = hn::Zero(d);
  for (double coefficient : kHighestFirst) sum = hn::MulAdd(sum, t, hn::Set(d, coefficient));
  const auto density = hn::Exp(d, hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5)));
  const auto tail = hn::Mul(density, hn::Mul(t, sum));
  return hn::Mul(x, hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(one, tail)));
}

// max(x, 0) for which NaN is not hidden.
template <class D, class V>
HWY_INLINE V Relu(D d, V x) {
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Zero(d), x);
}

// function(x) computed in double and rounded to float.
template <class D, class V, class Function>
HWY_INLINE V InDouble(D d, V x, const Function& function) {
  const hn::Half<D> half;
  const hn::Rebind<double, decltype(half)> wide;
  const auto low = function(wide, hn::PromoteTo(wide, hn::LowerHalf(half, x)));
  const auto high = function(wide, hn::PromoteTo(wide, hn::UpperHalf(half, x)));
  return hn::Combine(d, hn::DemoteTo(half, high), hn::DemoteTo(half, low));
}

// The two GELUs are computed in double (vector_ops.h says why), the others in float.
void ActivateValues(Activation activation, float* values, const float* factors, size_t count) {
  switch (activation) {
    case Activation::kSilu:
      return MapVectors(values, factors, count, [](auto d, auto x) HWY_ATTR { return Silu(d, x); });
    case Activation::kGeluTanh:
      return MapVectors(values, factors, count, [](auto d, auto x) HWY_ATTR {
        return InDouble(d, x, [](auto wide, auto y) HWY_ATTR { return GeluTanh(wide, y); });
      });
    case Activation::kGeluErf:
      return MapVectors(values, factors, count, [](auto d, auto x) HWY_ATTR {
        return InDouble(d, x, [](auto wide, auto y) HWY_ATTR { return GeluErf(wide, y); });
      });
    case Activation::kRelu:
      return MapVectors(values, factors, count, [](auto d, auto x) HWY_ATTR { return Relu(d, x); });
    case Activation::kRelu2:
      return MapVectors(values, factors, count, [](auto d, auto x) HWY_ATTR {
        const auto positive = Relu(d, x);
        return hn::Mul(positive, positive);
      });
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
HWY_EXPORT(SoftCapValues);
HWY_EXPORT(ActivateValues);

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
void SoftCapValues(float* values, size_t count, float cap) {
  HWY_DYNAMIC_DISPATCH(SoftCapValues)(values, count, cap);
}
void ActivateValues(Activation activation, float* values, const float* factors, size_t count) {
  HWY_DYNAMIC_DISPATCH(ActivateValues)(activation, values, factors, count);
}

void AddTo(float* to, const float* from, size_t count) {
  for (size_t i = 0; i < count; ++i) to[i] += from[i];
}

}  // namespace qualm
#endif  // HWY_ONCE

#else  // QUALM_PORTABLE

namespace qualm {
namespace {

// The same formulas one value at a time, GELU in double as well.
float ActivationOf(Activation activation, float x) {
  const double wide = x, cubed = wide * wide * wide;
  switch (activation) {
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGeluTanh:
      return static_cast<float>(
          wide / (1 + std::exp(-2 * kRootOfTwoOverPi * (wide + kGeluTanhCubic * cubed))));
    case Activation::kGeluErf:
      return static_cast<float>(wide * 0.5 * std::erfc(-wide / std::numbers::sqrt2));
    case Activation::kRelu:
      return x < 0 ? 0 : x;
    case Activation::kRelu2:
      return x < 0 ? 0 : x * x;
  }
  return x;
}

}  // namespace

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

void SoftCapValues(float* values, size_t count, float cap) {
  for (size_t i = 0; i < count; ++i) values[i] = cap * std::tanh(values[i] / cap);
}

void ActivateValues(Activation activation, float* values, const float* factors, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const float value = ActivationOf(activation, values[i]);
    values[i] = factors == nullptr ? value : value * factors[i];
  }
}

void AddTo(float* to, const float* from, size_t count) {
  for (size_t i = 0; i < count; ++i) to[i] += from[i];
}

}  // namespace qualm

#endif  // QUALM_PORTABLE
