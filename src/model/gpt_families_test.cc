// What the keys of GPT's descendants mean, as transformers 5.24 reads them: defaults of missing
// keys, second names, keys without influence, and the names of tensors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "model/standard_plan.h"
#include "support/errors.h"

namespace qualm {
namespace {

using ::testing::Contains;
using ::testing::DoubleEq;
using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;

// The plan of a small configuration of a family, with some keys changed.
ModelPlan Plan(Json json, const Json& changes = Json::object()) {
  json.update(changes);
  return ParseModelPlan(json, "c.json");
}

const AttentionPlan& AttentionOfBlock(ModelPlan& plan, size_t block = 0) {
  return AttentionIn(plan.blocks[block]);
}

// The plan's name of a stored tensor.
std::string NameOf(const ModelPlan& plan, const std::string& stored) {
  for (const Renaming& renaming : plan.renamings) {
    if (stored.starts_with(renaming.from)) return renaming.to + stored.substr(renaming.from.size());
  }
  return stored;
}

Json GptNeox() {
  return {{"model_type", "gpt_neox"}, {"hidden_size", 48},        {"intermediate_size", 56},
          {"num_hidden_layers", 2},   {"num_attention_heads", 3}, {"vocab_size", 101}};
}

TEST(GptNeox, AnOddShareOfTheHeadIsRoundedUpToPairs) {
  // A quarter of 12 values: two pairs, with the frequencies of three values.
  ModelPlan plan = Plan(GptNeox(), {{"num_attention_heads", 4}});
  const RotaryPlan& rotary = *AttentionOfBlock(plan).rotary;
  EXPECT_EQ(rotary.pairs(), 2u);
  EXPECT_THAT(RopeInverseFrequencies(rotary, 1),
              ElementsAre(1.0, DoubleEq(std::pow(10000.0, -2.0 / 3))));

  // All of an odd head has no place for the last pair.
  EXPECT_THAT(
      ErrorOf([&] {
        Plan(GptNeox(), {{"hidden_size", 36}, {"num_attention_heads", 4}, {"rotary_pct", 1.0}});
      }),
      HasSubstr("even"));
}

TEST(GptNeox, TheKeysOfTheRotationHaveOtherNames) {
  // The usual keys mean nothing next to them.
  ModelPlan plan = Plan(GptNeox(), {{"rope_theta", 777.0}, {"partial_rotary_factor", 1.0}});
  EXPECT_EQ(AttentionOfBlock(plan).rotary->theta, 10000);
  EXPECT_EQ(AttentionOfBlock(plan).rotary->dims, 4u);
  plan = Plan(GptNeox(), {{"rotary_emb_base", 500}, {"rotary_pct", 0.5}, {"rope_theta", 777.0}});
  EXPECT_EQ(AttentionOfBlock(plan).rotary->theta, 500);
  EXPECT_EQ(AttentionOfBlock(plan).rotary->dims, 8u);

  // Those of newer files win.
  const Json newer = {{"rope_type", "default"}, {"rope_theta", 777.0}};
  plan = Plan(GptNeox(), {{"rotary_pct", 0.5}, {"rope_parameters", newer}});
  EXPECT_EQ(AttentionOfBlock(plan).rotary->theta, 777);
  EXPECT_EQ(AttentionOfBlock(plan).rotary->dims, 8u);
}

TEST(GptNeox, TheHeadHasTwoNames) {
  const ModelPlan plan = Plan(GptNeox());
  EXPECT_EQ(NameOf(plan, "lm_head.weight"), "embed_out.weight");
  EXPECT_EQ(NameOf(plan, "embed_out.weight"), "embed_out.weight");
}

Json Opt() {
  return {{"model_type", "opt"},      {"hidden_size", 48},        {"ffn_dim", 56},
          {"num_hidden_layers", 2},   {"num_attention_heads", 6}, {"vocab_size", 101},
          {"word_embed_proj_dim", 20}};
}

TEST(Opt, TheProjectionsMayLackTheirPrefix) {
  const ModelPlan plan = Plan(Opt());
  EXPECT_EQ(NameOf(plan, "decoder.project_in.weight"), plan.project_in->name + ".weight");
  EXPECT_EQ(NameOf(plan, "decoder.project_out.weight"), plan.project_out->name + ".weight");
}

TEST(Opt, KeysOfGalacticaSayWhatTheFamilyDoes) {
  (void)Plan(Opt(), {{"learned_embeddings", true}, {"scale_embeddings", false}});
  EXPECT_THAT(ErrorOf([] {
                Plan(Opt(), {{"scale_embeddings", true}});
              }),
              HasSubstr("scale_embeddings"));
}

Json Bloom() {
  return {
      {"model_type", "bloom"}, {"n_embed", 48}, {"n_layer", 2}, {"n_head", 6}, {"vocab_size", 101}};
}

TEST(Bloom, TheMlpIsFourTimesAsWideWhateverNInnerSays) {
  ModelPlan plan = Plan(Bloom(), {{"n_inner", 40}});
  EXPECT_EQ(MlpIn(plan.blocks[0]).up.out, 192u);
}

TEST(Bloom, TheOlderKeyOfTheWidthWins) {
  EXPECT_EQ(Plan(Bloom(), {{"hidden_size", 96}}).hidden_size, 48u);
  const Json falcon = {{"model_type", "falcon"},   {"n_embed", 48},
                       {"hidden_size", 96},        {"num_hidden_layers", 2},
                       {"num_attention_heads", 6}, {"vocab_size", 101}};
  EXPECT_EQ(Plan(falcon).hidden_size, 48u);
}

TEST(Bloom, SlicedSumsThatLoseTheirBiasAreRefused) {
  (void)Plan(Bloom(), {{"slow_but_exact", true}, {"pretraining_tp", 1}});
  (void)Plan(Bloom(), {{"slow_but_exact", false}, {"pretraining_tp", 4}});
  EXPECT_THAT(ErrorOf([] {
                Plan(Bloom(), {{"slow_but_exact", true}, {"pretraining_tp", 2}});
              }),
              HasSubstr("slow_but_exact"));
}

TEST(Falcon, NullIsFalseWhereAMissingKeyIsTrue) {
  const Json falcon = {{"model_type", "falcon"},
                       {"hidden_size", 48},
                       {"num_hidden_layers", 2},
                       {"num_attention_heads", 6},
                       {"vocab_size", 101}};
  ModelPlan plan = Plan(falcon);
  EXPECT_EQ(AttentionOfBlock(plan).kv_heads, 1u);
  EXPECT_TRUE(plan.blocks[0].branches[1].is_parallel);
  plan = Plan(falcon, {{"multi_query", nullptr}, {"parallel_attn", nullptr}});
  EXPECT_EQ(AttentionOfBlock(plan).kv_heads, 6u);
  EXPECT_FALSE(plan.blocks[0].branches[1].is_parallel);
}

Json Gptj(const char* model_type) {
  return {{"model_type", model_type},
          {"n_embd", 384},
          {"n_layer", 2},
          {"n_head", 4},
          {"vocab_size", 101}};
}

TEST(Gptj, SixtyFourValuesAreRotatedUnlessAKeySaysOtherwise) {
  for (const char* model_type : {"gptj", "codegen"}) {
    ModelPlan plan = Plan(Gptj(model_type));
    EXPECT_EQ(AttentionOfBlock(plan).rotary->dims, 64u);
    plan = Plan(Gptj(model_type), {{"rotary_dim", 32}});
    EXPECT_EQ(AttentionOfBlock(plan).rotary->dims, 32u);
  }
}

TEST(Codegen, HeadsMayLieAcrossParts) {
  ModelPlan plan = Plan(Gptj("codegen"), {{"n_head", 6}});
  const AttentionPlan& attention = AttentionOfBlock(plan);
  EXPECT_EQ(attention.head_dim, 64u);
  // Queries, values and keys of a part, 96 rows of each.
  EXPECT_EQ(attention.value.stored->first, 96u);
  EXPECT_EQ(attention.key.stored->first, 192u);
  EXPECT_EQ(attention.query.stored->step, 288u);
  EXPECT_THAT(ErrorOf([] {
                Plan(Gptj("codegen"), {{"n_embd", 18}, {"n_head", 3}, {"rotary_dim", 4}});
              }),
              HasSubstr("multiple of 4"));
}

Json GptNeo() {
  return {{"model_type", "gpt_neo"},
          {"hidden_size", 48},
          {"num_layers", 24},
          {"num_heads", 6},
          {"vocab_size", 101}};
}

TEST(GptNeo, KindsAlternateUnlessAKeySaysOtherwise) {
  ModelPlan plan = Plan(GptNeo());
  EXPECT_EQ(AttentionOfBlock(plan, 0).window, 0u);
  EXPECT_EQ(AttentionOfBlock(plan, 1).window, 256u);
  EXPECT_THAT(ErrorOf([] { Plan(GptNeo(), {{"num_layers", 2}}); }), HasSubstr("attention_types"));
}

TEST(GptNeo, TheListThatTheLibraryWritesForItselfCounts) {
  const Json groups = Json::parse(R"([[["local"], 1], [["global"], 1]])");
  ModelPlan plan = Plan(GptNeo(), {{"num_layers", 2},
                                   {"attention_types", groups},
                                   {"attention_layers", Json{"global", "local"}}});
  EXPECT_EQ(AttentionOfBlock(plan, 0).window, 0u);
  EXPECT_EQ(AttentionOfBlock(plan, 1).window, 256u);
}

Json Mpt() {
  return {
      {"model_type", "mpt"}, {"d_model", 48}, {"n_layers", 2}, {"n_heads", 6}, {"vocab_size", 101}};
}

TEST(Mpt, TheInnerConfigurationHasTheKeysOfAnyConfiguration) {
  // As the library writes an object of configurations inside another.
  (void)Plan(Mpt(), {{"attn_config",
                      {{"_name_or_path", ""},
                       {"is_encoder_decoder", false},
                       {"tie_word_embeddings", true},
                       {"top_k", 50}}}});
  EXPECT_THAT(ErrorOf([] {
                Plan(Mpt(), {{"attn_config", {{"attn_sink", 1}}}});
              }),
              HasSubstr("attn_config:attn_sink"));
}

TEST(Mpt, BiasesAreForTheTensorsToSay) { (void)Plan(Mpt(), {{"no_bias", false}}); }

// Keys that published files have and the published code does not read.
TEST(PublishedFiles, KeysWithoutInfluenceAreKnown) {
  (void)Plan(Gptj("gpt2"), {{"n_special", 0},
                            {"predict_special_tokens", true},
                            {"output_past", true},
                            {"_num_labels", 1}});
  (void)Plan(GptNeo(), {{"gradient_checkpointing", false}});
  (void)Plan(GptNeox(), {{"num_steps", "global_step301000"},
                         {"custom_pipelines", {{"text-generation", {{"impl", "x.Pipeline"}}}}}});
  const Json sizes = {{"hidden_size", 48},
                      {"num_hidden_layers", 2},
                      {"intermediate_size", 56},
                      {"num_attention_heads", 6},
                      {"vocab_size", 101}};
  const auto others = [&](const char* model_type, const Json& changes) {
    Json json = sizes;
    json["model_type"] = model_type;
    if (json["model_type"] == "falcon") json.erase("intermediate_size");
    return Plan(json, changes);
  };
  (void)others("cohere", {{"model_max_length", 131072}});
  (void)others("falcon", {{"ff_factor", 4}});
  (void)others("starcoder2", {{"num_key_value_heads", 6},
                              {"attention_softmax_in_fp32", true},
                              {"scale_attention_softmax_in_fp32", true},
                              {"scale_attn_weights", true},
                              {"layer_norm_epsilon", 1e-5}});
  (void)others(
      "stablelm",
      {{"partial_rotary_factor", 0.25}, {"norm_eps", 1e-5}, {"rotary_scaling_factor", 1.0}});
}

TEST(PublishedFiles, SizesThatFollowFromOthersMayBeThere) {
  (void)Plan(Gptj("codegen"), {{"head_dim", 96}});
  EXPECT_THAT(ErrorOf([] { Plan(Gptj("codegen"), {{"head_dim", 64}}); }), HasSubstr("head_dim"));
  (void)Plan(GptNeox(), {{"num_key_value_heads", 3}});
  EXPECT_THAT(ErrorOf([] {
                Plan(GptNeox(), {{"num_key_value_heads", 1}});
              }),
              HasSubstr("num_key_value_heads"));
}

}  // namespace
}  // namespace qualm
