// A family that no file of src/ knows goes through everything: quantization with every method,
// verification, evaluation, the plan, the roofline, stress models, and a run that is taken up
// again.
#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "artefact/store.h"
#include "base/error.h"
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
#include "support/tower_family.h"

namespace qualm {
namespace {

using testing::edit_plan;
using ::testing::HasSubstr;
using testing::kVocab;
using testing::Text;
using testing::WriteCheckpoint;

class ForeignFamily : public ::testing::Test {
 protected:
  ForeignFamily() {
    std::filesystem::create_directory(folder_ / "model");
    WriteCheckpoint(folder_ / "model");
  }

  // Tests edit the plan under the files: a tensor that it no longer needs is right here.
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

  ScopedFamilies families_{testing::kTowerFamilies};
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

// Biases that the plan says are not there, as much as tensors that no plan has.
TEST_F(ForeignFamily, ATensorThatThePlanDoesNotReadIsNamed) {
  const auto complaint = [&] {
    return testing::ErrorOf([&] { (void)Checkpoint::Open(folder_ / "model"); });
  };
  EXPECT_EQ(complaint(), "no error");
  edit_plan = [](ModelPlan& plan) { plan.head.requires_bias = false; };
  EXPECT_THAT(complaint(), HasSubstr("tower.view.bias"));
  edit_plan = [](ModelPlan& plan) {
    plan.head.requires_bias = false;
    plan.unread_tensors = {"*.view.bias"};
  };
  EXPECT_EQ(complaint(), "no error");
  edit_plan = [](ModelPlan& plan) { plan.final_norm->has_weight = false; };
  EXPECT_THAT(complaint(), HasSubstr("tower.roof.weight"));
  edit_plan = nullptr;

  for (const char* name : {"tower.floor_1.norm_a.bias", "tower.roof.bias", "tower.door.bias"}) {
    const testing::SpareTensor spare{name, {testing::kHidden}};
    WriteCheckpoint(folder_ / "model", {&spare, 1});
    EXPECT_THAT(complaint(), HasSubstr(name));
  }
}

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

// The norm's weight goes into its readers and would be missing in the sum.
TEST_F(ForeignFamily, ARotationOfSumsThatStartFromANormIsRefused) {
  edit_plan = [](ModelPlan& plan) { plan.blocks[0].branches[0].adds_to_norm = true; };
  const QuantizeOptions options = Options(
      "name: t\nweights: {type: int8, granularity: channel}\nrounder: rtn\ntransforms: [quarot]\n",
      "sums");
  EXPECT_THAT(testing::ErrorOf([&] { Quantize(options); }),
              HasSubstr("one that adds to its norm, norm_a"));
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
