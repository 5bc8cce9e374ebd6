#include "recipe/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "support/shared_data.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kFull = R"(name: everything
weights: {type: int3, granularity: group, group_size: 64, symmetric: true,
          symmetric_convention: mi_absmax, scale_type: bfloat16}
activations: none
transforms: []
rounder: {gptq: {act_order: true, damp: 0.05}}
order: {blocks: parallel, layers: sequential}
skip: [lm_head, "*.layers.0.*"]
overrides:
  - {match: "*.down_proj", weights: {type: int8, symmetric: false}}
  - {match: "*.mlp.*", weights: {granularity: channel}, rounder: rtn}
)";

std::string MessageOf(const std::string& yaml) {
  try {
    (void)ParseRecipe(yaml, "r.yaml");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    return error.what();
  }
  return "";
}

TEST(Recipe, ReadsEveryKey) {
  const Recipe recipe = ParseRecipe(kFull, "r.yaml");
  EXPECT_EQ(recipe.name, "everything");
  EXPECT_EQ(recipe.weights.bits, 3);
  EXPECT_EQ(recipe.weights.group_size, 64);
  EXPECT_EQ(recipe.weights.zero_point, ZeroPointKind::kNone);
  EXPECT_EQ(recipe.weights.symmetric_convention, SymmetricConvention::kMiAbsmax);
  EXPECT_EQ(recipe.weights.scale_type, DType::kBF16);
  EXPECT_EQ(recipe.block_order, Order::kParallel);
  EXPECT_EQ(recipe.layer_order, Order::kSequential);
  EXPECT_THAT(recipe.skip, ElementsAre("lm_head", "*.layers.0.*"));
  EXPECT_THAT(recipe.rounder->OptionsJson(), HasSubstr("\"damp\": 0.05"));
  EXPECT_TRUE(recipe.NeedsCalibration());
}

TEST(Recipe, DefaultsAreAsymmetricChannelsWithHalfScalesInSequence) {
  const Recipe recipe = ParseRecipe("weights: {bits: 5}\nrounder: rtn\n", "some/where/mine.yaml");
  EXPECT_EQ(recipe.name, "mine");
  Scheme expected;
  expected.bits = 5;
  EXPECT_EQ(recipe.weights, expected);
  EXPECT_EQ(recipe.block_order, Order::kSequential);
  EXPECT_THAT(recipe.skip, ElementsAre("lm_head"));
  EXPECT_FALSE(recipe.NeedsCalibration());
}

TEST(Recipe, AGroupSizeAloneMeansGroups) {
  const Recipe recipe = ParseRecipe("weights: {bits: 4, group_size: 32}\nrounder: rtn\n", "r");
  EXPECT_EQ(recipe.weights.granularity, Granularity::kGroup);
}

TEST(Recipe, OverridesChangeOnlyWhatTheySayAndTheLastMatchWins) {
  const Recipe recipe = ParseRecipe(kFull, "r.yaml");
  const LayerPlan attention = recipe.PlanFor("model.layers.1.self_attn.q_proj");
  EXPECT_FALSE(attention.skip);
  EXPECT_EQ(attention.scheme, recipe.weights);
  EXPECT_EQ(attention.rounder, recipe.rounder);
  const LayerPlan down = recipe.PlanFor("model.layers.1.mlp.down_proj");
  EXPECT_EQ(down.scheme.granularity, Granularity::kChannel);
  EXPECT_EQ(down.scheme.group_size, 0);
  EXPECT_EQ(down.scheme.bits, 3);
  EXPECT_EQ(down.rounder->name(), "rtn");
  const LayerPlan other = recipe.PlanFor("x.down_proj");
  EXPECT_EQ(other.scheme.bits, 8);
  EXPECT_EQ(other.scheme.group_size, 64);
  EXPECT_EQ(other.scheme.zero_point, ZeroPointKind::kInteger);
  EXPECT_EQ(other.rounder->name(), "gptq");
  EXPECT_TRUE(recipe.PlanFor("model.layers.0.mlp.up_proj").skip);
  EXPECT_TRUE(recipe.PlanFor("lm_head").skip);
}

TEST(Recipe, CanonicalJsonReadsBackAsItself) {
  for (const std::string& text :
       {std::string(kFull), std::string("weights: {bits: 2, zero_point: float, "
                                        "range_includes_zero: false}\nrounder: {rtn: {clip: "
                                        "mse}}\nskip: []\n")}) {
    const std::string json = ParseRecipe(text, "r.yaml").CanonicalJson();
    EXPECT_EQ(ParseRecipe(json, "json").CanonicalJson(), json);
    EXPECT_EQ(json.find('\n'), std::string::npos);
  }
}

