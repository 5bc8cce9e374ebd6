#include "efficiency/roofline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "efficiency/measure.h"

namespace qualm {
namespace {

using testing::HasSubstr;

// One block: hidden 4, intermediate 8, 2 heads of 2, 1 head of keys and values, vocabulary 10.
ModelStorage TinyStorage() {
  ModelStorage storage;
  storage.config.hidden_size = 4;
  storage.config.intermediate_size = 8;
  storage.config.layers = 1;
  storage.config.heads = 2;
  storage.config.kv_heads = 1;
  storage.config.head_dim = 2;
  storage.config.vocab_size = 10;
  storage.layers = {
      {"b.q_proj", 4, 4, 32, 0, 0}, {"b.up_proj", 8, 4, 16, 4, 0}, {"b.down_proj", 4, 8, 20, 4, 8}};
  storage.embedding_row_bytes = 8;
  storage.head_bytes = 80;
  storage.norm_bytes = 48;
  SetKvBytes(storage, "fp32");
  return storage;
}

Hardware Device() {
  Hardware device;
  device.bytes_per_second = 100;
  device.ops = {.fp32 = 10, .fp16 = 50, .fp8 = 0, .int8 = 200, .int4 = 0};
  return device;
}

const OperationCost& Find(const Roofline& roofline, const std::string& kind) {
  for (const OperationCost& one : roofline.operations) {
    if (one.kind == kind) return one;
  }
  ADD_FAILURE() << kind;
  return roofline.operations[0];
}

TEST(Roofline, CountsByHand) {
  const Work work{.batch = 2, .prompt = 3, .context = 5};
  const Roofline prefill = PredictTime(TinyStorage(), Device(), Phase::kPrefill, work, 4);
  // 6 rows through 4x4: 2·6·16 operations; 32 bytes of weights, 6·(4+4) numbers of 4 bytes.
  const OperationCost& q = Find(prefill, "q_proj");
  EXPECT_EQ(q.ops, 192);
  EXPECT_EQ(q.weight_bytes, 32);
  EXPECT_EQ(q.activation_bytes, 192);
  EXPECT_DOUBLE_EQ(q.seconds, 192.0 / 50);  // 3.84 s of products against 2.24 s of bytes
  EXPECT_FALSE(q.is_memory_bound);
  // Integers on both sides run at the integer peak: 2·6·32 / 200 against (20 + 6·12·4) / 100.
  EXPECT_DOUBLE_EQ(Find(prefill, "down_proj").seconds, (20 + 288) / 100.0);
  EXPECT_EQ(Find(prefill, "down_proj").peak_ops, 200);
  EXPECT_EQ(Find(prefill, "up_proj").peak_ops, 50);  // weights alone are no integer product
  // 3 queries see 1 + 2 + 3 positions, in 2 sequences, 4 numbers of all heads, 2 operations.
  EXPECT_EQ(Find(prefill, "attention scores").ops, 2 * 2 * 6 * 4);
  // Keys: 3 positions of 2 sequences, 2 numbers of 4 bytes.
  EXPECT_EQ(Find(prefill, "attention scores").kv_bytes, 3 * 2 * 2 * 4);
  EXPECT_EQ(Find(prefill, "lm_head").ops, 2 * 2 * 10 * 4);

  const Roofline decode = PredictTime(TinyStorage(), Device(), Phase::kDecode, work, 4);
  EXPECT_EQ(Find(decode, "q_proj").ops, 2 * 2 * 16);
  EXPECT_EQ(Find(decode, "attention values").ops, 2 * 2 * 6 * 4);  // 5 before and itself
  EXPECT_EQ(Find(decode, "cache writes").kv_bytes, 2 * 16);
  double sum = 0;
  for (const OperationCost& one : decode.operations) sum += one.seconds;
  EXPECT_DOUBLE_EQ(decode.seconds, sum);
  EXPECT_DOUBLE_EQ(decode.tokens_per_second, 2 / sum);
}

TEST(Roofline, AttentionGrowsWithThePromptSquared) {
  const auto ops = [](Phase phase, size_t n) {
    return Find(PredictTime(TinyStorage(), Device(), phase, {1, n, n}, 4), "attention scores").ops;
  };
  EXPECT_EQ(ops(Phase::kPrefill, 200) / ops(Phase::kPrefill, 100), 200.0 * 201 / (100 * 101));
  EXPECT_EQ(ops(Phase::kDecode, 199) / ops(Phase::kDecode, 99), 2);
}

TEST(Roofline, CachesHaveTheirBytes) {
  ModelStorage storage = TinyStorage();
  EXPECT_EQ(storage.kv_bytes_per_position, 16);  // 2 keys and 2 values of 4 bytes
  SetKvBytes(storage, "int4");
  EXPECT_EQ(storage.kv_bytes_per_position, 2 + 8);  // and a scale and zero point for both
  EXPECT_THROW(SetKvBytes(storage, "fp17"), Error);
}

TEST(Hardware, AllThatShipCanBeRead) {
  EXPECT_GE(HardwareNames().size(), 12U);
  for (const std::string& name : HardwareNames()) {
    const Hardware device = FindHardware(name);
    EXPECT_EQ(device.name, name);
    EXPECT_FALSE(device.source.empty());
  }
  EXPECT_DOUBLE_EQ(FindHardware("h100").bytes_per_second, 3.35e12);
}

TEST(Hardware, IsStrict) {
  const std::string good =
      "name: x\ntitle: X\nsource: s\nmemory_gb: 1\nbandwidth_gb_s: 2\npeak_tops: {fp32: 3}\n";
  EXPECT_DOUBLE_EQ(ParseHardware(good, "x").ops.fp32, 3e12);
  for (const auto& [from, to, message] :
       std::vector<std::array<std::string, 3>>{{"memory_gb", "memory_gib", "x:4"},
                                               {"fp32: 3", "fp32: 3, fp31: 1", "fp31"},
                                               {"fp32: 3", "int8: 3", "fp32"},
                                               {"_s: 2", "_s: -2", "x:5"}}) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    try {
      ParseHardware(text, "x");
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  }
}

class EnergyFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / "qualm_energy_test";
    std::filesystem::remove_all(folder_);
    for (const char* zone : {"intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1", "dtpm"}) {
      std::filesystem::create_directories(folder_ / zone);
      Put(zone, "max_energy_range_uj", 10'000'000);
      Put(zone, "energy_uj", 9'000'000);
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void Put(const std::string& zone, const std::string& file, int64_t value) {
    std::ofstream(folder_ / zone / file) << value << "\n";
  }
  std::filesystem::path folder_;
};

TEST_F(EnergyFolder, PackagesAreSummedAndCountersWrapAround) {
  EnergyMeter meter(folder_);
  ASSERT_TRUE(meter.is_there());
  meter.Start();
  Put("intel-rapl:0", "energy_uj", 9'500'000);
  Put("intel-rapl:0:0", "energy_uj", 9'900'000);  // a part of package 0
  Put("intel-rapl:1", "energy_uj", 1'000'000);    // around
  EXPECT_DOUBLE_EQ(*meter.Joules(), 0.5 + 2);
  std::filesystem::remove(folder_ / "intel-rapl:1" / "energy_uj");
  EXPECT_FALSE(meter.Joules());  // none rather than half
}

TEST_F(EnergyFolder, WithoutCountersThereIsNone) {
  const EnergyMeter meter(folder_ / "nowhere");
  EXPECT_FALSE(meter.is_there());
  EXPECT_FALSE(meter.Joules());
}

}  // namespace
}  // namespace qualm
