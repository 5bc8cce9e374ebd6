#include "model/model_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "model/standard_plan.h"
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

ModelPlan Parse(const Json& json) { return ParseModelPlan(json, "c.json"); }

AttentionPlan Attention(const Json& json) {
  ModelPlan plan = Parse(json);
  return AttentionIn(plan.blocks.back());
}

// The complaint about a valid configuration with one key changed.
std::string Complaint(const std::string& key, const Json& value) {
  Json json = Valid();
  json[key] = value;
  return ErrorOf([&] { Parse(json); });
}

TEST(ModelPlan, ReadsEveryField) {
  ModelPlan plan = Parse(Valid());
  EXPECT_EQ(plan.model_type, "llama");
  EXPECT_EQ(plan.hidden_size, 64u);
  EXPECT_EQ(plan.vocab_size(), 512u);
  EXPECT_EQ(plan.head.out, 512u);
  EXPECT_EQ(plan.context, 256u);
  EXPECT_EQ(plan.final_norm->parameters.eps, 1e-5);
  EXPECT_TRUE(plan.tied_embeddings);

  ASSERT_EQ(plan.blocks.size(), 5u);
  const AttentionPlan& attention = AttentionIn(plan.blocks[4]);
  EXPECT_EQ(attention.heads, 8u);
  EXPECT_EQ(attention.kv_heads, 4u);
  EXPECT_EQ(attention.head_dim, 8u);
  EXPECT_EQ(attention.window, 0u);
  EXPECT_EQ(attention.rotary->theta, 500000);
  const MlpPlan& mlp = MlpIn(plan.blocks[4]);
  EXPECT_EQ(mlp.up.out, 172u);
  for (const LinearSite& site : SitesOf(plan.blocks[4])) EXPECT_FALSE(site.requires_bias);
}

TEST(ModelPlan, MissingKeysHaveThePublishedDefaults) {
  Json json = Valid();
  for (const char* key : {"num_key_value_heads", "max_position_embeddings", "rms_norm_eps",
                          "rope_theta", "tie_word_embeddings", "hidden_act"}) {
    json.erase(key);
  }
  const ModelPlan plan = Parse(json);
  EXPECT_EQ(Attention(json).kv_heads, 8u);
  EXPECT_EQ(plan.context, 2048u);
  EXPECT_EQ(plan.final_norm->parameters.eps, 1e-6);
  EXPECT_EQ(Attention(json).rotary->theta, 10000);
  EXPECT_FALSE(plan.tied_embeddings);
}

TEST(ModelPlan, AnExplicitHeadDimNeedNotDivideTheHiddenSize) {
  Json json = Valid();
  json["head_dim"] = 32;
  EXPECT_EQ(Attention(json).head_dim, 32u);
  EXPECT_EQ(Attention(json).query.out, 256u);
  json["hidden_size"] = 65;
  EXPECT_EQ(Attention(json).head_dim, 32u);
  json["head_dim"] = nullptr;
  EXPECT_THAT(ErrorOf([&] { Parse(json); }), HasSubstr("a multiple of num_attention_heads 8"));
}

// q, k and v; o; gate, up and down: whether each of these needs a bias.
std::vector<bool> Biases(const Json& json) {
  ModelPlan plan = Parse(json);
  const AttentionPlan& attention = AttentionIn(plan.blocks[0]);
  const MlpPlan& mlp = MlpIn(plan.blocks[0]);
  EXPECT_EQ(attention.query.requires_bias, attention.key.requires_bias);
  EXPECT_EQ(attention.query.requires_bias, attention.value.requires_bias);
  EXPECT_EQ(mlp.gate->requires_bias, mlp.up.requires_bias);
  EXPECT_EQ(mlp.gate->requires_bias, mlp.down.requires_bias);
  return {attention.query.requires_bias, attention.output.requires_bias, mlp.up.requires_bias};
}

// The window of each block.
std::vector<size_t> Windows(const Json& json) {
  ModelPlan plan = Parse(json);
  std::vector<size_t> windows;
  for (BlockPlan& block : plan.blocks) windows.push_back(AttentionIn(block).window);
  return windows;
}

