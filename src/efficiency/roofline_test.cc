#include "efficiency/roofline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "model/standard_plan.h"
#include "support/demo_run.h"
#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

// One block: hidden 8, two heads of 4 that share one of keys and values, inner width 16, 10 tokens
// in the vocabulary; everything float32.
ModelStorage Tiny(size_t blocks = 1) {
  ModelStorage storage;
  storage.plan = ParseModelPlan(Json{{"model_type", "llama"},
                                     {"hidden_size", 8},
                                     {"intermediate_size", 16},
                                     {"num_hidden_layers", blocks},
                                     {"num_attention_heads", 2},
                                     {"num_key_value_heads", 1},
                                     {"vocab_size", 10}},
                                "test");
  storage.layers = {{.name = "b.0.q_proj", .out = 8, .in = 8, .weight_bytes = 4 * 8 * 8},
                    {.name = "b.0.k_proj", .out = 4, .in = 8, .weight_bytes = 4 * 4 * 8},
                    {.name = "b.0.down_proj", .out = 8, .in = 16, .weight_bytes = 4 * 8 * 16}};
  storage.embedding_row_bytes = 4 * 8;
  storage.head_bytes = 4 * 10 * 8;
  storage.norm_bytes = 4 * 3 * 8;
  storage.kv_bytes_per_position.assign(blocks, 4 * 2 * 4);
  return storage;
}

// A byte and an operation take a nanosecond each.
Hardware Slow() {
  Hardware hardware;
  hardware.bytes_per_second = 1e9;
  hardware.memory_bytes = 1e9;
  hardware.ops.fp32 = 1e9;
  return hardware;
}

Roofline Predict(const ModelStorage& storage, Phase phase, const Work& work,
                 const Hardware& hardware = Slow()) {
  return PredictTime(storage, hardware, phase, work, 4);
}

const OperationCost& Of(const Roofline& roofline, const std::string& kind) {
  const auto found = std::ranges::find(roofline.operations, kind, &OperationCost::kind);
  if (found == roofline.operations.end()) throw std::runtime_error("no " + kind);
  return *found;
}

void Expect(const Roofline& roofline, const std::string& kind, double ops, double weight_bytes,
            double activation_bytes, double kv_bytes) {
  const OperationCost& cost = Of(roofline, kind);
  EXPECT_EQ(cost.ops, ops) << kind;
  EXPECT_EQ(cost.weight_bytes, weight_bytes) << kind;
  EXPECT_EQ(cost.activation_bytes, activation_bytes) << kind;
  EXPECT_EQ(cost.kv_bytes, kv_bytes) << kind;
}

// Two prompts of 3 tokens: 6 rows; a prompt's queries see 1 + 2 + 3 = 6 positions.
TEST(Roofline, PrefillByHand) {
  const Roofline prefill = Predict(Tiny(), Phase::kPrefill, {2, 3, 0});
  Expect(prefill, "embedding", 0, 6 * 32, 6 * 8 * 4, 0);
  // Three norms of 8 numbers in each row, four operations each.
  Expect(prefill, "norms", 4 * 6 * 3 * 8, 4 * 3 * 8, 2 * 4 * 6 * 3 * 8, 0);
  Expect(prefill, "q_proj", 2 * 6 * 8 * 8, 256, 6 * (8 + 8) * 4, 0);
  Expect(prefill, "k_proj", 2 * 6 * 4 * 8, 128, 6 * (4 + 8) * 4, 0);
  Expect(prefill, "down_proj", 2 * 6 * 8 * 16, 512, 6 * (8 + 16) * 4, 0);
  Expect(prefill, "rotary embedding", 3 * 6 * (8 + 4), 0, 2 * 4 * 6 * (8 + 4), 0);
  Expect(prefill, "cache writes", 0, 0, 0, 6 * 32);
  // Two sequences, 6 pairs, two heads of 4; the keys of 3 positions, 16 bytes each.
  Expect(prefill, "attention scores", 2 * 2 * 6 * 8, 0, 6 * 8 * 4, 2 * 3 * 16);
  Expect(prefill, "softmax", 4 * 2 * 6 * 2, 0, 0, 0);
  Expect(prefill, "attention values", 2 * 2 * 6 * 8, 0, 6 * 8 * 4, 2 * 3 * 16);
  Expect(prefill, "gated activation", 5 * 6 * 16, 0, 3 * 4 * 6 * 16, 0);
  Expect(prefill, "residual sums", 2 * 6 * 8, 0, 3 * 4 * 2 * 6 * 8, 0);
  // The last position of each prompt.
  Expect(prefill, "lm_head", 2 * 2 * 10 * 8, 320, 2 * (8 + 10) * 4, 0);
}

