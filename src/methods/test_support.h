// What the tests of rounders share: layers with correlated inputs, and slow linear algebra in
// double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "artefact/scheme.h"
#include "base/rng.h"
#include "methods/rounders.h"
#include "support/test_context.h"
#include "tensor/gram.h"
#include "tensor/matrix.h"

namespace qualm::testing {

// Correlated inputs: x = A·(a few factors) + noise, some columns larger.
struct Toy {
  Toy(size_t out, size_t in, size_t tokens, uint64_t seed)
      : weight(out, in), inputs(tokens, in), gram(in, in) {
    Rng rng(seed);
    const size_t factors = std::max<size_t>(1, in / 4);

    // Each factor moves all inputs, so that they correlate.
    Matrix mix(factors, in);
    for (size_t f = 0; f < factors; ++f) {
      for (float& m : mix.row(f)) m = static_cast<float>(rng.Normal());
    }

    // Every token mixes the factors and adds noise; every fifth column is four times larger.
    for (size_t t = 0; t < tokens; ++t) {
      for (size_t f = 0; f < factors; ++f) {
        const auto strength = static_cast<float>(rng.Normal());
        for (size_t c = 0; c < in; ++c) inputs(t, c) += strength * mix(f, c);
      }
      for (size_t c = 0; c < in; ++c) {
        inputs(t, c) += 0.1f * static_cast<float>(rng.Normal());
        if (c % 5 == 2) inputs(t, c) *= 4;
      }
    }

    for (size_t r = 0; r < out; ++r) {
      for (float& w : weight.row(r)) w = static_cast<float>(rng.Normal());
    }
    UpdateGram();
  }

  void UpdateGram() {
    TestContext context(1);
    gram = Matrix(inputs.cols(), inputs.cols());
    AccumulateGram(inputs, gram, context);
  }

  RounderInput Input() const {
    RounderInput input;
    input.layer = "toy";
    input.weight = weight;
    input.gram = gram;
    input.gram_tokens = inputs.rows();
    return input;
  }

  // ‖X(W − Ŵ)ᵀ‖_F in double.
  double OutputError(const Matrix& rounded) const {
    double sum = 0;
    for (size_t t = 0; t < inputs.rows(); ++t) {
      for (size_t r = 0; r < weight.rows(); ++r) {
        double y = 0;
        for (size_t c = 0; c < weight.cols(); ++c) {
          y += double{inputs(t, c)} * (double{weight(r, c)} - double{rounded(r, c)});
        }
        sum += y * y;
      }
    }
    return std::sqrt(sum);
  }

  Matrix weight, inputs, gram;
};

// Asymmetric groups of `size` inputs (0: per channel), float32 scales.
inline Scheme Groups(int bits, int size) {
  Scheme scheme;
  scheme.bits = bits;
  scheme.granularity = size > 0 ? Granularity::kGroup : Granularity::kChannel;
  scheme.group_size = size;
  scheme.scale_type = DType::kF32;
  return scheme;
}

// Matrices as rows of doubles.
using Doubles = std::vector<std::vector<double>>;

// The inverse, by Gauss-Jordan elimination with row pivots.
inline Doubles Invert(Doubles h) {
  const size_t n = h.size();
  Doubles inverse(n, std::vector<double>(n, 0));
  for (size_t i = 0; i < n; ++i) inverse[i][i] = 1;

  for (size_t k = 0; k < n; ++k) {
    // The largest element of the column becomes the pivot.
    size_t best = k;
    for (size_t i = k; i < n; ++i) best = std::abs(h[i][k]) > std::abs(h[best][k]) ? i : best;
    std::swap(h[k], h[best]);
    std::swap(inverse[k], inverse[best]);

    // The column vanishes from all other rows, and the pivot's row is divided.
    for (size_t i = 0; i < n; ++i) {
      const double factor = i == k ? 0 : h[i][k] / h[k][k];
      for (size_t j = 0; j < n; ++j) {
        h[i][j] -= factor * h[k][j];
        inverse[i][j] -= factor * inverse[k][j];
      }
    }
    const double pivot = h[k][k];
    for (size_t j = 0; j < n; ++j) {
      h[k][j] /= pivot;
      inverse[k][j] /= pivot;
    }
  }
  return inverse;
}

}  // namespace qualm::testing
