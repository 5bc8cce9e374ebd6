// A family that no file of src/ knows goes through everything: quantization with every method,
// verification, evaluation, the plan, the roofline, stress models, and a run that is taken up
// again. Its tensors have other names, its blocks differ by their index, and one of them
// runs its branches in parallel.
#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "artefact/store.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"
#include "efficiency/roofline.h"
#include "evaluate/perplexity.h"
#include "methods/rounders.h"
#include "methods/transforms.h"
#include "model/family.h"
#include "model/model.h"
#include "quantize/plan.h"
#include "quantize/run.h"
#include "quantize/stress.h"
#include "quantize/verify.h"
#include "support/errors.h"
#include "support/reference_decoder.h"
#include "support/temporary_folder.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;

constexpr size_t kHidden = 64, kVocab = 96, kHeadDim = 16;

AttentionPlan Attention(size_t heads, size_t kv_heads, size_t window) {
  AttentionPlan plan;
  plan.heads = heads;
  plan.kv_heads = kv_heads;
  plan.head_dim = kHeadDim;
  plan.rotary = RotaryPlan{8, RotaryLayout::kInterleaved, 5000, {}};
  plan.window = window;
  plan.scale = 0.2f;
  plan.query = {"mix.ask", SiteRole::kQuery, heads * kHeadDim, kHidden};
  plan.key = {"mix.offer", SiteRole::kKey, kv_heads * kHeadDim, kHidden};
  plan.value = {"mix.give", SiteRole::kValue, kv_heads * kHeadDim, kHidden, true};
  plan.output = {"mix.back", SiteRole::kAttentionOutput, kHidden, heads * kHeadDim, true};
  return plan;
}

MlpPlan Mlp(size_t width, bool is_gated) {
  MlpPlan plan;
  plan.activation = is_gated ? Activation::kSilu : Activation::kGeluErf;
  if (is_gated) plan.gate = LinearSite{"think.gate", SiteRole::kGate, width, kHidden};
  plan.up = {"think.wide", SiteRole::kUp, width, kHidden, true};
  plan.down = {"think.narrow", SiteRole::kDown, kHidden, width};
  return plan;
}

// Block 0: attention, then a gated MLP. Block 1: both at once on one norm. Block 2: both at once on
// two norms, with grouped queries and a window.
BlockPlan Block(size_t index) {
  const NormParameters rms{.kind = NormKind::kRms, .eps = 1e-4, .weight_offset = 0.5f};
  const NormPlan first{"norm_a", kHidden, rms}, second{"norm_b", kHidden, rms};
  BlockPlan block;
  block.branches.resize(2);
  block.branches[0].norm = first;
  block.branches[0].part = Attention(4, index == 2 ? 2 : 4, index == 2 ? 5 : 0);
  block.branches[1].norm = index == 1 ? first : second;
  block.branches[1].part = Mlp(index == 1 ? 96 : 128, /*is_gated=*/index != 1);
  block.branches[1].is_parallel = index > 0;
  return block;
}

// What a test does to the plan that the family makes.
void (*edit_plan)(ModelPlan&) = nullptr;

ModelPlan MakePlan(const ConfigReader& config) {
  ModelPlan plan;
  plan.hidden_size = kHidden;
  plan.context = config.Size("positions");
  plan.block_prefix = "tower.floor_";
  plan.embedding = {"tower.door", kVocab, kHidden, 2.0f};
  plan.final_norm = NormPlan{"tower.roof", kHidden, {.kind = NormKind::kRms, .eps = 1e-4}};
  plan.head = {"tower.view", SiteRole::kHead, kVocab, kHidden, true};
  plan.logit_soft_cap = 20;
  for (size_t b = 0; b < 3; ++b) plan.blocks.push_back(Block(b));
  if (edit_plan != nullptr) edit_plan(plan);
  return plan;
}

constexpr Family kTower{"tower", MakePlan};
constexpr const Family* kFamilies[] = {&kTower};