TEST(ModelPlan, EachFamilyReadsItsOwnKeys) {
  Json json = Valid();
  json["attention_bias"] = true;
  EXPECT_EQ(Biases(json), (std::vector<bool>{true, true, false}));
  json["mlp_bias"] = true;
  EXPECT_EQ(Biases(json), (std::vector<bool>{true, true, true}));

  json["model_type"] = "mistral";
  EXPECT_THAT(ErrorOf([&] { Parse(json); }), HasSubstr("c.json:attention_bias"));
  json["attention_bias"] = json["mlp_bias"] = false;
  EXPECT_EQ(Biases(json), (std::vector<bool>{false, false, false}));
  EXPECT_EQ(Windows(json), std::vector<size_t>(5, 4096));
  json["sliding_window"] = nullptr;
  EXPECT_EQ(Windows(json), std::vector<size_t>(5, 0));
  json["sliding_window"] = 32;
  EXPECT_EQ(Windows(json), std::vector<size_t>(5, 32));

  json["model_type"] = "qwen2";
  json.erase("attention_bias");
  EXPECT_EQ(Biases(json), (std::vector<bool>{true, false, false}));
  EXPECT_EQ(Windows(json), std::vector<size_t>(5, 0));
  json["use_sliding_window"] = true;
  json["max_window_layers"] = 3;
  EXPECT_EQ(Windows(json), (std::vector<size_t>{0, 0, 0, 32, 32}));
  json["max_window_layers"] = 9;
  EXPECT_EQ(Windows(json), std::vector<size_t>(5, 0));
}

TEST(ModelPlan, Gemma2AlternatesWindowsUnlessTheFileListsThem) {
  Json json = Valid();
  json["model_type"] = "gemma2";
  json.erase("hidden_act");
  json["sliding_window"] = 32;
  EXPECT_EQ(Windows(json), (std::vector<size_t>{32, 0, 32, 0, 32}));
  json["layer_types"] = {"full_attention", "full_attention", "sliding_attention", "full_attention",
                         "sliding_attention"};
  EXPECT_EQ(Windows(json), (std::vector<size_t>{0, 0, 32, 0, 32}));
  json["layer_types"][2] = "linear_attention";
  EXPECT_THAT(ErrorOf([&] { Parse(json); }), HasSubstr("c.json:layer_types"));
  json["layer_types"] = {"full_attention"};
  EXPECT_THAT(ErrorOf([&] { Parse(json); }), HasSubstr("a list of 5 texts"));
}

TEST(ModelPlan, Gemma2CapsThatAreNullAreOff) {
  Json json = Valid();
  json["model_type"] = "gemma2";
  json.erase("hidden_act");
  EXPECT_EQ(Parse(json).logit_soft_cap, 30);
  EXPECT_EQ(Attention(json).soft_cap, 50);
  json["final_logit_softcapping"] = json["attn_logit_softcapping"] = nullptr;
  EXPECT_EQ(Parse(json).logit_soft_cap, 0);
  EXPECT_EQ(Attention(json).soft_cap, 0);
}

TEST(ModelPlan, Gemma2TakesTheSecondActivationKeyLiterally) {
  Json json = Valid();
  json["model_type"] = "gemma2";
  const auto activation = [&] {
    ModelPlan plan = Parse(json);
    return MlpIn(plan.blocks[0]).activation;
  };
  json["hidden_act"] = "gelu";
  EXPECT_EQ(activation(), Activation::kGeluTanh);
  json["hidden_activation"] = "gelu";
  EXPECT_EQ(activation(), Activation::kGeluErf);
  json["hidden_activation"] = "gelu_pytorch_tanh";
  EXPECT_EQ(activation(), Activation::kGeluTanh);
}

TEST(ModelPlan, RotaryParametersByTypeOfBlockAreRefused) {
  EXPECT_THAT(Complaint("rope_parameters", {{"full_attention", {{"rope_theta", 1e6}}},
                                            {"sliding_attention", {{"rope_theta", 1e4}}}}),
              HasSubstr("[c.json:rope_parameters] expected one set of rotary parameters"));
}

TEST(ModelPlan, PhiRefusesWhatItCannotRunByItsKey) {
  Json json = Valid();
  json["model_type"] = "phi";
  json["hidden_act"] = "gelu_new";
  json.erase("rms_norm_eps");
  EXPECT_EQ(Attention(json).rotary->dims, 4u);
  const auto complaint = [&](const char* key, const Json& value) {
    Json changed = json;
    changed[key] = value;
    return ErrorOf([&] { Parse(changed); });
  };
  EXPECT_THAT(complaint("partial_rotary_factor", 0.01), HasSubstr("c.json:partial_rotary_factor"));
  EXPECT_THAT(complaint("partial_rotary_factor", 1.5), HasSubstr("got 1.5"));
  EXPECT_THAT(complaint("hidden_act", "mish"), HasSubstr("got mish"));
}

TEST(ModelPlan, UnknownModelTypeListsTheSupportedOnes) {
  const std::string message = Complaint("model_type", "lama");
  EXPECT_THAT(message, HasSubstr("did you mean 'llama'?"));
  EXPECT_THAT(message, HasSubstr("mistral"));
  EXPECT_THAT(message, HasSubstr("qwen2"));
}

