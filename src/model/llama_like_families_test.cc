// What the keys of GLM, ChatGLM, Cohere's and other LLaMA-like models mean, as their published code
// and transformers 5.24 read them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/standard_plan.h"
#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

ModelPlan Plan(Json json, const Json& changes = Json::object()) {
  json.update(changes);
  return ParseModelPlan(json, "c.json");
}

Json Llama(const char* model_type) {
  return {{"model_type", model_type},      {"hidden_size", 48},        {"intermediate_size", 56},
          {"num_hidden_layers", 4},        {"num_attention_heads", 6}, {"num_key_value_heads", 2},
          {"max_position_embeddings", 64}, {"vocab_size", 101}};
}

TEST(RotaryKeys, TheOlderObjectOfScalingsWinsOverTheNewer) {
  const Json newer = {{"rope_type", "default"}, {"rope_theta", 333.0}};
  const Json older = {{"type", "linear"}, {"factor", 2.0}};
  ModelPlan plan = Plan(Llama("stablelm"), {{"rope_parameters", newer}, {"rope_scaling", older}});
  EXPECT_EQ(AttentionIn(plan.blocks[0]).rotary->scaling.kind, RopeScaling::Kind::kLinear);
  EXPECT_EQ(AttentionIn(plan.blocks[0]).rotary->theta, 10000);
  // An empty one says nothing.
  plan = Plan(Llama("stablelm"), {{"rope_parameters", newer}, {"rope_scaling", Json::object()}});
  EXPECT_EQ(AttentionIn(plan.blocks[0]).rotary->theta, 333);
}

TEST(Cohere2, TheWindowsPatternHasASecondName) {
  ModelPlan plan = Plan(Llama("cohere2"), {{"_sliding_window_pattern", 2}});
  EXPECT_EQ(AttentionIn(plan.blocks[0]).window, 4096u);
  EXPECT_EQ(AttentionIn(plan.blocks[1]).window, 0u);
}

TEST(Cohere2, HowTheEmbeddingIsSpreadOverDevicesHasNoInfluence) {
  for (const bool value : {false, true})
    (void)Plan(Llama("cohere2"), {{"use_parallel_embedding", value}});
}

TEST(Activations, AnotherNameIsTheSameFunction) {
  const auto activation = [](const char* name) {
    ModelPlan plan = Plan(Llama("nemotron"), {{"hidden_act", name}});
    return MlpIn(plan.blocks[0]).activation;
  };
  EXPECT_EQ(activation("gelu_python"), Activation::kGeluErf);
  EXPECT_EQ(activation("gelu_accurate"), Activation::kGeluTanh);
  EXPECT_EQ(activation("gelu_python_tanh"), Activation::kGeluTanh);
}

Json ChatGlm() {
  return {{"model_type", "chatglm"}, {"hidden_size", 48},        {"ffn_hidden_size", 56},
          {"num_layers", 2},         {"num_attention_heads", 6}, {"kv_channels", 8},
          {"padded_vocab_size", 101}};
}

TEST(ChatGlm, WithoutGroupsTheTensorGoesHeadByHead) {
  ModelPlan plan = Plan(ChatGlm(), {{"multi_query_group_num", 2}});
  EXPECT_EQ(AttentionIn(plan.blocks[0]).kv_heads, 6u);
  EXPECT_EQ(AttentionIn(plan.blocks[0]).key.stored->first, 8u);
  EXPECT_EQ(AttentionIn(plan.blocks[0]).key.stored->step, 24u);
  // With them, queries, keys and values lie one after the other.
  plan = Plan(ChatGlm(), {{"multi_query_attention", true}, {"multi_query_group_num", 2}});
  EXPECT_EQ(AttentionIn(plan.blocks[0]).kv_heads, 2u);
  EXPECT_EQ(AttentionIn(plan.blocks[0]).key.stored->first, 48u);
  EXPECT_EQ(AttentionIn(plan.blocks[0]).key.stored->run, 0u);
}

TEST(ChatGlm, NormsAndResidualsFollowTheirKeys) {
  ModelPlan plan = Plan(ChatGlm());
  EXPECT_EQ(plan.final_norm->parameters.kind, NormKind::kRms);
  EXPECT_FALSE(plan.blocks[0].branches[0].adds_to_norm);
  plan = Plan(ChatGlm(), {{"rmsnorm", false}, {"apply_residual_connection_post_layernorm", true}});
  EXPECT_EQ(plan.final_norm->parameters.kind, NormKind::kLayer);
  EXPECT_TRUE(plan.final_norm->has_bias);
  for (const Branch& branch : plan.blocks[1].branches) {
    EXPECT_EQ(branch.norm->parameters.kind, NormKind::kLayer);
    EXPECT_TRUE(branch.norm->has_bias);
    EXPECT_TRUE(branch.adds_to_norm);
  }
}

TEST(ChatGlm, BiasesOfAllLayersIncludeThoseOfTheQueries) {
  for (const bool value : {false, true}) {
    ModelPlan plan = Plan(ChatGlm(), {{"add_bias_linear", true}, {"add_qkv_bias", value}});
    for (const LinearSite& site : SitesOf(plan.blocks[0])) EXPECT_TRUE(site.requires_bias);
  }
}

TEST(ChatGlm, MissingAndSecondKeys) {
  // A head has 128 values; newer files count the blocks twice.
  Json json = ChatGlm();
  json.erase("kv_channels");
  json["num_hidden_layers"] = 2;
  ModelPlan plan = Plan(json);
  EXPECT_EQ(AttentionIn(plan.blocks[0]).head_dim, 128u);
  // Saved by itself, the inner model lacks the prefix, and has the head.
  const Renaming& first = plan.renamings.at(0);
  EXPECT_EQ(first.from, "encoder.layers.");
  EXPECT_EQ(first.to, "transformer.encoder.layers.");
  EXPECT_EQ(plan.renamings.back().from, "output_layer.");
}

TEST(Baichuan, TheSecondEditionIsKnownByEitherSign) {
  Json json = Llama("baichuan");
  json.erase("num_key_value_heads");
  EXPECT_FALSE(Plan(json).head_has_unit_rows);
  EXPECT_TRUE(Plan(json, {{"z_loss_weight", 0}}).head_has_unit_rows);
  EXPECT_TRUE(Plan(json, {{"vocab_size", 125696}}).head_has_unit_rows);
  EXPECT_TRUE(Plan(json, {{"vocab_size", 125696}, {"z_loss_weight", 0}}).head_has_unit_rows);
}

TEST(Baichuan, WhatTheWriterCopiedFromElsewhereHasNoInfluence) {
  Json json = Llama("baichuan");
  json.erase("num_key_value_heads");
  (void)Plan(json, {{"_from_model_config", true}});
}

}  // namespace
}  // namespace qualm