// One token of each of two sequences behind 3: 4 positions are seen.
TEST(Roofline, DecodeByHand) {
  const Roofline decode = Predict(Tiny(), Phase::kDecode, {2, 0, 3});
  Expect(decode, "embedding", 0, 2 * 32, 2 * 8 * 4, 0);
  Expect(decode, "q_proj", 2 * 2 * 8 * 8, 256, 2 * (8 + 8) * 4, 0);
  Expect(decode, "cache writes", 0, 0, 0, 2 * 32);
  Expect(decode, "attention scores", 2 * 2 * 4 * 8, 0, 2 * 8 * 4, 2 * 4 * 16);
  Expect(decode, "softmax", 4 * 2 * 4 * 2, 0, 0, 0);
  Expect(decode, "attention values", 2 * 2 * 4 * 8, 0, 2 * 8 * 4, 2 * 4 * 16);
  Expect(decode, "lm_head", 2 * 2 * 10 * 8, 320, 2 * (8 + 10) * 4, 0);
}

// q_proj: 768 operations against 256 + 384 bytes in prefill, 256 against 256 + 128 in decode.
TEST(Roofline, ATimeIsTheLargerOfTheTwoBounds) {
  const Roofline prefill = Predict(Tiny(), Phase::kPrefill, {2, 3, 0});
  EXPECT_FALSE(Of(prefill, "q_proj").is_memory_bound());
  EXPECT_DOUBLE_EQ(Of(prefill, "q_proj").seconds, 768e-9);
  EXPECT_DOUBLE_EQ(Of(prefill, "q_proj").intensity(), 768.0 / 640);
  const Roofline decode = Predict(Tiny(), Phase::kDecode, {2, 0, 3});
  EXPECT_TRUE(Of(decode, "q_proj").is_memory_bound());
  EXPECT_DOUBLE_EQ(Of(decode, "q_proj").seconds, 384e-9);
  double sum = 0;
  for (const OperationCost& one : decode.operations) sum += one.seconds;
  EXPECT_DOUBLE_EQ(decode.seconds, sum);
  EXPECT_DOUBLE_EQ(decode.tokens_per_second, 2 / sum);
  EXPECT_DOUBLE_EQ(prefill.tokens_per_second, 6 / prefill.seconds);
}

// A second q_proj without weights of its own is bound by arithmetic where the first is bound by
// memory: 384 and 256 nanoseconds, not the larger of the sums.
TEST(Roofline, LayersOfAKindAreBoundOneByOne) {
  ModelStorage storage = Tiny();
  storage.layers.push_back({.name = "b.1.q_proj", .out = 8, .in = 8, .weight_bytes = 0});
  const OperationCost cost = Of(Predict(storage, Phase::kDecode, {2, 0, 3}), "q_proj");
  EXPECT_DOUBLE_EQ(cost.seconds, 384e-9 + 256e-9);
  EXPECT_DOUBLE_EQ(cost.memory_seconds, 384e-9 + 128e-9);
  EXPECT_DOUBLE_EQ(cost.compute_seconds, 256e-9 + 256e-9);
}

TEST(Roofline, AttentionGrowsQuadraticallyInPrefillAndLinearlyInDecode) {
  const auto ops = [](Phase phase, size_t tokens) {
    return Of(Predict(Tiny(), phase, {1, tokens, tokens}), "attention scores").ops;
  };
  for (size_t n : {100u, 200u, 400u, 800u}) {
    const auto tokens = static_cast<double>(n);
    // n(n+1)/2 pairs and n+1; 16 operations each.
    EXPECT_EQ(ops(Phase::kPrefill, n), 16 * tokens * (tokens + 1) / 2);
    EXPECT_EQ(ops(Phase::kDecode, n), 16 * (tokens + 1));
    EXPECT_NEAR(ops(Phase::kPrefill, 2 * n) / ops(Phase::kPrefill, n), 4, 2 / tokens);
    EXPECT_NEAR(ops(Phase::kDecode, 2 * n) / ops(Phase::kDecode, n), 2, 1 / tokens);
  }
}

