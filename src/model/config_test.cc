#include "model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

Json Valid() {
  return {{"model_type", "llama"},       {"hidden_size", 64},
          {"intermediate_size", 172},    {"num_hidden_layers", 5},
          {"num_attention_heads", 8},    {"num_key_value_heads", 4},
          {"vocab_size", 512},           {"max_position_embeddings", 256},
          {"rms_norm_eps", 1e-5},        {"rope_theta", 500000.0},
          {"tie_word_embeddings", true}, {"hidden_act", "silu"}};
}

ModelConfig Parse(const Json& json) { return ParseModelConfig(json, "c.json"); }

// The complaint about a valid configuration with one key changed.
std::string Complaint(const std::string& key, const Json& value) {
  Json json = Valid();
  json[key] = value;
  return ErrorOf([&] { Parse(json); });
}

TEST(ModelConfig, ReadsEveryField) {
  const ModelConfig config = Parse(Valid());
  EXPECT_EQ(config.model_type, "llama");
  EXPECT_EQ(config.hidden_size, 64u);
  EXPECT_EQ(config.intermediate_size, 172u);
  EXPECT_EQ(config.layers, 5u);
  EXPECT_EQ(config.heads, 8u);
  EXPECT_EQ(config.kv_heads, 4u);
  EXPECT_EQ(config.head_dim, 8u);
  EXPECT_EQ(config.vocab_size, 512u);
  EXPECT_EQ(config.context, 256u);
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  EXPECT_EQ(config.rope_theta, 500000);
  EXPECT_TRUE(config.tied_embeddings);
  EXPECT_FALSE(config.sliding_window.has_value());
  EXPECT_FALSE(config.qkv_bias || config.o_bias || config.mlp_bias);
}

TEST(ModelConfig, MissingKeysHaveThePublishedDefaults) {
  Json json = Valid();
  for (const char* key : {"num_key_value_heads", "max_position_embeddings", "rms_norm_eps",
                          "rope_theta", "tie_word_embeddings", "hidden_act"}) {
    json.erase(key);
  }
  const ModelConfig config = Parse(json);
  EXPECT_EQ(config.kv_heads, 8u);
  EXPECT_EQ(config.context, 2048u);
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_EQ(config.rope_theta, 10000);
  EXPECT_FALSE(config.tied_embeddings);
}

TEST(ModelConfig, AnExplicitHeadDimNeedNotDivideTheHiddenSize) {
  Json json = Valid();
  json["head_dim"] = 32;
  EXPECT_EQ(Parse(json).head_dim, 32u);
  EXPECT_EQ(Parse(json).q_features(), 256u);
  json["hidden_size"] = 65;
  EXPECT_EQ(Parse(json).head_dim, 32u);
  json["head_dim"] = nullptr;
  EXPECT_THAT(ErrorOf([&] { Parse(json); }), HasSubstr("a multiple of num_attention_heads 8"));
}

TEST(ModelConfig, EachFamilyReadsItsOwnKeys) {
  Json json = Valid();
  json["attention_bias"] = true;
  EXPECT_TRUE(Parse(json).qkv_bias && Parse(json).o_bias && !Parse(json).mlp_bias);
  json["model_type"] = "mistral";
  EXPECT_EQ(Parse(json).sliding_window, 4096u);
  json["sliding_window"] = nullptr;
  EXPECT_FALSE(Parse(json).sliding_window.has_value());
  json["sliding_window"] = 32;
  EXPECT_EQ(Parse(json).sliding_window, 32u);
  json["model_type"] = "qwen2";
  EXPECT_TRUE(Parse(json).qkv_bias && !Parse(json).o_bias);
  EXPECT_FALSE(Parse(json).sliding_window.has_value());
  json["use_sliding_window"] = true;
  json["max_window_layers"] = 3;
  EXPECT_EQ(Parse(json).sliding_window, 32u);
  EXPECT_EQ(Parse(json).first_window_layer, 3u);
}

TEST(ModelConfig, UnknownModelTypeListsTheSupportedOnes) {
  const std::string message = Complaint("model_type", "lama");
  EXPECT_THAT(message, HasSubstr("did you mean 'llama'?"));
  EXPECT_THAT(message, HasSubstr("mistral"));
  EXPECT_THAT(message, HasSubstr("qwen2"));
}

TEST(ModelConfig, SizesOutsideTheirRangeNameFileAndKey) {
  for (const char* key :
       {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "vocab_size", "head_dim", "max_position_embeddings"}) {
    for (const int64_t size : {int64_t{0}, int64_t{-1}, int64_t{1} << 40}) {
      EXPECT_THAT(Complaint(key, size), HasSubstr(std::string("c.json:") + key)) << size;
    }
    EXPECT_THAT(Complaint(key, "many"), HasSubstr(key));
  }
}