TEST(Recipe, CanonicalJsonTellsDifferentRecipesApart) {
  std::set<std::string> seen;
  for (const char* text :
       {"weights: {bits: 4}\nrounder: rtn\n", "weights: {bits: 4}\nrounder: gptq\n",
        "weights: {bits: 4}\nrounder: {gptq: {damp: 0.02}}\n",
        "weights: {bits: 4, scale_type: float32}\nrounder: rtn\n",
        "weights: {bits: 4}\nrounder: rtn\norder: {layers: parallel}\n",
        "weights: {bits: 4}\nrounder: rtn\norder: {blocks: parallel}\n",
        "weights: {bits: 4}\nrounder: rtn\nskip: [a]\n",
        "weights: {bits: 4}\nrounder: rtn\noverrides: [{match: a}]\n",
        "weights: {bits: 4}\nrounder: rtn\noverrides: [{match: a, rounder: rtn}]\n"}) {
    EXPECT_TRUE(seen.insert(ParseRecipe(text, "r").CanonicalJson()).second) << text;
  }
}

TEST(Recipe, MistakesAreNamedWithTheirLine) {
  struct Case {
    const char* yaml;
    const char* message;
  };
  const std::string start = "name: x\n";
  for (
      const Case& c : std::initializer_list<Case>{
          {"wieghts: {bits: 4}\nrounder: rtn\n", "did you mean 'weights'"},
          {"rounder: rtn\n", "the key 'weights'"},
          {"weights: {bits: 4}\n", "the key 'rounder'"},
          {"rounder: rtn\nweights: {bts: 4}\n", "[r.yaml:3]"},
          {"weights: {type: int9}\nrounder: rtn\n", "did you mean 'int"},
          {"weights: {type: nf8}\nrounder: rtn\n",
           "available: int2, int3, int4, int5, int6, int7, int8, nf4"},
          {"weights: {type: int}\nrounder: rtn\n", "bits together with type int"},
          {"weights: {type: int4, bits: 3}\nrounder: rtn\n", "bits 4 with type int4; got 3"},
          {"weights: {bits: 1}\nrounder: rtn\n", "bits in 2..8; got 1"},
          {"weights: {bits: 4, group_size: 0}\nrounder: rtn\n", "group_size in 1.."},
          {"weights: {bits: 4, group_size: -128}\nrounder: rtn\n", "group_size in 1.."},
          {"weights: {bits: 4, group_size: 99999999999}\nrounder: rtn\n", "group_size in 1.."},
          {"weights: {bits: 4, granularity: group}\nrounder: rtn\n", "group_size in 1.."},
          {"weights: {bits: 4, granularity: channel, group_size: 8}\nrounder: rtn\n",
           "granularity is channel"},
          {"weights: {bits: 4, granularity: token}\nrounder: rtn\n", "for weights; got token"},
          {"weights: {bits: 4, symmetric: yes}\nrounder: rtn\n", "true or false"},
          {"weights: {bits: 4, symmetric: true, zero_point: float}\nrounder: rtn\n",
           "symmetric means zero_point: none"},
          {"weights: {bits: 4, symmetric_convention: gptq}\nrounder: rtn\n",
           "in symmetric schemes only"},
          {"weights: {bits: 4, symmetric: true, range_includes_zero: true}\nrounder: rtn\n",
           "in asymmetric schemes only"},
          {"weights: {bits: 4, scale_type: float8}\nrounder: rtn\n", "did you mean 'float16'"},
          {"weights: {bits: 4, second_level: {bits: 3}}\nrounder: rtn\n", "spqr does"},
          {"weights: {bits: 4, second_level: {bit: 3}}\nrounder: spqr\n", "did you mean 'bits'"},
          {"weights: {bits: 4}\nrounder: gtpq\n", "did you mean 'gptq'"},
          {"weights: {bits: 4}\nrounder: {gptq: {dmp: 1}}\n", "did you mean 'damp'"},
          {"weights: {bits: 4}\nrounder: {gptq: {}, rtn: {}}\n", "one rounder"},
          {"weights: {bits: 4}\nrounder: rtn\nactivations: int9\n", "weight type"},
          {"weights: {bits: 4}\nrounder: rtn\nactivations: {typ: int8}\n", "did you mean 'type'"},
          {"weights: {bits: 4}\nrounder: rtn\nactivations: {granularity: channel}\n",
           "granularity token, group or tensor"},
          {"weights: {bits: 4}\nrounder: rtn\nactivations: {range: mse}\n",
           "a static range with granularity: tensor only"},
          {"weights: {bits: 4}\nrounder: rtn\nactivations: {granularity: tensor, percentile: 99}\n",
           "percentile with range: percentile"},
          {"weights: {bits: 4}\nrounder: rtn\nactivations: {granularity: tensor, range: mes}\n",
           "did you mean 'mse'"},
          {"weights: {bits: 4}\nrounder: rtn\nkv_cache: {granularity: channels}\n",
           "did you mean 'channel'"},
          {"weights: {bits: 4}\nrounder: rtn\nkv_cache: {keys: int8}\n", "the key 'values'"},
          {"weights: {bits: 4}\nrounder: rtn\nkv_cache: {granularity: channel}\n",
           "values per token or head"},
          {"weights: {bits: 4}\nrounder: rtn\ntransforms: [awk]\n", "did you mean 'awq'"},
          {"weights: {bits: 4}\nrounder: rtn\ntransforms: [{awq: {grdi: 2}}]\n",
           "did you mean 'grid'"},
          {"weights: {bits: 4}\nrounder: rtn\ntransforms: [{smoothquant: {alpha: 2}}]\n",
           "alpha in 0..1"},
          {"weights: {bits: 4}\nrounder: rtn\ntransforms: [{awq: {}, smoothquant: {}}]\n",
           "one transform"},
          {"weights: {bits: 4}\nrounder: rtn\norder: {block: parallel}\n", "did you mean 'blocks'"},
          {"weights: {bits: 4}\nrounder: rtn\norder: {blocks: paralel}\n",
           "did you mean 'parallel'"},
          {"weights: {bits: 4}\nrounder: rtn\nskip: lm_head\n", "a list"},
          {"weights: {bits: 4}\nrounder: rtn\noverrides: [{weights: {bits: 8}}]\n",
           "the key 'match'"},
          {"weights: {bits: 4}\nrounder: rtn\noverrides: [{match: a, weight: {}}]\n",
           "did you mean 'weights'"},
          {"weights: {bits: 4}\nrounder: rtn\nname: y\n", "again"}}) {
    EXPECT_THAT(MessageOf(start + c.yaml), HasSubstr(c.message)) << c.yaml;
    EXPECT_THAT(MessageOf(start + c.yaml), HasSubstr("[r.yaml:")) << c.yaml;
  }
  EXPECT_THAT(MessageOf(""), HasSubstr("a map"));
}