// A checkpoint with random tensors of the plan.
void WriteCheckpoint(const std::filesystem::path& folder) {
  const Json config = {{"model_type", "tower"}, {"positions", 128}};
  WriteJsonFile(folder / "config.json", config);
  const ModelPlan plan = ParseModelPlan(config, "test");
  Rng rng(5);
  TensorBatch batch;
  const auto add = [&](const std::string& name, std::vector<size_t> shape, double mean,
                       double deviation) {
    size_t count = 1;
    for (const size_t extent : shape) count *= extent;
    std::vector<float> values(count);
    for (float& v : values) v = static_cast<float>(mean + deviation * rng.Normal());
    batch.AddFloats(name, DType::kF32, shape, values);
  };
  const auto add_site = [&](const std::string& name, const LinearSite& site) {
    add(name + ".weight", {site.out, site.in}, 0, 1 / std::sqrt(static_cast<double>(site.in)));
    if (site.requires_bias) add(name + ".bias", {site.out}, 0, 0.1);
  };

  add(plan.embedding.name + ".weight", {kVocab, kHidden}, 0, 1);
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    for (const NormPlan& norm : NormsOf(plan.blocks[b])) {
      add(plan.NameIn(b, norm.name) + ".weight", {kHidden}, 0.5, 0.2);
    }
    for (const LinearSite& site : SitesOf(plan.blocks[b])) {
      add_site(plan.NameIn(b, site.name), site);
    }
  }
  add(plan.final_norm->name + ".weight", {kHidden}, 1, 0.2);
  add_site(plan.head.name, plan.head);
  WriteSafetensors(folder / "model.safetensors", batch.tensors());
}

std::vector<TokenId> Text(size_t count, uint64_t seed) {
  Rng rng(seed);
  std::vector<TokenId> ids(count);
  for (TokenId& id : ids) id = static_cast<TokenId>(rng.Below(kVocab));
  return ids;
}

class ForeignFamily : public ::testing::Test {
 protected:
  ForeignFamily() {
    std::filesystem::create_directory(folder_ / "model");
    WriteCheckpoint(folder_ / "model");
  }

  // Tests edit the plan under the files: a tensor that it no longer needs is no mistake here.
  static ModelSource SourceAt(const std::filesystem::path& folder) {
    ModelSource source(folder);
    source.ignored_tensors = {"."};
    return source;
  }

  QuantizeOptions Options(const std::string& recipe, const std::string& out) const {
    QuantizeOptions options;
    options.model = SourceAt(folder_ / "model");
    options.out = folder_ / out;
    options.recipe = ParseRecipe(recipe, "test");
    CalibrationSet set;
    set.corpus = "random tokens";
    set.length = 48;
    for (uint64_t i = 0; i < 6; ++i) set.sequences.push_back(Text(set.length, 100 + i));
    for (uint64_t i = 0; i < 2; ++i) set.held_out.push_back(Text(set.length, 200 + i));
    options.calibration = set;
    options.qualm_version = "test";
    return options;
  }

  Manifest Quantize(const QuantizeOptions& options) {
    return QuantizeModel(options, context_).manifest;
  }

  Matrix Logits(const std::filesystem::path& model_folder) {
    const Model model = LoadModel(SourceAt(model_folder), {}, context_);
    return LogitsOf(*model.decoder, Text(40, 1), 40);
  }

  Matrix LogitsOf(const Decoder& decoder, const std::vector<TokenId>& ids, size_t step) {
    KvCache cache = decoder.MakeCache(ids.size());
    Matrix logits(ids.size(), kVocab);
    for (size_t first = 0; first < ids.size(); first += step) {
      const size_t count = std::min(step, ids.size() - first);
      const std::span<const TokenId> piece(ids.data() + first, count);
      const Matrix hidden = decoder.Forward(std::vector<SequenceSlice>{{&cache, piece}}, context_);
      decoder.Logits(hidden, logits.view().Rows(first, count), context_);
    }
    return logits;
  }

