// Matrices of other tools' files, at the inputs and outputs of a layer, against the formula.
#include "kernels/transformed_weight.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "kernels/packed.h"
#include "support/test_context.h"

namespace qualm {
namespace {

constexpr size_t kOut = 6, kIn = 8;

OnlineTransform MatrixTransform(OnlineTransform::Side side, uint32_t size, Rng& rng) {
  OnlineTransform transform;
  transform.kind = OnlineTransform::Kind::kMatrix;
  transform.side = side;
  transform.dims = {size};
  for (uint32_t i = 0; i < size * size; ++i) {
    transform.factors.push_back(static_cast<float>(rng.Normal()));
  }
  return transform;
}

// Blocks of x·M/√n, in double.
std::vector<double> Blocks(const std::vector<double>& x, const OnlineTransform& transform) {
  const size_t n = transform.dims[0];
  std::vector<double> result(x.size());
  for (size_t c = 0; c < x.size(); ++c) {
    for (size_t i = 0; i < n; ++i) {
      result[c] += x[c / n * n + i] * double{transform.factors[i * n + c % n]};
    }
    result[c] /= std::sqrt(static_cast<double>(n));
  }
  return result;
}

TEST(TransformedWeight, MatricesOfFilesAreAppliedToBlocks) {
  Rng rng(7);
  QuantizedLinear layer;
  layer.out_features = kOut;
  layer.in_features = kIn;
  layer.scheme.zero_point = ZeroPointKind::kNone;
  for (size_t i = 0; i < kOut * kIn; ++i) {
    layer.codes.push_back(static_cast<uint8_t>(rng.Below(16)));
  }
  layer.scales.assign(kOut, 0.25f);
  layer.transforms = {MatrixTransform(OnlineTransform::Side::kInput, 4, rng),
                      MatrixTransform(OnlineTransform::Side::kOutput, 3, rng)};
  layer.Validate();

  // y = T(W·S(x)).
  const Matrix weight = layer.Dequantize();
  std::vector<double> x(kIn), expected(kOut);
  for (double& v : x) v = static_cast<float>(rng.Normal());
  const std::vector<double> turned = Blocks(x, layer.transforms[0]);
  for (size_t o = 0; o < kOut; ++o) {
    for (size_t i = 0; i < kIn; ++i) expected[o] += double{weight(o, i)} * turned[i];
  }
  expected = Blocks(expected, layer.transforms[1]);

  // Sums of at most 8 terms of size 10 in float32: 1e-4 is a hundred times their error.
  testing::TestContext context(1);
  Matrix input(1, kIn), output(1, kOut);
  for (size_t i = 0; i < kIn; ++i) input(0, i) = static_cast<float>(x[i]);
  MakePackedWeight(layer, context)->Multiply(input, output, context);
  const Matrix effective = EffectiveWeight(layer, context);
  for (size_t o = 0; o < kOut; ++o) {
    double product = 0;
    for (size_t i = 0; i < kIn; ++i) product += double{effective(o, i)} * x[i];
    EXPECT_NEAR(output(0, o), expected[o], 1e-4);
    EXPECT_NEAR(product, expected[o], 1e-4);
  }
}

}  // namespace
}  // namespace qualm