TEST(Recipe, BuiltInNamesFollowTheGrammar) {
  const std::vector<std::string> names = RecipeNames();
  EXPECT_EQ(names.size(),
            6u * 4 * 2 * (2 + 1) + 2 * 6 + 4 * 3 + 2 * 3 * 3 + 13 + 6 + 3 * 4 + 2 * 5);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  for (const std::string& name : names) {
    const Recipe recipe = FindRecipe(name);
    EXPECT_EQ(recipe.name, name);
    EXPECT_EQ(recipe.weights.scale_type, DType::kF16);
    const bool reads_data = recipe.rounder->needs_data() ||
                            (!recipe.transforms.empty() && recipe.transforms[0]->needs_data());
    EXPECT_EQ(recipe.NeedsCalibration(), reads_data) << name;
    EXPECT_FALSE(RecipeSummary(name).empty());
    if (recipe.weights.type == NumberType::kInteger && !recipe.activations) {
      const bool says_so = name.find("-sym") != std::string::npos || name.starts_with("easyquant");
      EXPECT_EQ(says_so, recipe.weights.is_symmetric());
      EXPECT_THAT(RecipeSummary(name), HasSubstr("bits"));
    }
    EXPECT_EQ(ParseRecipe(recipe.CanonicalJson(), "json").CanonicalJson(), recipe.CanonicalJson());
  }
}

TEST(Recipe, ActivationsAndCachesAreReadAndWrittenTheSame) {
  const std::string start = "weights: {bits: 4}\nrounder: rtn\n";
  for (const char* text :
       {"activations: int8\n", "activations: {type: fp8_e4m3, skip: ['*.down_proj']}\n",
        "activations: {type: int6, granularity: group, group_size: 32, symmetric: false}\n",
        "activations: {type: int8, granularity: tensor, range: percentile, percentile: 99.9}\n",
        "activations: mxfp4\n", "kv_cache: int8\n",
        "kv_cache: {type: int4, granularity: token, symmetric: true}\n",
        "kv_cache: {keys: {type: int2, granularity: channel}, values: nf4}\n",
        "overrides: [{match: '*.down_proj', activations: none}]\nactivations: int8\n"}) {
    const Recipe recipe = ParseRecipe(start + text, "test");
    EXPECT_EQ(ParseRecipe(recipe.CanonicalJson(), "json").CanonicalJson(), recipe.CanonicalJson())
        << text;
  }
  const Recipe recipe = ParseRecipe(
      start + "kv_cache: {keys: {type: int2, granularity: channel}, values: nf4}\n", "test");
  EXPECT_EQ(recipe.kv_cache->ShortName(), "k:int2-channel32-asym v:nf4-head");
  EXPECT_FALSE(recipe.NeedsCalibration());
  EXPECT_TRUE(
      ParseRecipe(start + "activations: {granularity: tensor}\n", "test").NeedsCalibration());
}

