#include "methods/columns/hessian.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Inputs 0 to 3 without correlation, Σx² = 4, 0, 18, 1 over 2 tokens: diag(H) = 4, dead, 18, 1.
struct Diagonal {
  Diagonal() : weight(1, 4), gram(4, 4) {
    gram(0, 0) = 4;
    gram(2, 2) = 18;
    gram(3, 3) = 1;
    input.layer = "diagonal";
    input.weight = weight;
    input.gram = gram;
    input.gram_tokens = 2;
  }
  Matrix weight, gram;
  RounderInput input;
};

TEST(FactorHessian, DeadColumnsCountAsOneInTheMean) {
  Diagonal diagonal;
  testing::TestContext context(1);
  const HessianFactor factor =
      FactorHessian(diagonal.input, {.act_order = false, .damp = 0.5}, context);
  EXPECT_THAT(factor.dead, ElementsAre(0, 1, 0, 0));
  EXPECT_EQ(factor.dead_count, 1u);
  EXPECT_THAT(factor.order, IsEmpty());
  EXPECT_EQ(factor.attempts, 1);
  EXPECT_EQ(factor.damping, 0.5);
  // λ = 0.5·(4 + 1 + 18 + 1)/4 = 3, and U_jj = 1/sqrt(H_jj + λ).
  for (size_t j = 0; j < 4; ++j) {
    const double h = std::array<double, 4>{4, 1, 18, 1}[j];
    EXPECT_FLOAT_EQ(factor.upper(j, j), static_cast<float>(1 / std::sqrt(h + 3)));
  }
}

TEST(FactorHessian, HIsTwiceTheMeanOverTokens) {
  Diagonal diagonal;
  testing::TestContext context(1);
  diagonal.input.gram_tokens = 8;  // diag(H) = 1, 1 (dead), 4.5, 0.25
  const HessianFactor factor =
      FactorHessian(diagonal.input, {.act_order = true, .damp = 0}, context);
  EXPECT_THAT(factor.order, ElementsAre(2, 0, 1, 3)) << "ties by index";
  EXPECT_FLOAT_EQ(factor.upper(0, 0), 1 / std::sqrt(4.5f));
  EXPECT_FLOAT_EQ(factor.upper(3, 3), 2);
}

TEST(FactorHessian, FactorsTheInverseInTheOrderOfTheColumns) {
  // H = [[1, 1], [1, 4]], reversed by act-order: [[4, 1], [1, 1]], H⁻¹ = [[1, -1], [-1, 4]]/3.
  Matrix weight(1, 2), gram(2, 2);
  gram(0, 0) = gram(0, 1) = gram(1, 0) = 1;
  gram(1, 1) = 4;
  RounderInput input;
  input.weight = weight;
  input.gram = gram;
  input.gram_tokens = 2;
  testing::TestContext context(1);
  const HessianFactor factor = FactorHessian(input, {.act_order = true, .damp = 0}, context);
  EXPECT_THAT(factor.order, ElementsAre(1, 0));
  const float first = 1 / std::sqrt(3.0f);
  EXPECT_FLOAT_EQ(factor.upper(0, 0), first);
  EXPECT_FLOAT_EQ(factor.upper(0, 1), -first);
  EXPECT_EQ(factor.upper(1, 0), 0);
  EXPECT_FLOAT_EQ(factor.upper(1, 1), 1);
}

TEST(FactorCache, FactorsAgainOnlyForOtherOptions) {
  Diagonal diagonal;
  testing::TestContext context(1);
  FactorCache cache;
  const HessianOptions weak = {.act_order = false, .damp = 0.5};
  const HessianOptions strong = {.act_order = false, .damp = 2};
  const float first = cache.Get(diagonal.input, weak, context).upper(0, 0);
  // Not read again for the same options: the cache belongs to one Gram matrix.
  diagonal.gram(0, 0) = 100;
  EXPECT_EQ(cache.Get(diagonal.input, weak, context).upper(0, 0), first);
  const HessianFactor fresh = FactorHessian(diagonal.input, strong, context);
  const HessianFactor& other = cache.Get(diagonal.input, strong, context);
  EXPECT_EQ(other.damping, 2);
  EXPECT_EQ(other.upper(0, 0), fresh.upper(0, 0));
  EXPECT_NE(other.upper(0, 0), first);
}

}  // namespace
}  // namespace qualm
