// The definitions written as plain loops: the kernels' tests compare with them. Nothing here is
// fast, and nothing depends on the instruction set or on threads.
#include "tensor/reference/linear_reference.h"

#include <algorithm>
#include <cmath>

#include "tensor/gram.h"
#include "tensor/linear.h"

namespace qualm::reference {

// The order of sums that linear.h defines, so kernels must agree in every bit.
void Multiply(Span2D<const float> x, Span2D<const float> w, Span2D<float> y) {
  for (size_t m = 0; m < x.rows(); ++m) {
    for (size_t n = 0; n < w.rows(); ++n) {
      float total = 0;
      // Each reduction block is a chain from zero; block sums are added in order.
      for (size_t first = 0; first < x.cols(); first += kReductionBlock) {
        float sum = 0;
        for (size_t k = first; k < std::min(first + kReductionBlock, x.cols()); ++k) {
          sum = std::fma(w(n, k), x(m, k), sum);
        }
        total = first == 0 ? sum : total + sum;
      }
      y(m, n) = total;
    }
  }
}

// The exact product, for bounds on what float sums may lose.
void MultiplyInDouble(Span2D<const float> x, Span2D<const float> w, Span2D<double> y) {
  for (size_t m = 0; m < x.rows(); ++m) {
    for (size_t n = 0; n < w.rows(); ++n) {
      double sum = 0;
      for (size_t k = 0; k < x.cols(); ++k) sum += double{x(m, k)} * double{w(n, k)};
      y(m, n) = sum;
    }
  }
}

// What such a bound is relative to.
void MagnitudeOfTerms(Span2D<const float> x, Span2D<const float> w, Span2D<double> y) {
  for (size_t m = 0; m < x.rows(); ++m) {
    for (size_t n = 0; n < w.rows(); ++n) {
      double sum = 0;
      for (size_t k = 0; k < x.cols(); ++k) sum += std::abs(double{x(m, k)} * double{w(n, k)});
      y(m, n) = sum;
    }
  }
}

void AccumulateGram(Span2D<const float> x, Span2D<float> gram) {
  for (size_t first = 0; first < x.rows(); first += kGramBlock) {
    const size_t end = std::min(first + kGramBlock, x.rows());
    for (size_t i = 0; i < x.cols(); ++i) {
      for (size_t j = 0; j < x.cols(); ++j) {
        float sum = 0;
        for (size_t t = first; t < end; ++t) sum = std::fma(x(t, i), x(t, j), sum);
        gram(i, j) += sum;
      }
    }
  }
}

void AccumulateGramInDouble(Span2D<const float> x, Span2D<double> gram) {
  for (size_t i = 0; i < x.cols(); ++i) {
    for (size_t j = 0; j < x.cols(); ++j) {
      double sum = 0;
      for (size_t t = 0; t < x.rows(); ++t) sum += double{x(t, i)} * double{x(t, j)};
      gram(i, j) += sum;
    }
  }
}

// Relative error of a float sum: half a unit in the last place for each rounding on the way.
double FloatSumBound(size_t in, size_t block) {
  const size_t roundings = std::min(in, block) + (in + block - 1) / block;
  return 1.01 * 0x1.0p-24 * static_cast<double>(roundings);
}

}  // namespace qualm::reference