  static double LargestDifference(const Matrix& a, const Matrix& b) {
    double largest = 0;
    for (size_t r = 0; r < a.rows(); ++r) {
      for (size_t c = 0; c < a.cols(); ++c) {
        largest = std::max(largest, std::abs(double{a(r, c)} - b(r, c)));
      }
    }
    return largest;
  }

  void ExpectVerified(const std::string& out) {
    const VerifyReport report =
        VerifyArtefact(folder_ / out, SourceAt(folder_ / "model"), context_);
    EXPECT_TRUE(report.passed()) << out << ": " << (report.passed() ? "" : report.problems[0]);
    EXPECT_GT(report.layers, 0u);
  }

  ScopedFamilies families_{kFamilies};
  testing::TemporaryFolder folder_;
  testing::TestContext context_{2};
};

TEST_F(ForeignFamily, IsTheOnlyOneWhileItIsInPlace) {
  EXPECT_EQ(FamilyNames(), std::vector<std::string>{"tower"});
}

TEST_F(ForeignFamily, RunsAsItsPlanSays) {
  const Model model = LoadModel(folder_ / "model", {}, context_);
  const std::vector<TokenId> ids = Text(40, 1);
  const Matrix prefill = LogitsOf(*model.decoder, ids, ids.size());
  const auto expected = testing::ReferenceDecoder<double>(*model.checkpoint).Logits(ids);
  // Float32 against double over three small blocks: the tolerance of the families' goldens.
  for (size_t t = 0; t < ids.size(); ++t) {
    for (size_t v = 0; v < kVocab; ++v) EXPECT_NEAR(prefill(t, v), expected[t][v], 1e-4);
  }
  EXPECT_EQ(LargestDifference(prefill, LogitsOf(*model.decoder, ids, 1)), 0);
  EXPECT_EQ(LargestDifference(prefill, LogitsOf(*model.decoder, ids, 7)), 0);
}

// What a test does to a field, and what must come of it: other logits, or a refusal whose message
// has `refused_by`.
struct FieldEdit {
  const char* field;
  const char* refused_by;  // null: obeyed
  void (*edit)(ModelPlan& plan);
};

AttentionPlan& AttentionIn(ModelPlan& plan) {
  return std::get<AttentionPlan>(plan.blocks[2].branches[0].part);
}
MlpPlan& MlpIn(ModelPlan& plan) { return std::get<MlpPlan>(plan.blocks[2].branches[1].part); }
NormParameters& NormIn(ModelPlan& plan) { return plan.blocks[0].branches[0].norm->parameters; }

