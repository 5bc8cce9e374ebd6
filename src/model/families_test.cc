#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/json.h"
#include "model/family.h"
#include "model/standard_plan.h"
#include "support/shared_data.h"

namespace qualm {
namespace {

TEST(Families, TheTableHasALinePerFile) {
  std::vector<std::string> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(testing::SourceRoot() / "src/model/families")) {
    if (entry.path().extension() == ".cc") files.push_back(entry.path().stem().string());
  }
  EXPECT_THAT(FamilyNames(), ::testing::UnorderedElementsAreArray(files));
}

Json MinimalConfig() {
  return ParseJson(R"({"model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
                       "num_hidden_layers": 2, "num_attention_heads": 8, "vocab_size": 100})",
                   "test");
}

// The rotary plan of a configuration's blocks.
RotaryPlan Rotary(const Json& json) {
  ModelPlan plan = ParseModelPlan(json, "test");
  return *AttentionIn(plan.blocks[0]).rotary;
}

TEST(Families, RopeFrequenciesFollowTheirScaling) {
  Json json = MinimalConfig();
  std::vector<double> plain = RopeInverseFrequencies(Rotary(json), 1);
  ASSERT_EQ(plain.size(), 4u);
  EXPECT_DOUBLE_EQ(plain[0], 1);
  EXPECT_DOUBLE_EQ(plain[1], 0.1);  // 10000^(-2/8)
  json["rope_scaling"] = {{"type", "linear"}, {"factor", 4.0}};
  EXPECT_DOUBLE_EQ(RopeInverseFrequencies(Rotary(json), 1)[1], 0.025);
  json["rope_scaling"] = {{"rope_type", "llama3"},
                          {"factor", 8.0},
                          {"low_freq_factor", 1.0},
                          {"high_freq_factor", 4.0},
                          {"original_max_position_embeddings", 64}};
  std::vector<double> scaled = RopeInverseFrequencies(Rotary(json), 1);
  // 64·1/2π = 10.2 turns: kept. 64·0.1/2π = 1.02 turns: almost stretched by 8. The rest: stretched.
  EXPECT_DOUBLE_EQ(scaled[0], 1);
  double smooth = (6.4 / (2 * M_PI) - 1) / 3;
  EXPECT_NEAR(scaled[1], (1 - smooth) * 0.1 / 8 + smooth * 0.1, 1e-15);
  EXPECT_DOUBLE_EQ(scaled[3], plain[3] / 8);
  // The newer layout of the same settings.
  Json newer = MinimalConfig();
  newer["rope_parameters"] = json["rope_scaling"];
  newer["rope_parameters"]["rope_theta"] = 10000.0;
  EXPECT_EQ(RopeInverseFrequencies(Rotary(newer), 1), scaled);
  newer["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 500000.0}};
  EXPECT_EQ(Rotary(newer).theta, 500000.0);
}

TEST(Families, ImpossibleValuesAreErrorsThatNameTheKey) {
  auto message = [](const char* key, const Json& value) -> std::string {
    Json json = MinimalConfig();
    json[key] = value;
    try {
      ParseModelPlan(json, "config.json");
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(message("hidden_size", 0), ::testing::HasSubstr("config.json:hidden_size"));
  EXPECT_THAT(message("hidden_size", "64"), ::testing::HasSubstr("hidden_size"));
  EXPECT_THAT(message("hidden_size", 65), ::testing::HasSubstr("num_attention_heads"));
  EXPECT_THAT(message("num_key_value_heads", 3), ::testing::HasSubstr("num_key_value_heads"));
  EXPECT_THAT(message("head_dim", 7), ::testing::HasSubstr("even"));
  EXPECT_THAT(message("rms_norm_eps", -1), ::testing::HasSubstr("rms_norm_eps"));
  EXPECT_THAT(message("hidden_act", "mish"), ::testing::HasSubstr("silu"));
  EXPECT_THAT(message("rope_scaling", Json{{"rope_type", "yam"}, {"factor", 2}}),
              ::testing::HasSubstr("unknown rope_type 'yam'"));
  EXPECT_THAT(message("num_hidden_layers", int64_t{1} << 60),
              ::testing::HasSubstr("num_hidden_layers"));
}

}  // namespace
}  // namespace qualm
