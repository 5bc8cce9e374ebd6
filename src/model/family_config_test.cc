// What configurations of the dense families may say, in the spellings of both generations of
// config.json, and what missing and null keys mean. The values are those of transformers 5.24.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/json.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;

Json Config(const char* family) {
  return Json{{"model_type", family},         {"hidden_size", 64}, {"intermediate_size", 96},
              {"num_hidden_layers", 4},       {"vocab_size", 100}, {"num_attention_heads", 8},
              {"num_key_value_heads", 4},     {"head_dim", 12},    {"attention_dropout", 0.0},
              {"max_position_embeddings", 64}};
}

AttentionPlan AttentionOfBlock(const Json& json, size_t block = 0) {
  ModelPlan plan = ParseModelPlan(json, "config.json");
  return AttentionIn(plan.blocks.at(block));
}

RotaryPlan RotaryOfBlock(const Json& json, size_t block = 0) {
  return AttentionOfBlock(json, block).rotary.value();
}

std::string Complaint(const Json& json) {
  try {
    ParseModelPlan(json, "config.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

// Multimodal folders keep a text model's whole configuration one level down, with the keys of its
// writer and of training.
TEST(FamilyConfig, ATextModelInsideMayHaveEveryKeyWithoutInfluence) {
  for (const char* text : {"gemma3_text", "mistral"}) {
    Json inside = Config(text);
    inside.update({{"dtype", "float32"},
                   {"bos_token_id", 1},
                   {"use_cache", true},
                   {"add_cross_attention", false},
                   {"is_encoder_decoder", false}});
    const Json json = {{"model_type", std::string(text) == "mistral" ? "mistral3" : "gemma3"},
                       {"text_config", inside},
                       {"vision_config", {{"hidden_size", 8}}}};
    EXPECT_EQ(Complaint(json), "accepted");
    Json other = json;
    other["text_config"]["surprise"] = 3;
    EXPECT_THAT(Complaint(other), HasSubstr("text_config:surprise"));
  }
}

// The 4B model's text_config states only what differs from the defaults.
TEST(FamilyConfig, AGemma3TextModelInsideMayStateOnlyWhatIsUnusual) {
  const Json json = {{"model_type", "gemma3"},
                     {"text_config",
                      {{"model_type", "gemma3_text"},
                       {"hidden_size", 2560},
                       {"intermediate_size", 10240},
                       {"num_hidden_layers", 34},
                       {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}},
                       {"sliding_window", 1024}}}};
  const ModelPlan plan = ParseModelPlan(json, "config.json");
  EXPECT_EQ(plan.vocab_size(), 262208u);
  EXPECT_TRUE(plan.tied_embeddings);
  const AttentionPlan attention = AttentionOfBlock(json);
  EXPECT_EQ(attention.heads, 8u);
  EXPECT_EQ(attention.kv_heads, 4u);
  EXPECT_EQ(attention.head_dim, 256u);
  EXPECT_EQ(attention.window, 1024u);
}

TEST(FamilyConfig, Gemma3ReadsRotaryParametersByTypeOfBlock) {
  Json json = Config("gemma3_text");
  json["sliding_window_pattern"] = 2;
  json["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"factor", 4.0}, {"rope_theta", 777.0}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 55.0}}}};
  EXPECT_EQ(RotaryOfBlock(json, 0).theta, 55);
  EXPECT_EQ(RotaryOfBlock(json, 1).theta, 777);
  EXPECT_EQ(RotaryOfBlock(json, 1).scaling.factor, 4);

  // A set that is missing or null has the published values.
  json["rope_parameters"].erase("full_attention");
  EXPECT_EQ(RotaryOfBlock(json, 0).theta, 55);
  EXPECT_EQ(RotaryOfBlock(json, 1).theta, 1e6);
  json["rope_parameters"] = {{"full_attention", {{"rope_theta", 777.0}}},
                             {"sliding_attention", nullptr}};
  EXPECT_EQ(RotaryOfBlock(json, 0).theta, 10000);
  EXPECT_EQ(RotaryOfBlock(json, 1).theta, 777);
}

// Files that were written anew keep the older key of the pattern, under two names.
TEST(FamilyConfig, Gemma3sTypesOfBlocksGoBeforeItsPattern) {
  Json json = Config("gemma3_text");
  json.update({{"sliding_window_pattern", 2},
               {"_sliding_window_pattern", 2},
               {"layer_types",
                {"full_attention", "full_attention", "sliding_attention", "full_attention"}}});
  EXPECT_EQ(AttentionOfBlock(json, 0).window, 0u);
  EXPECT_EQ(AttentionOfBlock(json, 2).window, 4096u);
}

// As the models' own folders have them.
TEST(FamilyConfig, PublishedFilesHaveKeysThatTheirCodeDoesNotRead) {
  const std::vector<std::pair<const char*, Json>> cases = {
      {"llama", {{"max_sequence_length", 2048}, {"_flash_attn_2_enabled", true}}},
      {"gemma2", {{"sliding_window_size", 4096}}},
      {"phi3", {{"full_attn_mod", 1}, {"interpolate_factor", 1}, {"lm_head_bias", false}}},
      {"hunyuan_v1_dense",
       {{"add_classification_head", false},
        {"class_num", 0},
        {"dense_list", {64, 0}},
        {"pool_type", "last"},
        {"enable_lm_head_fp32", true}}},
  };
  for (const auto& [family, keys] : cases) {
    Json json = Config(family);
    json.update(keys);
    EXPECT_EQ(Complaint(json), "accepted");
  }
}

TEST(FamilyConfig, WhatAFamilyDoesNotHaveMayBeTurnedOff) {
  for (const char* key : {"attention_bias", "mlp_bias", "use_bias", "use_bidirectional_attention",
                          "use_sliding_window", "use_mrope"}) {
    Json json = Config("phi");
    json.erase("head_dim");
    json[key] = false;
    EXPECT_EQ(Complaint(json), "accepted") << key;
    json[key] = true;
    EXPECT_THAT(Complaint(json), HasSubstr(key)) << key;
  }
}

TEST(FamilyConfig, Olmo3ReadsRotaryParametersByTypeOfBlock) {
  Json json = Config("olmo3");
  json["rope_parameters"] = {{"full_attention", {{"rope_theta", 777.0}}},
                             {"sliding_attention", nullptr}};
  EXPECT_EQ(RotaryOfBlock(json, 0).theta, 500000);
  EXPECT_EQ(RotaryOfBlock(json, 3).theta, 777);
}

TEST(FamilyConfig, Gemma3KeepsTheKeyOfTheScoreCapAndDoesNotUseIt) {
  Json json = Config("gemma3_text");
  json.update({{"attn_logit_softcapping", 0.5}, {"final_logit_softcapping", 2.0}});
  EXPECT_EQ(AttentionOfBlock(json).soft_cap, 0);
  EXPECT_EQ(ParseModelPlan(json, "config.json").logit_soft_cap, 2);
}

Activation ActivationOf(const Json& json) {
  ModelPlan plan = ParseModelPlan(json, "config.json");
  return MlpIn(plan.blocks[0]).activation;
}

// Gemma 1 goes by hidden_act, where "gelu" has always meant the tanh form; its successors go by
// hidden_activation, literally.
TEST(FamilyConfig, GemmasReadTheirOwnKeyOfTheActivation) {
  Json json = Config("gemma");
  json.update({{"hidden_act", "gelu"}, {"hidden_activation", nullptr}});
  EXPECT_EQ(ActivationOf(json), Activation::kGeluTanh);
  json.update({{"hidden_act", "silu"}, {"hidden_activation", "gelu"}});
  EXPECT_EQ(ActivationOf(json), Activation::kSilu);

  json = Config("gemma2");
  json["hidden_act"] = "silu";
  EXPECT_EQ(ActivationOf(json), Activation::kGeluTanh);
  json["hidden_activation"] = "gelu";
  EXPECT_EQ(ActivationOf(json), Activation::kGeluErf);
}

TEST(FamilyConfig, OtherSpellingsOfGeluAreTheSameFunctions) {
  Json json = Config("qwen3");
  for (const auto& [name, activation] : {std::pair{"gelu_python", Activation::kGeluErf},
                                         std::pair{"gelu_python_tanh", Activation::kGeluTanh},
                                         std::pair{"gelu_accurate", Activation::kGeluTanh}}) {
    json["hidden_act"] = name;
    EXPECT_EQ(ActivationOf(json), activation) << name;
  }
}

// A magnitude of 0 counts as none, as do the other parameters that have a default.
TEST(FamilyConfig, AParameterOfZeroIsOneThatIsNotThere) {
  Json json = Config("llama");
  json["rope_scaling"] = {
      {"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 16}};
  const RotaryPlan without = RotaryOfBlock(json);
  json["rope_scaling"].update(
      {{"mscale", 0}, {"mscale_all_dim", 0}, {"beta_fast", 0}, {"beta_slow", 0}});
  EXPECT_EQ(RotaryOfBlock(json), without);

  json = Config("hunyuan_v1_dense");
  json["rope_scaling"] = {{"type", "dynamic"}, {"alpha", 0}, {"factor", 2.0}};
  EXPECT_EQ(RotaryOfBlock(json).scaling.kind, RopeScaling::Kind::kDynamic);
}

TEST(FamilyConfig, RopeScalingGoesBeforeRopeParameters) {
  Json json = Config("llama");
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 99.0}};
  json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 3.0}};
  EXPECT_EQ(RotaryOfBlock(json).theta, 10000);
  EXPECT_EQ(RotaryOfBlock(json).scaling.factor, 3);
  json["rope_scaling"] = Json::object();
  EXPECT_EQ(RotaryOfBlock(json).theta, 99);
}

// Null means what the sizes give, not what a missing key means.
TEST(FamilyConfig, SizesOfNullAreThoseThatFollowFromTheOthers) {
  for (const char* family : {"seed_oss", "ernie4_5", "internlm3", "mistral"}) {
    Json json = Config(family);
    json["num_key_value_heads"] = json["head_dim"] = nullptr;
    EXPECT_EQ(AttentionOfBlock(json).kv_heads, 8u) << family;
    EXPECT_EQ(AttentionOfBlock(json).head_dim, 8u) << family;
  }
}

// Where the published code does not ask the heads to divide the hidden size, it rounds down.
TEST(FamilyConfig, HeadsNeedNotDivideTheHiddenSize) {
  for (const char* family : {"mistral", "qwen2", "olmo", "olmo2", "olmo3", "exaone4", "smollm3",
                             "granite", "phi", "phi3"}) {
    Json json = Config(family);
    json.erase("head_dim");
    json["hidden_size"] = 70;
    EXPECT_EQ(AttentionOfBlock(json).head_dim, 8u) << family;
    EXPECT_EQ(AttentionOfBlock(json).query.out, 64u) << family;
  }
  Json json = Config("llama");
  json.erase("head_dim");
  json["hidden_size"] = 70;
  EXPECT_THAT(Complaint(json), HasSubstr("a multiple of num_attention_heads"));
}

TEST(FamilyConfig, SmolLm3sRotation) {
  Json json = Config("smollm3");
  EXPECT_EQ(RotaryOfBlock(json).theta, 2e6);
  // A list may be longer than the model is deep.
  json["no_rope_layers"] = {1, 0, 1, 1, 0, 0};
  EXPECT_FALSE(AttentionOfBlock(json, 1).rotary.has_value());
  EXPECT_TRUE(AttentionOfBlock(json, 3).rotary.has_value());
  json["no_rope_layers"] = {1, 0, 1};
  EXPECT_THAT(Complaint(json), HasSubstr("no_rope_layers"));
}

// As in the configuration class that is published with the weights; null scales nothing.
TEST(FamilyConfig, MiniCpmsScalesAreOneWhereTheyAreMissing) {
  Json json = Config("minicpm");
  ModelPlan plan = ParseModelPlan(json, "config.json");
  EXPECT_FLOAT_EQ(plan.logit_scale, 1 / 64.0f);
  EXPECT_FLOAT_EQ(plan.blocks[0].branches[0].output_scale, 0.5f);
  json["dim_model_base"] = json["scale_depth"] = nullptr;
  plan = ParseModelPlan(json, "config.json");
  EXPECT_EQ(plan.logit_scale, 1);
  EXPECT_EQ(plan.blocks[0].branches[0].output_scale, 1);
}

// The library loads such files as Ministral too.
TEST(FamilyConfig, MistralWithTypesOfBlocksIsMinistral) {
  Json json = Config("mistral");
  json["sliding_window"] = 5;
  json["layer_types"] = {"full_attention", "sliding_attention", "full_attention",
                         "sliding_attention"};
  EXPECT_EQ(AttentionOfBlock(json, 0).window, 0u);
  EXPECT_EQ(AttentionOfBlock(json, 1).window, 5u);
}

TEST(FamilyConfig, Phi3sLongRope) {
  Json json = Config("phi3");
  json["head_dim"] = 8;
  json["max_position_embeddings"] = 16384;
  json["rope_scaling"] = {{"type", "longrope"},
                          {"short_factor", {1.0, 1.0, 1.0, 1.0}},
                          {"long_factor", {2.0, 2.0, 2.0, 2.0}},
                          {"original_max_position_embeddings", 16}};
  // The key at the top level decides, and is 4096 where it is missing.
  const RotaryPlan plain = RotaryOfBlock(json);
  EXPECT_EQ(plain.scaling.original_context, 4096);
  EXPECT_EQ(plain.scaling.factor, 4);
  // Older files spell the type in two other ways.
  for (const char* name : {"su", "yarn"}) {
    json["rope_scaling"]["type"] = name;
    EXPECT_EQ(RotaryOfBlock(json), plain) << name;
  }
}

TEST(FamilyConfig, Ministral3ReadsBothSpellingsOfItsRotation) {
  const Json scaling = {{"type", "yarn"},
                        {"factor", 4.0},
                        {"original_max_position_embeddings", 16},
                        {"llama_4_scaling_beta", 0.2}};
  Json json = Config("ministral3");
  json.update({{"rope_scaling", scaling}, {"rope_theta", 2000.0}});
  EXPECT_EQ(RotaryOfBlock(json).theta, 2000);
  const std::optional<QueryGrowth> growth = AttentionOfBlock(json).query_growth;
  ASSERT_TRUE(growth.has_value());
  EXPECT_EQ(growth->beta, 0.2);
  EXPECT_EQ(growth->original_context, 16);

  json["rope_scaling"]["llama_4_scaling_beta"] = 0;
  EXPECT_FALSE(AttentionOfBlock(json).query_growth.has_value());
}

}  // namespace
}  // namespace qualm