// A window of 4: the queries of 10 tokens see 1 + 2 + 3 + 7·4 = 34 positions instead of 55. Of two
// blocks only the second has it.
TEST(Roofline, AWindowBoundsWhatAQuerySees) {
  ModelStorage storage = Tiny(/*blocks=*/2);
  AttentionIn(storage.plan.blocks[1]).window = 4;
  const Roofline prefill = Predict(storage, Phase::kPrefill, {1, 10, 0});
  EXPECT_EQ(Of(prefill, "attention scores").ops, 16 * (55 + 34));
  EXPECT_EQ(Of(prefill, "attention scores").kv_bytes, 16 * (10 + 10));
  const Roofline decode = Predict(storage, Phase::kDecode, {1, 0, 10});
  EXPECT_EQ(Of(decode, "attention scores").ops, 16 * (11 + 4));
  EXPECT_EQ(Of(decode, "attention scores").kv_bytes, 16 * (11 + 4));
}

// The peak that q_proj's time stands for.
double PeakWith(int weight_bits, int input_bits, bool is_fp8, const PeakOps& ops) {
  ModelStorage storage = Tiny();
  storage.layers[0].weight_bits = weight_bits;
  storage.layers[0].input_bits = input_bits;
  storage.layers[0].is_fp8 = is_fp8;
  Hardware hardware = Slow();
  hardware.ops = ops;
  const OperationCost cost = Of(Predict(storage, Phase::kPrefill, {2, 3, 0}, hardware), "q_proj");
  return cost.ops / cost.compute_seconds;
}

TEST(Roofline, ProductsRunInTheNarrowestTypeOfBothSidesThatTheDeviceHas) {
  const PeakOps all{.fp32 = 1e9, .fp16 = 2e9, .fp8 = 4e9, .int8 = 5e9, .int4 = 8e9};
  EXPECT_DOUBLE_EQ(PeakWith(0, 0, false, all), 2e9);
  EXPECT_DOUBLE_EQ(PeakWith(4, 8, false, all), 5e9);
  EXPECT_DOUBLE_EQ(PeakWith(8, 8, false, all), 5e9);
  EXPECT_DOUBLE_EQ(PeakWith(4, 4, false, all), 8e9);
  EXPECT_DOUBLE_EQ(PeakWith(0, 0, true, all), 4e9);
  const PeakOps few{.fp32 = 1e9};
  for (int bits : {0, 4, 8}) EXPECT_DOUBLE_EQ(PeakWith(bits, bits, bits == 0, few), 1e9);
  const PeakOps bytes{.fp32 = 1e9, .int8 = 3e9};
  EXPECT_DOUBLE_EQ(PeakWith(4, 4, false, bytes), 3e9);
}

TEST(Roofline, VectorOperationsDoNotRunOnUnitsForProducts) {
  Hardware hardware = Slow();
  hardware.ops.fp16 = 100e9;
  const OperationCost norms = Of(Predict(Tiny(), Phase::kPrefill, {2, 3, 0}, hardware), "norms");
  EXPECT_DOUBLE_EQ(norms.ops / norms.compute_seconds, 1e9);
}

// 4 keys and 4 values of one head: 8 numbers, and for either 2 bytes of scale and 2 of zero point.
TEST(Roofline, CacheBytesByKind) {
  ModelStorage storage = Tiny();
  const auto bytes = [&](const std::string& kind) {
    SetKvBytes(storage, kind);
    return storage.kv_bytes_of_position();
  };
  EXPECT_EQ(bytes("fp32"), 32);
  EXPECT_EQ(bytes("fp16"), 16);
  EXPECT_EQ(bytes("int8"), 8 + 8);
  EXPECT_EQ(bytes("int4"), 4 + 8);
  EXPECT_THAT(ErrorOf([&] { bytes("int5"); }), HasSubstr("did you mean"));
}