TEST(Recipe, AnOverrideMayLeaveInputsFloat) {
  const Recipe recipe = ParseRecipe(
      "weights: {bits: 8}\nrounder: rtn\nactivations: {type: int8, skip: ['*.o_proj']}\n"
      "overrides: [{match: '*.down_proj', activations: int4}, {match: '*.up_proj', activations: "
      "none}]\n",
      "test");
  EXPECT_EQ(recipe.PlanFor("x.q_proj").activations->scheme.bits, 8);
  EXPECT_FALSE(recipe.PlanFor("x.o_proj").activations.has_value());
  EXPECT_EQ(recipe.PlanFor("x.down_proj").activations->scheme.bits, 4);
  EXPECT_FALSE(recipe.PlanFor("x.up_proj").activations.has_value());
}

TEST(Recipe, BuiltInGptqByActivationUsesStaticGroups) {
  const Recipe recipe = FindRecipe("gptq-w4-g128-sym-act");
  EXPECT_EQ(recipe.weights.ShortName(), "int4-g128-sym");
  EXPECT_THAT(recipe.rounder->OptionsJson(),
              HasSubstr(R"("act_order": true, "static_groups": true)"));
  EXPECT_THAT(FindRecipe("gptq-w3-channel").rounder->OptionsJson(),
              HasSubstr(R"("act_order": false)"));
  EXPECT_EQ(FindRecipe("rtn-w2-g32").weights.ShortName(), "int2-g32-asym");
}

TEST(Recipe, UnknownRecipesAreAnsweredWithTheNearest) {
  try {
    (void)FindRecipe("gtpq-w4-g128");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'gptq-w4-g128'"));
    EXPECT_THAT(error.what(), HasSubstr("{gptq,rtn}-w{2,3,4,5,6,8}"));
  }
  EXPECT_THROW(FindRecipe("rtn-w4-g128-act"), Error);
  EXPECT_THROW(FindRecipe("no/such/file.yaml"), Error);
  EXPECT_THROW(FindRecipe(""), Error);
}

TEST(Recipe, TheFileWithEveryKeySpellsOutTheDefaults) {
  Recipe file =
      FindRecipe((testing::SourceRoot() / "recipes" / "gptq-w4-g128-every-key.yaml").string());
  file.name = "gptq-w4-g128";
  EXPECT_EQ(file.CanonicalJson(), FindRecipe("gptq-w4-g128").CanonicalJson());
}

TEST(Recipe, TheFilesInRecipesAreValidAndNamedAfterTheirRecipe) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(testing::SourceRoot() / "recipes")) {
    const Recipe recipe = FindRecipe(entry.path().string());
    EXPECT_EQ(recipe.name, entry.path().stem().string());
    ++count;
  }
  EXPECT_GT(count, 0u);
}

TEST(Recipe, NumberFormatsBringTheirBitsAndGroups) {
  const auto weights = [](const std::string& text) {
    return ParseRecipe(StrCat("weights: {", text, "}\nrounder: rtn\n"), "r.yaml").weights;
  };
  EXPECT_EQ(weights("type: mxfp4").group_size, 32);
  EXPECT_EQ(weights("type: nvfp4").group_size, 16);
  EXPECT_EQ(weights("type: nf4").group_size, 64);
  EXPECT_EQ(weights("type: nf4, group_size: 128").group_size, 128);
  EXPECT_EQ(weights("type: fp8_e4m3").granularity, Granularity::kChannel);
  EXPECT_EQ(weights("type: fp8_e5m2, granularity: tensor").bits, 8);
  for (const char* bad :
       {"type: mxfp4, group_size: 16", "type: nvfp4, granularity: channel",
        "type: nf4, symmetric: false", "type: fp8_e4m3, bits: 4",
        "type: nf4, symmetric_convention: signed", "type: nf4, range_includes_zero: true",
        "type: fp8_e4m4", "type: mxfp4, scale_type: float32"}) {
    EXPECT_THROW(weights(bad), Error) << bad;
  }
  // An override back to integers keeps nothing of the format.
  const Recipe mixed = ParseRecipe(
      "weights: {type: mxfp4}\nrounder: rtn\noverrides: [{match: '*', weights: {type: int8}}]\n",
      "r.yaml");
  EXPECT_EQ(mixed.PlanFor("x").scheme.type, NumberType::kInteger);
  EXPECT_EQ(mixed.PlanFor("x").scheme.granularity, Granularity::kChannel);
}

}  // namespace
}  // namespace qualm