TEST(ModelPlan, SizesOutsideTheirRangeNameFileAndKey) {
  for (const char* key :
       {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "vocab_size", "head_dim", "max_position_embeddings"}) {
    for (const int64_t size : {int64_t{0}, int64_t{-1}, int64_t{1} << 40}) {
      EXPECT_THAT(Complaint(key, size), HasSubstr(std::string("c.json:") + key)) << size;
    }
    EXPECT_THAT(Complaint(key, "many"), HasSubstr(key));
  }
}

TEST(ModelPlan, NumbersThatBreakTheArithmeticAreRefused) {
  for (const char* key : {"rms_norm_eps", "rope_theta"}) {
    for (const double value : {0.0, -1.0, 5e-324, 1e300}) {
      EXPECT_THAT(Complaint(key, value), HasSubstr(std::string("c.json:") + key)) << value;
    }
  }
}

// transformers takes null as a value and fails when it adds it to a number.
TEST(ModelPlan, ValuesOfAnotherTypeAreRefusedWhereNothingReadsThem) {
  for (const char* key : {"rms_norm_eps", "rope_theta"}) {
    EXPECT_THAT(Complaint(key, nullptr), HasSubstr("got null")) << key;
  }
  for (const char* key : {"torch_dtype", "dtype"}) {
    EXPECT_THAT(Complaint(key, 7), HasSubstr("to be a text; got 7")) << key;
    EXPECT_EQ(Complaint(key, "bfloat16"), "no error");
    EXPECT_EQ(Complaint(key, nullptr), "no error");
  }
}

TEST(ModelPlan, ShapesThatContradictEachOtherAreRefused) {
  EXPECT_THAT(Complaint("num_key_value_heads", 3), HasSubstr("a divisor of num_attention_heads 8"));
  EXPECT_THAT(Complaint("head_dim", 7), HasSubstr("an even number"));
  EXPECT_THAT(Complaint("hidden_act", "mish"), HasSubstr("relu2; got mish"));
}

TEST(ModelPlan, OtherJsonThanAnObjectIsRefused) {
  EXPECT_THAT(ErrorOf([] { Parse(Json::array({Valid()})); }), HasSubstr("a JSON object"));
  EXPECT_THAT(ErrorOf([] { Parse(Json()); }), HasSubstr("a JSON object"));
}

TEST(ModelPlan, RopeScalingIsCheckedToo) {
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
  const auto plain = RopeInverseFrequencies(*Attention(json).rotary, 1);
  ASSERT_EQ(plain.size(), 4u);
  EXPECT_DOUBLE_EQ(plain[0], 1);
  EXPECT_DOUBLE_EQ(plain[1], std::pow(500000, -0.25));
  json["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
  const auto scaled = RopeInverseFrequencies(*Attention(json).rotary, 1);
  for (size_t i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(scaled[i], plain[i] / 4);
}

TEST(RopeFrequencies, Llama3KeepsShortWavesStretchesLongOnesAndBlendsBetween) {
  Json json = Valid();
  json["head_dim"] = 128;
  const auto plain = RopeInverseFrequencies(*Attention(json).rotary, 1);
  json["rope_scaling"] = {{"rope_type", "llama3"},
                          {"factor", 8},
                          {"low_freq_factor", 1},
                          {"high_freq_factor", 4},
                          {"original_max_position_embeddings", 8192}};
  const auto scaled = RopeInverseFrequencies(*Attention(json).rotary, 1);
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

TEST(ModelPlan, MissingKeysHaveEachFamilysPublishedDefaults) {
  Json json = Valid();
  json["num_attention_heads"] = 16;
  json.erase("num_key_value_heads");
  json.erase("max_position_embeddings");
  json["model_type"] = "mistral";
  EXPECT_EQ(Attention(json).kv_heads, 8u);
  EXPECT_EQ(Parse(json).context, 131072u);
  json["model_type"] = "qwen2";
  EXPECT_EQ(Attention(json).kv_heads, 16u);
  EXPECT_EQ(Parse(json).context, 32768u);
  json["use_sliding_window"] = true;
  json["sliding_window"] = nullptr;
  EXPECT_EQ(Windows(json), std::vector<size_t>(5, 0));
}

TEST(ModelPlan, HeadsThatNoMemoryHoldsAreRefused) {
  Json json = Valid();
  json["num_attention_heads"] = json["num_key_value_heads"] = json["head_dim"] = 1 << 24;
  EXPECT_THAT(ErrorOf([&] { Parse(json); }), HasSubstr("heads of at most 16777216"));
}

}  // namespace
}  // namespace qualm