// Every field of a plan but names, which are looked for in the checkpoint, and `context` and
// `kv_cache`, which bound and round what runs (other tests).
constexpr FieldEdit kFieldEdits[] = {
    {"hidden_size", "embedding.width", [](ModelPlan& p) { p.hidden_size = 32; }},
    {"embedding.rows", "head.out", [](ModelPlan& p) { p.embedding.rows = 90; }},
    {"embedding.width", "embedding.width", [](ModelPlan& p) { p.embedding.width = 32; }},
    {"embedding.scale", nullptr, [](ModelPlan& p) { p.embedding.scale = 3; }},
    {"fewer blocks", nullptr, [](ModelPlan& p) { p.blocks.pop_back(); }},
    {"no blocks", "a model with blocks", [](ModelPlan& p) { p.blocks.clear(); }},
    {"branches", nullptr, [](ModelPlan& p) { p.blocks[2].branches.pop_back(); }},
    {"final_norm.width", "final_norm.width", [](ModelPlan& p) { p.final_norm->width = 32; }},
    {"final_norm.kind", nullptr,
     [](ModelPlan& p) { p.final_norm->parameters.kind = NormKind::kLayer; }},
    {"final_norm.eps", nullptr, [](ModelPlan& p) { p.final_norm->parameters.eps = 0.1; }},
    {"final_norm.weight_offset", nullptr,
     [](ModelPlan& p) { p.final_norm->parameters.weight_offset = 1; }},
    {"final_norm.has_bias", "tower.roof.bias", [](ModelPlan& p) { p.final_norm->has_bias = true; }},
    {"head.out", "head.out", [](ModelPlan& p) { p.head.out = 90; }},
    {"head.in", "head.in", [](ModelPlan& p) { p.head.in = 32; }},
    {"head.role", "head.role", [](ModelPlan& p) { p.head.role = SiteRole::kDown; }},
    {"head.requires_bias", nullptr, [](ModelPlan& p) { p.head.requires_bias = false; }},
    {"tied_embeddings", nullptr, [](ModelPlan& p) { p.tied_embeddings = true; }},
    {"logit_soft_cap", nullptr, [](ModelPlan& p) { p.logit_soft_cap = 2; }},
    {"branch.norm", nullptr, [](ModelPlan& p) { p.blocks[0].branches[0].norm.reset(); }},
    {"branch.norm.kind", nullptr, [](ModelPlan& p) { NormIn(p).kind = NormKind::kLayer; }},
    {"branch.norm.eps", nullptr, [](ModelPlan& p) { NormIn(p).eps = 0.5; }},
    {"branch.norm.weight_offset", nullptr, [](ModelPlan& p) { NormIn(p).weight_offset = 1; }},
    {"branch.norm.has_bias", "norm_a.bias",
     [](ModelPlan& p) { p.blocks[0].branches[0].norm->has_bias = true; }},
    {"branch.norm.width", "norm_a", [](ModelPlan& p) { p.blocks[0].branches[0].norm->width = 32; }},
    {"branch.norm.name of another place", "two of norm_a",
     [](ModelPlan& p) { p.blocks[0].branches[1].norm->name = "norm_a"; }},
    {"shared norm with other parameters", "different parameters",
     [](ModelPlan& p) { p.blocks[1].branches[1].norm->parameters.eps = 1; }},
    {"branch.norm_after", nullptr,
     [](ModelPlan& p) {
       // The norm that a branch no longer has in front comes after it.
       std::swap(p.blocks[0].branches[0].norm_after, p.blocks[0].branches[0].norm);
     }},
    {"branch.is_parallel", nullptr,
     [](ModelPlan& p) { p.blocks[2].branches[1].is_parallel = false; }},
    {"first branch.is_parallel", "is_parallel",
     [](ModelPlan& p) { p.blocks[0].branches[0].is_parallel = true; }},
    {"heads", "query.out", [](ModelPlan& p) { AttentionIn(p).heads = 2; }},
    {"kv_heads", "key.out", [](ModelPlan& p) { AttentionIn(p).kv_heads = 1; }},
    {"head_dim", "query.out", [](ModelPlan& p) { AttentionIn(p).head_dim = 8; }},
    {"rotary", nullptr, [](ModelPlan& p) { AttentionIn(p).rotary.reset(); }},
    {"rotary.dims", nullptr, [](ModelPlan& p) { AttentionIn(p).rotary->dims = 16; }},
    {"rotary.layout", nullptr,
     [](ModelPlan& p) { AttentionIn(p).rotary->layout = RotaryLayout::kHalf; }},
    {"rotary.theta", nullptr, [](ModelPlan& p) { AttentionIn(p).rotary->theta = 10; }},
    {"rotary.scaling", nullptr,
     [](ModelPlan& p) {
       AttentionIn(p).rotary->scaling = {.kind = RopeScaling::Kind::kLinear, .factor = 4};
     }},
    {"window", nullptr, [](ModelPlan& p) { AttentionIn(p).window = 4; }},
    {"scale", nullptr, [](ModelPlan& p) { AttentionIn(p).scale = 1; }},
    {"scale of nothing", "attention.scale", [](ModelPlan& p) { AttentionIn(p).scale = 0; }},
    {"soft_cap", nullptr, [](ModelPlan& p) { AttentionIn(p).soft_cap = 0.5f; }},
    {"query.out", "query.out", [](ModelPlan& p) { AttentionIn(p).query.out = 32; }},
    {"query.in", "attention_input", [](ModelPlan& p) { AttentionIn(p).query.in = 32; }},
    {"key.out", "key.out", [](ModelPlan& p) { AttentionIn(p).key.out = 16; }},
    {"value.out", "value.out", [](ModelPlan& p) { AttentionIn(p).value.out = 16; }},
    {"output.in", "output.in", [](ModelPlan& p) { AttentionIn(p).output.in = 32; }},
    {"output.out", "mix.back.out", [](ModelPlan& p) { AttentionIn(p).output.out = 32; }},
    {"attention role", "value.role",
     [](ModelPlan& p) { AttentionIn(p).value.role = SiteRole::kQuery; }},
    {"query.requires_bias", "mix.ask.bias",
     [](ModelPlan& p) { AttentionIn(p).query.requires_bias = true; }},
    {"two attentions", "at most one attention",
     [](ModelPlan& p) { p.blocks[2].branches.push_back(p.blocks[2].branches[0]); }},
    {"activation", nullptr, [](ModelPlan& p) { MlpIn(p).activation = Activation::kRelu2; }},
    {"gate", nullptr, [](ModelPlan& p) { MlpIn(p).gate.reset(); }},
    {"up.in", "hidden size 64", [](ModelPlan& p) { MlpIn(p).up.in = 32; }},
    {"up.out", "think.wide", [](ModelPlan& p) { MlpIn(p).up.out = 96; }},
    {"down.in", "think.narrow", [](ModelPlan& p) { MlpIn(p).down.in = 96; }},
    {"down.out", "think.narrow.out", [](ModelPlan& p) { MlpIn(p).down.out = 32; }},
    {"mlp role", "mlp.role", [](ModelPlan& p) { MlpIn(p).down.role = SiteRole::kUp; }},
};

