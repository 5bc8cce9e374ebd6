// Every method, number format, order and kind of rounded input on the embedded demo model, and some
// of them on the tiny checkpoints of every family: the bytes of each file that a run writes and the
// bits of the logits that the result computes, against the tables in tests/baseline/. How a table
// is rewritten, and what its values depend on, is said in support/pinned_table.h.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "data/corpus.h"
#include "io/hash.h"
#include "model/model.h"
#include "quantize/run.h"
#include "quantize/stress.h"
#include "support/logits_hash.h"
#include "support/pinned_table.h"
#include "support/random_calibration.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"
#include "support/test_context.h"
#include "tokenize/tokenizer.h"

namespace qualm {
namespace {

using testing::CachedHash;
using testing::PinnedTable;
using testing::PrefillHash;
using testing::RandomCalibration;
using testing::RandomTokens;

// A recipe without its name: its line of weights, and all others.
struct Case {
  const char* name;
  const char* weights;
  const char* others;
};

// Weights that several cases share.
constexpr const char* kInt4Groups = "type: int4, group_size: 64";
constexpr const char* kInt4Channels =
    "type: int4, granularity: channel, symmetric: true, symmetric_convention: signed";
constexpr const char* kFloatZeros =
    "type: int3, group_size: 64, zero_point: float, range_includes_zero: false";
constexpr const char* kOneGrid =
    "type: int3, granularity: tensor, zero_point: float, range_includes_zero: false";
constexpr const char* kTwoLevels =
    "type: int3, group_size: 16, zero_point: float, range_includes_zero: false, "
    "second_level: {bits: 3, group_rows: 16}";

// Each rounder with its defaults, and with options that take other paths.
constexpr Case kRounders[] = {
    {"rtn", kInt4Groups, "rounder: rtn\n"},
    {"rtn-mse", kInt4Channels, "rounder: {rtn: {clip: mse}}\n"},
    {"gptq", kInt4Groups, "rounder: gptq\n"},
    {"gptq-act-order", kInt4Groups, "rounder: {gptq: {act_order: true}}\n"},
    {"gptq-act-order-moving-groups", kInt4Groups,
     "rounder: {gptq: {act_order: true, static_groups: false}}\n"},
    {"gptq-reference-scales", kInt4Groups,
     "rounder: {gptq: {reference_group_scales: true, damp: 0.05, block: 32}}\n"},
    {"gptq-mse-gram64", kInt4Channels, "rounder: {gptq: {mse: true, gram64: true}}\n"},
    {"hqq", kFloatZeros, "rounder: hqq\n"},
    {"hqq-shrinking", kFloatZeros,
     "rounder: {hqq: {iterations: 3, lp_norm: 0.5, beta: 2000, kappa: 1.2}}\n"},
    {"llm_int8", kInt4Channels,
     "activations: int8\n"
     "rounder: {llm_int8: {threshold: 3}}\n"},
    {"owq", kInt4Groups, "rounder: owq\n"},
    {"owq-columns", kInt4Channels, "rounder: {owq: {columns: 5, act_order: true}}\n"},
    {"quip", kOneGrid, "rounder: quip\n"},
    {"quip-hadamard", kOneGrid, "rounder: {quip: {rotation: hadamard, greedy_passes: 2}}\n"},
    {"quip-clamp-first", kOneGrid,
     "rounder: {quip: {clamp_first: true, rescale: false, incoherence: false}}\n"},
    {"slim", "type: int3, group_size: 64", "rounder: {slim: {range_steps: 8}}\n"},
    {"slim-2-bits", "type: int2, group_size: 64, zero_point: float",
     "rounder: {slim: {lambda: 2, range_steps: 4}}\n"},
    {"spqr", kTwoLevels, "rounder: spqr\n"},
    {"spqr-column-order", kTwoLevels,
     "rounder: {spqr: {act_order: false, outlier_threshold: 0.1}}\n"},
    {"easyquant", kInt4Channels, "rounder: {easyquant: {steps: 20}}\n"},
    {"easyquant-channels", kInt4Channels,
     "rounder: {easyquant: {steps: 5, statistics: channel, outlier_sigma: 2}}\n"},
};

constexpr Case kTransforms[] = {
    {"smoothquant", kInt4Channels,
     "activations: int8\n"
     "transforms: [smoothquant]\n"
     "rounder: rtn\n"},
    {"smoothquant-online", kInt4Channels,
     "activations: int8\n"
     "transforms: [{smoothquant: {alpha: 0.8, fold: false}}]\n"
     "rounder: rtn\n"},
    {"awq", kInt4Groups,
     "transforms: [{awq: {grid: 5}}]\n"
     "rounder: rtn\n"},
    {"awq-layers", kInt4Groups,
     "transforms: [{awq: {grid: 4, loss: layers, scale: activation_over_weight, fold: false, "
     "scale_unfoldable: true, clip_scores: true, clip_range: asymmetric, clip_loss: "
     "first_token}}]\n"
     "rounder: rtn\n"},
    {"awq-gptq", kInt4Groups,
     "transforms: [{awq: {grid: 4, clip: false}}]\n"
     "rounder: {gptq: {act_order: true}}\n"},
    {"os_plus", kInt4Channels,
     "activations: int8\n"
     "transforms: [os_plus]\n"
     "rounder: rtn\n"},
    {"os_plus-online", kInt4Channels,
     "activations: int6\n"
     "transforms: [{os_plus: {grid: 7, fold: false}}]\n"
     "rounder: rtn\n"},
    {"quarot", kInt4Channels,
     "activations: int4\n"
     "transforms: [quarot]\n"
     "rounder: rtn\n"},
    {"quarot-heads-only", kInt4Channels,
     "transforms: [{quarot: {residual: false, online: false, seed: 7}}]\n"
     "rounder: rtn\n"},
    {"quarot-gptq-cache", kInt4Channels,
     "activations: int4\n"
     "kv_cache: int4\n"
     "transforms: [quarot]\n"
     "rounder: {gptq: {act_order: true}}\n"},
    {"quarot-smoothquant-awq", kInt4Groups,
     "transforms: [quarot, smoothquant, {awq: {grid: 3, clip: false}}]\n"
     "rounder: rtn\n"},
};

constexpr Case kFormats[] = {
    {"nf4", "type: nf4, group_size: 64", "rounder: rtn\n"},
    {"nf4-gptq", "type: nf4, granularity: channel", "rounder: gptq\n"},
    {"fp8-e4m3", "type: fp8_e4m3, granularity: channel", "rounder: rtn\n"},
    {"fp8-e4m3-ieee", "type: fp8_e4m3_ieee, granularity: tensor", "rounder: rtn\n"},
    {"fp8-e5m2", "type: fp8_e5m2, granularity: channel, scale_type: float32",
     "activations: fp8_e5m2\n"
     "rounder: rtn\n"},
    {"mxfp4", "type: mxfp4",
     "activations: mxfp4\n"
     "rounder: rtn\n"},
    {"nvfp4", "type: nvfp4", "rounder: rtn\n"},
    {"nvfp4-gptq", "type: nvfp4",
     "activations: int8\n"
     "rounder: gptq\n"},
    {"int2-tensor", "type: int2, granularity: tensor", "rounder: rtn\n"},
    {"int5-signed",
     "type: int5, granularity: tensor, symmetric: true, symmetric_convention: signed",
     "rounder: rtn\n"},
    {"int6-absmax",
     "type: int6, group_size: 96, symmetric: true, symmetric_convention: mi_absmax, scale_type: "
     "bfloat16",
     "rounder: rtn\n"},
    {"int7-gptq-convention", "type: int7, group_size: 32, symmetric: true, scale_type: float32",
     "rounder: gptq\n"},
    {"int8-float-zeros",
     "type: int8, granularity: channel, zero_point: float, range_includes_zero: false",
     "rounder: rtn\n"},
    {"activations-static", kInt4Channels,
     "activations: {type: int8, granularity: tensor}\n"
     "rounder: rtn\n"},
    {"activations-percentile", kInt4Channels,
     "activations: {type: int8, granularity: tensor, range: percentile, percentile: 99, symmetric: "
     "false}\n"
     "rounder: rtn\n"},
    {"activations-mse", kInt4Channels,
     "activations: {type: int6, granularity: tensor, range: mse, skip: ['*.down_proj']}\n"
     "rounder: rtn\n"},
    {"activations-groups", kInt4Groups,
     "activations: {type: int4, group_size: 64, symmetric: false}\n"
     "rounder: rtn\n"},
    {"activations-tokens", kInt4Groups,
     "activations: {type: int8, granularity: token, symmetric: false}\n"
     "rounder: rtn\n"},
    {"cache-heads", kInt4Groups,
     "kv_cache: int8\n"
     "rounder: rtn\n"},
    {"cache-tokens", kInt4Groups,
     "kv_cache: {type: int4, granularity: token, symmetric: true}\n"
     "rounder: rtn\n"},
    {"cache-fp8", kInt4Groups,
     "kv_cache: fp8_e4m3\n"
     "rounder: rtn\n"},
    {"cache-channels", kInt4Groups,
     "kv_cache: {keys: {type: int2, granularity: channel, group_tokens: 16}, values: {type: "
     "int3}}\n"
     "rounder: rtn\n"},
};

constexpr Case kOrders[] = {
    {"blocks-and-layers-in-turn", kInt4Groups,
     "rounder: {gptq: {act_order: true, static_groups: false}}\n"
     "order: {blocks: sequential, layers: sequential}\n"},
    {"blocks-in-turn", kInt4Groups,
     "rounder: {gptq: {act_order: true, static_groups: false}}\n"
     "order: {blocks: sequential, layers: parallel}\n"},
    {"awq-in-turn", kInt4Groups,
     "transforms: [{awq: {grid: 3}}]\n"
     "activations: int8\n"
     "order: {blocks: sequential, layers: parallel}\n"
     "rounder: gptq\n"},
    {"allocation", "type: int4, group_size: 64",
     "allocate: {target_bits: 3.5, choices: [2, 3, 4, 6]}\n"
     "rounder: {gptq: {act_order: true}}\n"},
    {"overrides", kInt4Groups,
     "activations: int8\n"
     "rounder: gptq\n"
     "skip: [lm_head, '*.0.self_attn.k_proj']\n"
     "overrides:\n"
     "  - {match: '*.down_proj', weights: {type: int8, granularity: channel}, rounder: rtn, "
     "activations: none}\n"
     "  - {match: '*.1.mlp.up_proj', weights: {bits: 2}}\n"},
    // All that follow share one pass of the hidden states.
    {"layers-in-turn", kInt4Groups,
     "rounder: {gptq: {act_order: true, static_groups: false}}\n"
     "order: {blocks: parallel, layers: sequential}\n"},
    {"all-at-once", kInt4Groups,
     "rounder: {gptq: {act_order: true, static_groups: false}}\n"
     "order: {blocks: parallel, layers: parallel}\n"},
    {"awq-at-once", kInt4Groups,
     "transforms: [{awq: {grid: 3}}]\n"
     "rounder: gptq\n"
     "order: {blocks: parallel, layers: parallel}\n"},
    {"static-range-at-once", kInt4Channels,
     "activations: {type: int8, granularity: tensor}\n"
     "rounder: rtn\n"
     "order: {blocks: parallel, layers: parallel}\n"},
    {"spqr-at-once", kTwoLevels,
     "rounder: spqr\n"
     "order: {blocks: parallel, layers: parallel}\n"},
    {"allocation-at-once", kInt4Groups,
     "allocate: {target_bits: 3}\n"
     "rounder: gptq\n"
     "order: {blocks: parallel, layers: parallel}\n"},
};

std::filesystem::path DemoModel() { return testing::SourceRoot() / "demo/model"; }

CalibrationSet DemoCalibration() {
  SamplerOptions sampler;
  sampler.samples = 3;
  sampler.length = 80;
  sampler.held_out = 1;
  return SampleCalibration(LoadCorpus(testing::SourceRoot() / "demo/text/stories.calib.txt"),
                           *LoadTokenizer(DemoModel()), sampler);
}

Recipe RecipeOf(const Case& one) {
  return ParseRecipe(StrCat("name: ", one.name, "\nweights: {", one.weights, "}\n", one.others),
                     one.name);
}

QuantizeOptions OptionsOf(const Case& one, const std::filesystem::path& model,
                          const CalibrationSet& calibration, const std::filesystem::path& out) {
  QuantizeOptions options;
  options.model = model;
  options.out = out;
  options.recipe = RecipeOf(one);
  options.calibration = calibration;
  options.seed = 3;
  options.qualm_version = testing::kBaselineVersion;
  return options;
}

bool IsCopy(const std::filesystem::path& file, const std::filesystem::path& source) {
  const std::filesystem::path original = source / file.filename();
  return std::filesystem::exists(original) && ReadFile(original) == ReadFile(file);
}

// A row for each file but times and copies of the source's files, in the order of their names.
void CheckFiles(const std::string& name, const std::filesystem::path& folder,
                const std::filesystem::path& source, PinnedTable& table) {
  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.insert(entry.path());
  for (const std::filesystem::path& file : files) {
    if (file.filename() == "timings.json" || IsCopy(file, source)) continue;
    table.Check(StrCat(name, "/", file.filename().string()), HashFile(file));
  }
}

// A row for the bits of what a folder computes, at once and from the cache.
void CheckLogits(const std::string& name, const std::filesystem::path& folder,
                 const Context& context, PinnedTable& table) {
  const Model model = LoadModel(folder, {}, context);
  const std::vector<TokenId> ids = RandomTokens(24, model.decoder->plan.vocab_size(), 11);
  table.Check(StrCat(name, "/logits"), PrefillHash(*model.decoder, ids, context));
  table.Check(StrCat(name, "/logits"), CachedHash(*model.decoder, ids, context));
}

// Quantizes the demo model with all cases in one call; those that can share a pass do.
void CheckOnDemoModel(std::span<const Case> cases, PinnedTable& table) {
  const testing::TemporaryFolder folder;
  const CalibrationSet calibration = DemoCalibration();
  std::vector<QuantizeOptions> all;
  for (const Case& one : cases) {
    all.push_back(OptionsOf(one, DemoModel(), calibration, folder / one.name));
  }
  testing::TestContext context(2);
  QuantizeModels(all, context);
  for (const QuantizeOptions& options : all) {
    CheckFiles(options.recipe.name, options.out, DemoModel(), table);
    CheckLogits(options.recipe.name, options.out, context, table);
  }
}

TEST(BaselineQuantize, EveryRounder) {
  QUALM_PIN_OR_SKIP();
  std::set<std::string_view> covered;
  for (const Case& one : kRounders) {
    covered.insert(RecipeOf(one).rounder->name());
  }
  for (const RounderEntry& entry : AllRounders()) {
    EXPECT_TRUE(covered.contains(entry.name)) << "no case has the rounder " << entry.name;
  }
  PinnedTable table("rounders.txt");
  CheckOnDemoModel(kRounders, table);
  table.Finish();
}

TEST(BaselineQuantize, EveryTransform) {
  QUALM_PIN_OR_SKIP();
  std::set<std::string_view> covered;
  for (const Case& one : kTransforms) {
    const Recipe recipe = RecipeOf(one);
    for (const auto& transform : recipe.transforms) covered.insert(transform->name());
  }
  for (const TransformEntry& entry : AllTransforms()) {
    EXPECT_TRUE(covered.contains(entry.name)) << "no case has the transform " << entry.name;
  }
  PinnedTable table("transforms.txt");
  CheckOnDemoModel(kTransforms, table);
  table.Finish();
}

TEST(BaselineQuantize, EveryNumberFormatOfWeightsInputsAndCaches) {
  QUALM_PIN_OR_SKIP();
  PinnedTable table("formats.txt");
  CheckOnDemoModel(kFormats, table);
  table.Finish();
}

TEST(BaselineQuantize, EveryOrderAloneAndInOnePass) {
  QUALM_PIN_OR_SKIP();
  PinnedTable table("orders.txt");
  CheckOnDemoModel(kOrders, table);
  // By itself, one of those that share a pass has the same rows.
  const Case* alone = std::ranges::find(kOrders, std::string_view("spqr-at-once"), &Case::name);
  CheckOnDemoModel({alone, 1}, table);
  table.Finish();
}

TEST(BaselineQuantize, EveryBuiltInRecipeIsTheSameText) {
  PinnedTable table("recipes.txt");
  for (const std::string& name : RecipeNames()) {
    table.Check(name, HashBytes(FindRecipe(name).CanonicalJson()));
  }
  table.Finish();
}

TEST(BaselineQuantize, AStressedModelHasTheSameBytes) {
  QUALM_PIN_OR_SKIP();
  const testing::TemporaryFolder folder;
  testing::TestContext context(2);
  PinnedTable table("stress.txt");
  for (const double factor : {32.0, 5.0}) {
    const std::string name = StrCat("factor-", factor);
    MakeStressModel({DemoModel(), folder / name, 3, factor, 5}, context);
    CheckFiles(name, folder / name, DemoModel(), table);
  }
  table.Finish();
}

// Groups and rotations that fit the tiny checkpoints: their widths are 32 to 64.
constexpr Case kFamilyCases[] = {
    {"gptq", "type: int4, group_size: 16",
     "rounder: {gptq: {act_order: true, static_groups: false}}\n"},
    {"awq-smoothquant", "type: int4, group_size: 16",
     "activations: int8\n"
     "transforms: [smoothquant, {awq: {grid: 3}}]\n"
     "rounder: rtn\n"},
    {"os_plus", kInt4Channels,
     "activations: int8\n"
     "transforms: [os_plus]\n"
     "rounder: rtn\n"},
    {"quarot", kInt4Channels,
     "activations: int4\n"
     "kv_cache: int4\n"
     "transforms: [quarot]\n"
     "rounder: gptq\n"},
    {"spqr-at-once", kTwoLevels,
     "rounder: spqr\n"
     "order: {blocks: parallel, layers: parallel}\n"},
};

TEST(BaselineQuantize, EveryFamily) {
  QUALM_PIN_OR_SKIP();
  QUALM_SHARED_OR_SKIP(families, "golden/families");
  std::set<std::filesystem::path> models;
  for (const auto& entry : std::filesystem::directory_iterator(families)) {
    if (entry.is_directory()) models.insert(entry.path());
  }

  const testing::TemporaryFolder folder;
  testing::TestContext context(2);
  PinnedTable table("families.txt");
  for (const std::filesystem::path& model : models) {
    const std::string family = model.filename().string();
    const CalibrationSet calibration = RandomCalibration(ReadModelPlan(model).vocab_size(), 4);
    for (const Case& one : kFamilyCases) {
      const std::string name = StrCat(family, "/", one.name);
      const std::filesystem::path out = folder / StrCat(family, "-", one.name);
      QuantizeModel(OptionsOf(one, model, calibration, out), context);
      CheckFiles(name, out, model, table);
      CheckLogits(name, out, context, table);
    }
  }
  table.Finish();
}

}  // namespace
}  // namespace qualm