TEST(ModelConfig, NumbersThatBreakTheArithmeticAreRefused) {
  for (const char* key : {"rms_norm_eps", "rope_theta"}) {
    for (const double value : {0.0, -1.0, 5e-324, 1e300}) {
      EXPECT_THAT(Complaint(key, value), HasSubstr(std::string("c.json:") + key)) << value;
    }
  }
}

TEST(ModelConfig, ShapesThatContradictEachOtherAreRefused) {
  EXPECT_THAT(Complaint("num_key_value_heads", 3), HasSubstr("a divisor of num_attention_heads 8"));
  EXPECT_THAT(Complaint("head_dim", 7), HasSubstr("an even number"));
  EXPECT_THAT(Complaint("hidden_act", "gelu"), HasSubstr("expected silu; got gelu"));
}

TEST(ModelConfig, OtherJsonThanAnObjectIsRefused) {
  EXPECT_THAT(ErrorOf([] { Parse(Json::array({Valid()})); }), HasSubstr("a JSON object"));
  EXPECT_THAT(ErrorOf([] { Parse(Json()); }), HasSubstr("a JSON object"));
}

TEST(ModelConfig, RopeScalingIsCheckedToo) {
  EXPECT_EQ(Complaint("rope_scaling", nullptr), "no error");
  EXPECT_EQ(Complaint("rope_scaling", {{"rope_type", "default"}}), "no error");
  EXPECT_THAT(Complaint("rope_scaling", Json::array({1})), HasSubstr("an object or null"));
  EXPECT_THAT(Complaint("rope_scaling", {{"type", "liner"}}), HasSubstr("did you mean 'linear'?"));
  EXPECT_THAT(Complaint("rope_scaling", {{"type", "linear"}, {"factor", 0}}),
              HasSubstr("rope_scaling:factor"));
  EXPECT_THAT(Complaint("rope_scaling", {{"rope_type", "llama3"},
                                         {"factor", 8},
                                         {"low_freq_factor", 4},
                                         {"high_freq_factor", 4}}),
              HasSubstr("high_freq_factor above low_freq_factor"));
}

TEST(RopeFrequencies, LinearScalingDividesAllOfThem) {
  Json json = Valid();
  const auto plain = RopeInverseFrequencies(Parse(json));
  ASSERT_EQ(plain.size(), 4u);
  EXPECT_DOUBLE_EQ(plain[0], 1);
  EXPECT_DOUBLE_EQ(plain[1], std::pow(500000, -0.25));
  json["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
  const auto scaled = RopeInverseFrequencies(Parse(json));
  for (size_t i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(scaled[i], plain[i] / 4);
}

TEST(RopeFrequencies, Llama3KeepsShortWavesStretchesLongOnesAndBlendsBetween) {
  Json json = Valid();
  json["head_dim"] = 128;
  const auto plain = RopeInverseFrequencies(Parse(json));
  json["rope_scaling"] = {{"rope_type", "llama3"},
                          {"factor", 8},
                          {"low_freq_factor", 1},
                          {"high_freq_factor", 4},
                          {"original_max_position_embeddings", 8192}};
  const auto scaled = RopeInverseFrequencies(Parse(json));
  size_t kept = 0, stretched = 0, blended = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double wavelength = 2 * M_PI / plain[i];
    if (wavelength < 8192.0 / 4) {
      EXPECT_DOUBLE_EQ(scaled[i], plain[i]);
      ++kept;
    } else if (wavelength > 8192) {
      EXPECT_DOUBLE_EQ(scaled[i], plain[i] / 8);
      ++stretched;
    } else {
      EXPECT_LT(scaled[i], plain[i]);
      EXPECT_GT(scaled[i], plain[i] / 8);
      ++blended;
    }
  }
  EXPECT_GT(kept, 0u);
  EXPECT_GT(stretched, 0u);
  EXPECT_GT(blended, 0u);
}

TEST(ModelConfig, MissingKeysHaveEachFamilysPublishedDefaults) {
  Json json = Valid();
  json["num_attention_heads"] = 16;
  json.erase("num_key_value_heads");
  json.erase("max_position_embeddings");
  json["model_type"] = "mistral";
  EXPECT_EQ(Parse(json).kv_heads, 8u);
  EXPECT_EQ(Parse(json).context, 131072u);
  json["model_type"] = "qwen2";
  EXPECT_EQ(Parse(json).kv_heads, 16u);
  EXPECT_EQ(Parse(json).context, 32768u);
  json["use_sliding_window"] = true;
  json["sliding_window"] = nullptr;
  EXPECT_FALSE(Parse(json).sliding_window.has_value());
}

TEST(ModelConfig, HeadsThatNoMemoryHoldsAreRefused) {
  Json json = Valid();
  json["num_attention_heads"] = json["num_key_value_heads"] = json["head_dim"] = 1 << 24;
  EXPECT_THAT(ErrorOf([&] { Parse(json); }), HasSubstr("heads of in all at most 16777216"));
}

}  // namespace
}  // namespace qualm