class PlanField : public ForeignFamily, public ::testing::WithParamInterface<FieldEdit> {
 protected:
  ~PlanField() override { edit_plan = nullptr; }
};

TEST_P(PlanField, IsObeyedOrRefused) {
  const Matrix before = Logits(folder_ / "model");
  edit_plan = GetParam().edit;
  const auto run = [&] { return Logits(folder_ / "model"); };
  if (GetParam().refused_by != nullptr) {
    EXPECT_THAT(testing::ErrorOf(run), HasSubstr(GetParam().refused_by));
  } else {
    EXPECT_GT(LargestDifference(before, run()), 1e-3);
  }
}

INSTANTIATE_TEST_SUITE_P(Fields, PlanField, ::testing::ValuesIn(kFieldEdits),
                         [](const auto& instance) {
                           std::string name = instance.param.field;
                           for (char& c : name) c = std::isalnum(c) != 0 ? c : '_';
                           return name;
                         });

// A recipe for each entry of the methods' tables; what a method insists on has its own line.
std::string RecipeWith(const std::string& rounder) {
  std::string weights = "type: int4, group_size: 32", others;
  if (rounder == "hqq") {
    weights = "type: int3, group_size: 32, zero_point: float, range_includes_zero: false";
  } else if (rounder == "quip") {
    weights = "type: int3, granularity: tensor, zero_point: float, range_includes_zero: false";
  } else if (rounder == "spqr") {
    weights =
        "type: int3, group_size: 16, zero_point: float, range_includes_zero: false, "
        "second_level: {bits: 3, group_rows: 16}";
  } else if (rounder == "slim") {
    weights = "type: int3, group_size: 32";
  } else if (rounder == "llm_int8" || rounder == "easyquant") {
    weights = "type: int8, granularity: channel, symmetric: true, symmetric_convention: signed";
    if (rounder == "llm_int8") others = "activations: int8\n";
  }
  return StrCat("name: t\nweights: {", weights, "}\nrounder: ", rounder, "\n", others);
}

