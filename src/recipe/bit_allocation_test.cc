#include "recipe/bit_allocation.h"

#include <gmock/gmock.h>

#include <cmath>

#include "artefact/scheme.h"
#include "base/error.h"
#include "base/rng.h"
#include "methods/test_support.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;

// Layers whose errors fall by about four with every bit.
std::vector<std::vector<LayerChoice>> RandomLayers(size_t count, uint64_t seed) {
  Rng rng(seed);
  std::vector<std::vector<LayerChoice>> layers(count);
  for (auto& choices : layers) {
    const uint64_t weights = 100 * (1 + rng.Below(5));
    double error = 0.1 + rng.Uniform();
    for (int bits : {2, 3, 4, 8}) {
      choices.push_back({bits, weights * static_cast<uint64_t>(bits) / 8, error});
      error *= 0.1 + 0.4 * rng.Uniform();
    }
  }
  return layers;
}

// Against all combinations: what the greedy path leaves is less than its largest single step.
TEST(Allocate, IsWithinOneStepOfTheMinimum) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const auto layers = RandomLayers(5, seed);
    uint64_t least = 0, most = 0;
    for (const auto& choices : layers) least += choices[0].bytes, most += choices[3].bytes;
    const uint64_t budget = least + (most - least) * (1 + seed % 9) / 10;
    const std::vector<size_t> got = Allocate(layers, budget);
    uint64_t bytes = 0;
    double error = 0, step = 0, best = INFINITY;
    for (size_t l = 0; l < 5; ++l) {
      bytes += layers[l][got[l]].bytes;
      error += layers[l][got[l]].error;
      if (got[l] + 1 < 4) step = std::max(step, layers[l][got[l]].error);
    }
    EXPECT_LE(bytes, budget);
    for (size_t code = 0; code < 1024; ++code) {
      uint64_t other_bytes = 0;
      double other = 0;
      for (size_t l = 0; l < 5; ++l) {
        const LayerChoice& choice = layers[l][code >> (2 * l) & 3];
        other_bytes += choice.bytes;
        other += choice.error;
      }
      if (other_bytes <= budget) best = std::min(best, other);
    }
    EXPECT_GE(error, best - 1e-12);
    EXPECT_LE(error, best + step + 1e-12) << seed;
  }
}

TEST(Allocate, AllOfABudgetThatFitsEverything) {
  const auto layers = RandomLayers(4, 1);
  EXPECT_THAT(Allocate(layers, 1u << 30), ::testing::Each(3u));
  try {
    (void)Allocate(layers, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("raise target_bits"));
  }
}

TEST(MeasureChoices, CountsBytesAndErrors) {
  const testing::Toy toy(8, 32, 60, 3);
  testing::TestContext context(2);
  const AllocationPlan plan =
      ParseAllocation(Yaml::Parse("{target_bits: 3, choices: [4, 2, 8]}", "t"));
  EXPECT_THAT(plan.choices, ::testing::ElementsAre(2, 4, 8));
  Scheme scheme = testing::Groups(4, 16);
  const std::vector<LayerChoice> choices =
      MeasureChoices(toy.weight, scheme, toy.inputs, plan, context);
  // 256 codes; 16 groups of a float32 scale; their zero points, two per row, in whole bytes.
  EXPECT_EQ(choices[0].bytes, 256u * 2 / 8 + 16 * 4 + 8);
  EXPECT_EQ(choices[2].bytes, 256u + 16 * 4 + 16);
  const Matrix rounded = MakeRounder("rtn", nullptr, "t")
                             ->Round(toy.Input(), testing::Groups(4, 16), context)
                             .layer.Dequantize();
  const Matrix zeros(8, 32);
  EXPECT_NEAR(std::sqrt(choices[1].error), toy.OutputError(rounded) / toy.OutputError(zeros), 1e-5);
  EXPECT_GT(choices[0].error, choices[1].error);
  EXPECT_GT(choices[1].error, choices[2].error);
}

TEST(ParseAllocation, NamesMistakes) {
  const auto message = [](const char* text) -> std::string {
    try {
      (void)ParseAllocation(Yaml::Parse(text, "r.yaml"));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message("{choices: [2]}"), HasSubstr("'target_bits'"));
  EXPECT_THAT(message("{target_bits: 3, choices: [1]}"), HasSubstr("2..8"));
  EXPECT_THAT(message("{target_bits: 3, choices: [3, 3]}"), HasSubstr("3 twice"));
  EXPECT_THAT(message("{target_bits: 99}"), HasSubstr("1..16"));
  EXPECT_THAT(message("{target_bit: 3}"), HasSubstr("did you mean 'target_bits'"));
}

}  // namespace
}  // namespace qualm