class RooflineOfDemo : public testing::DemoRun {
 protected:
  struct Folder {
    ModelStorage stored, planned;
    Manifest manifest;
  };
  Folder Quantized(const std::string& recipe) {
    const QuantizeOptions options = Options(recipe, "out");
    std::filesystem::remove_all(options.out);
    Folder folder;
    folder.manifest = Run(options);
    folder.stored = StorageOf(Checkpoint::Open(options.out, true), &folder.manifest);
    folder.planned = StorageOf(Checkpoint::Open(DemoModel()), options.recipe);
    return folder;
  }
  static double LinearBytes(const ModelStorage& storage) {
    double bytes = 0;
    for (const OperationCost& one : Predict(storage, Phase::kDecode, {1, 1, 1}).operations) {
      if (one.kind.ends_with("_proj")) bytes += one.weight_bytes;
    }
    return bytes;
  }
};

TEST_F(RooflineOfDemo, DecodingReadsTheStoredBytesOfAQuantizedFolder) {
  for (const char* recipe : {"rtn-w4-g64", "spqr-w3-g16"}) {
    const Folder folder = Quantized(recipe);
    uint64_t stored = 0;
    for (const LayerRecord& record : folder.manifest.layers) stored += record.stored_bytes;
    EXPECT_GT(stored, 0u);
    EXPECT_EQ(LinearBytes(folder.stored), static_cast<double>(stored)) << recipe;
    EXPECT_NEAR(folder.stored.bits_per_weight, folder.manifest.bits_per_weight_layers, 1e-9);
    // The head in bfloat16, 9 norms in float32.
    EXPECT_EQ(folder.stored.weight_bytes(),
              static_cast<double>(stored) + 2 * 6000 * 256 + 4 * 9 * 256);
  }
}

TEST_F(RooflineOfDemo, AFloatFolderReadsItsTensors) {
  const ModelStorage storage = StorageOf(Checkpoint::Open(DemoModel()), nullptr);
  EXPECT_EQ(LinearBytes(storage), 2.0 * 4 * 256 * (2 * 256 + 2 * 128 + 3 * 640));
  EXPECT_EQ(storage.bits_per_weight, 16);
}

TEST_F(RooflineOfDemo, APlannedRecipeHasTheBytesThatItsRunStores) {
  for (const char* recipe :
       {"rtn-w4-g64", "rtn-w3-channel-sym", "fp8-w8a8",
        "name: f\nrounder: rtn\nweights: {bits: 2, group_size: 64, zero_point: float}\n",
        "name: fp4\nrounder: rtn\nweights: {type: nvfp4}\n"}) {
    const Folder folder = Quantized(recipe);
    EXPECT_EQ(LinearBytes(folder.planned), LinearBytes(folder.stored)) << recipe;
  }
}

// Outliers are 6 bytes each, where each row's begin is 4, and so is the group of each permuted
// input: the rest is planned, with the second level of scales and zero points.
TEST_F(RooflineOfDemo, OnlyOutliersAndTheOrderAreMissingInAPlanOfSpqr) {
  const Folder folder = Quantized("spqr-w3-g16");
  for (size_t i = 0; i < folder.planned.layers.size(); ++i) {
    const LayerStorage& planned = folder.planned.layers[i];
    const double outliers = folder.stored.layers[i].weight_bytes - planned.weight_bytes -
                            4 * static_cast<double>(planned.out + 1 + planned.in);
    EXPECT_GT(outliers, 0) << planned.name;
    EXPECT_EQ(std::fmod(outliers, 6), 0) << planned.name;
  }
}

TEST_F(RooflineOfDemo, RoundedInputsAndCachesComeFromTheRecipe) {
  const Checkpoint checkpoint = Checkpoint::Open(DemoModel());
  const ModelStorage w4a8 = StorageOf(checkpoint, FindRecipe("zeroquant-w4a8-g128"));
  EXPECT_EQ(w4a8.layers[0].weight_bits, 4);
  EXPECT_EQ(w4a8.layers[0].input_bits, 8);
  EXPECT_TRUE(StorageOf(checkpoint, FindRecipe("fp8-w8a8")).layers[0].is_fp8);
  const ModelStorage w4 = StorageOf(checkpoint, FindRecipe("rtn-w4-g64"));
  EXPECT_EQ(w4.layers[0].weight_bits, 0);
  EXPECT_FALSE(w4.layers[0].is_fp8);
  const Recipe kv4 = FindRecipe("quarot-gptq-w4a4kv4");
  EXPECT_THAT(StorageOf(checkpoint, kv4).kv_bytes_per_position,
              ::testing::Each(kv4.kv_cache->BytesPerPosition(2, 64)));
}

}  // namespace
}  // namespace qualm