TEST_F(ForeignFamily, QuantizesWithEveryRounder) {
  const Matrix expected = Logits(folder_ / "model");
  for (const std::string& rounder : RounderNames()) {
    SCOPED_TRACE(rounder);
    const Manifest manifest = Quantize(Options(RecipeWith(rounder), rounder));
    EXPECT_EQ(manifest.layers.size(), 7u + 6u + 7u);
    ExpectVerified(rounder);
    // Logits lie within ±20; rounded to 3 bits they move, but not as far as unrelated ones would.
    const double distance = LargestDifference(Logits(folder_ / rounder), expected);
    EXPECT_GT(distance, 0);
    EXPECT_LT(distance, 15);
  }
}

// Weights of 8 bits, so that a transform that breaks the float function is seen.
TEST_F(ForeignFamily, QuantizesWithEveryTransform) {
  const Matrix expected = Logits(folder_ / "model");
  const auto recipe = [](const std::string& transforms) {
    return StrCat("name: t\nweights: {type: int8, granularity: channel}\nrounder: rtn\n",
                  transforms);
  };
  Quantize(Options(recipe(""), "plain"));
  const double plain = LargestDifference(Logits(folder_ / "plain"), expected);
  for (const std::string& transform : TransformNames()) {
    for (const char* order : {"parallel", "sequential"}) {
      SCOPED_TRACE(StrCat(transform, " ", order));
      const std::string out = StrCat(transform, "-", order);
      const bool needs_activations = transform == "smoothquant" || transform == "os_plus";
      Quantize(Options(recipe(StrCat("transforms: [", transform, "]\norder: {blocks: ", order,
                                     ", layers: ", order, "}\n",
                                     needs_activations ? "activations: int8\n" : "")),
                       out));
      ExpectVerified(out);
      // Rounded inputs add an error of the same size to that of the weights.
      EXPECT_LT(LargestDifference(Logits(folder_ / out), expected),
                (needs_activations ? 12 : 4) * plain);
    }
  }
}

TEST_F(ForeignFamily, ARunThatStoppedGoesOnWithTheSameBytes) {
  const std::string recipe = StrCat(RecipeWith("gptq"), "transforms: [awq]\nkv_cache: int8\n");
  Quantize(Options(recipe, "whole"));
  QuantizeOptions options = Options(recipe, "pieces");
  options.spill = true;
  options.stop_after_blocks = 1;
  EXPECT_FALSE(QuantizeModel(options, context_).finished);
  options.stop_after_blocks.reset();
  EXPECT_EQ(QuantizeModel(options, context_).blocks_resumed, 1u);
  EXPECT_EQ(ReadManifest(folder_ / "whole").ArtefactHash(),
            ReadManifest(folder_ / "pieces").ArtefactHash());
}

// Its cache has a place that nothing is stored in.
TEST_F(ForeignFamily, ABlockWithoutAttentionRunsWithARoundedCache) {
  edit_plan = [](ModelPlan& plan) {
    BlockPlan& block = plan.blocks[1];
    block.branches.erase(block.branches.begin());
    block.branches[0].is_parallel = false;
  };
  Quantize(Options(StrCat(RecipeWith("gptq"), "kv_cache: int8\n"), "mlp-only"));
  ExpectVerified("mlp-only");
  const Matrix logits = Logits(folder_ / "mlp-only");
  EXPECT_TRUE(std::isfinite(logits(0, 0)));
  edit_plan = nullptr;
}

// This family never reads tie_word_embeddings: a rotated head could not be told from the embedding.
TEST_F(ForeignFamily, ARotationOfATiedHeadThatCannotBeUntiedIsRefused) {
  edit_plan = [](ModelPlan& plan) { plan.tied_embeddings = true; };
  const QuantizeOptions options = Options(
      "name: t\nweights: {type: int8, granularity: channel}\nrounder: rtn\ntransforms: [quarot]\n",
      "tied");
  EXPECT_THAT(testing::ErrorOf([&] { Quantize(options); }),
              HasSubstr("expected a family whose head is untied by tie_word_embeddings: false"));
  edit_plan = nullptr;
}

TEST_F(ForeignFamily, IsEvaluatedAgainstItsFloatModel) {
  Quantize(Options(RecipeWith("gptq"), "gptq"));
  const Model model = LoadModel(folder_ / "gptq", {}, context_);
  const Model reference = LoadModel(folder_ / "model", {}, context_);
  const DecoderScoringModel scored(*model.decoder), compared(*reference.decoder);
  PerplexityText text;
  text.name = "random";
  text.ids = Text(64, 9);
  text.windows = {{.begin = 0, .tokens = 32}, {.begin = 32, .tokens = 32}};
  const auto scores = ScorePerplexity({&scored, &compared, nullptr}, {&text, 1}, {}, context_);
  ASSERT_TRUE(scores[0].comparison.has_value());
  EXPECT_GT(scores[0].comparison->kl_mean.value, 0);
  EXPECT_TRUE(std::isfinite(scores[0].ppl.value));
}

TEST_F(ForeignFamily, IsPlannedAndItsTimeIsPredicted) {
  const Plan plan = MakePlan(Options(RecipeWith("gptq"), "planned"), context_);
  EXPECT_EQ(plan.blocks, 3u);
  EXPECT_GT(plan.disk_bytes, 0u);

  const Checkpoint checkpoint = Checkpoint::Open(folder_ / "model");
  const ModelStorage storage = StorageOf(checkpoint, nullptr);
  Hardware hardware;
  hardware.bytes_per_second = hardware.memory_bytes = hardware.ops.fp32 = 1e9;
  const Roofline roofline =
      PredictTime(storage, hardware, Phase::kDecode, {.batch = 1, .prompt = 1, .context = 10}, 4);
  const auto ops = [&](const std::string& kind) {
    for (const OperationCost& cost : roofline.operations) {
      if (cost.kind == kind) return cost.ops;
    }
    return 0.0;
  };
  // Queries of 64 values see 11, 11 and, in the block with the window, 5 positions.
  EXPECT_EQ(ops("attention scores"), 2 * 64 * (11 + 11 + 5));
  // Block 1 has one norm, the others two, and one comes before the head.
  EXPECT_EQ(ops("norms"), 4 * 64 * (2 + 1 + 2 + 1));
  EXPECT_EQ(ops("gated activation"), 5 * (128 + 128));
  EXPECT_EQ(ops("activation"), 4 * 96);
  EXPECT_EQ(ops("wide"), 2 * 64 * (128 + 96 + 128));
}

// Powers of two change no bit. Values of block 2 are read by two query heads each, and the inner
// values of block 1 come out of an activation: neither takes a scale. The norms' weights are stored
// less an offset, which rounds.
TEST_F(ForeignFamily, GivesTheSameLogitsUnderStress) {
  StressOptions options;
  options.model = folder_ / "model";
  options.out = folder_ / "stressed";
  options.channels = 3;
  options.factor = 32;
  const StressReport report = MakeStressModel(options, context_);
  EXPECT_THAT(report.left_out, ::testing::UnorderedElementsAre("mlp_output", "attention_output"));
  // Of block 0 four inputs, of block 1 the shared one and the attention's output, of block 2 two
  // norms and the MLP's inner values.
  EXPECT_EQ(report.inputs_changed, 4u + 2u + 3u);
  EXPECT_LT(LargestDifference(Logits(folder_ / "stressed"), Logits(folder_ / "model")), 1e-3);
}

}  // namespace
}  // namespace qualm
