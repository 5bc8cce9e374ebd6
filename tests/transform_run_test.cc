// Transforms, activations and caches in the block-by-block run on the embedded demo model: the
// float function stays what it was, a run that was cut off ends with the same bytes, verification
// holds.
#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "data/corpus.h"
#include "model/model.h"
#include "quantize/run.h"
#include "quantize/stress.h"
#include "quantize/verify.h"
#include "support/demo_run.h"
#include "support/errors.h"
#include "support/shared_data.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

constexpr const char* kInt8 =
    "name: t\nweights: {type: int8, granularity: channel}\nrounder: rtn\n";

class TransformRun : public testing::DemoRun {
 protected:
  // Logits of all positions of a text.
  static Matrix Logits(const std::filesystem::path& folder) {
    testing::TestContext context(2);
    const Model model = LoadModel(folder, {}, context);
    std::vector<TokenId> ids;
    for (TokenId id = 10; id < 90; ++id) ids.push_back(id);
    KvCache cache = model.decoder->MakeCache(ids.size());
    const Matrix hidden =
        model.decoder->Forward(std::vector<SequenceSlice>{{&cache, ids}}, context);
    Matrix logits(hidden.rows(), model.decoder->plan.vocab_size());
    model.decoder->Logits(hidden, logits, context);
    return logits;
  }

  static double Distance(const Matrix& a, const Matrix& b) {
    double total = 0;
    for (size_t r = 0; r < a.rows(); ++r) {
      for (size_t c = 0; c < a.cols(); ++c) total += std::pow(double{a(r, c)} - b(r, c), 2);
    }
    return std::sqrt(total / static_cast<double>(a.rows() * a.cols()));
  }

  void ExpectVerified(const std::string& out) const {
    testing::TestContext context(2);
    const VerifyReport report = VerifyArtefact(folder_ / out, DemoModel(), context);
    EXPECT_TRUE(report.passed()) << (report.problems.empty() ? "" : report.problems[0]);
  }
};

// With 8-bit weights what is left is the noise of 8 bits, with a transform or without: a factor or
// a rotation in the wrong place would be far above it.
TEST_F(TransformRun, TheFloatFunctionStays) {
  const Matrix exact = Logits(DemoModel());
  Run(Options(kInt8, "plain"));
  const double noise = Distance(Logits(folder_ / "plain"), exact);
  ASSERT_GT(noise, 0);
  for (const char* transforms :
       {"[smoothquant]", "[{smoothquant: {fold: false}}]", "[{awq: {clip: false}}]",
        "[{awq: {clip: false, loss: layers, scale_unfoldable: true}}]", "[os_plus]", "[quarot]",
        "[{quarot: {residual: false}}]", "[{quarot: {heads: false, online: false}}]",
        "[quarot, smoothquant]", "[os_plus, smoothquant]"}) {
    std::filesystem::remove_all(folder_ / "out");
    Run(Options(std::string(kInt8) + "transforms: " + transforms + "\n", "out"));
    EXPECT_LT(Distance(Logits(folder_ / "out"), exact), 3 * noise) << transforms;
    ExpectVerified("out");
  }
}

// Layers that stay float are written as the transform left them.
TEST_F(TransformRun, SkippedLayersAreTransformedToo) {
  const Matrix exact = Logits(DemoModel());
  const std::string skips = "skip: [lm_head, '*.k_proj', '*.up_proj', '*.down_proj']\n";
  Run(Options(kInt8 + skips, "plain"));
  const double noise = Distance(Logits(folder_ / "plain"), exact);
  for (const char* transforms : {"[smoothquant]", "[quarot, {awq: {clip: false}}]"}) {
    std::filesystem::remove_all(folder_ / "out");
    const QuantizeOptions options =
        Options(kInt8 + skips + "transforms: " + transforms + "\n", "out");
    if (std::string_view(transforms).find("quarot") != std::string_view::npos) {
      // down_proj would need its input rotated, and a float layer has no place for that.
      EXPECT_THAT(testing::ErrorOf([&] { Run(options); }), HasSubstr("online"));
      continue;
    }
    const Manifest manifest = Run(options);
    EXPECT_LT(Distance(Logits(folder_ / "out"), exact), 3 * noise) << transforms;
    EXPECT_THAT(manifest.changed_tensors,
                ::testing::Contains("model.layers.0.self_attn.k_proj.weight"));
    ExpectVerified("out");
  }
}

TEST_F(TransformRun, ACutOffRunEndsWithTheSameBytes) {
  for (const char* more :
       {"transforms: [{awq: {clip: true}}]\n", "transforms: [quarot]\nkv_cache: int4\n",
        "transforms: [os_plus]\nactivations: {type: int8, granularity: tensor}\n",
        "transforms: [smoothquant]\norder: {blocks: parallel, layers: parallel}\n"}) {
    std::filesystem::remove_all(folder_);
    const Manifest whole = Run(Options(std::string(kInt8) + more, "whole"), 3);
    QuantizeOptions options = Options(std::string(kInt8) + more, "pieces");
    options.stop_after_blocks = 1;
    for (int i = 0; i < 6; ++i) Run(options, 1);
    const Manifest pieces = ReadManifest(folder_ / "pieces");
    EXPECT_EQ(pieces.ArtefactHash(), whole.ArtefactHash()) << more;
  }
}

TEST_F(TransformRun, ActivationsCostWhatTheyShould) {
  const Matrix exact = Logits(DemoModel());
  double before = 0;
  for (const char* activations : {"none", "int8", "int6", "int4"}) {
    std::filesystem::remove_all(folder_ / "out");
    const Manifest manifest =
        Run(Options(std::string(kInt8) + "activations: " + activations + "\n", "out"));
    const double distance = Distance(Logits(folder_ / "out"), exact);
    EXPECT_GT(distance, before) << activations;
    before = distance;
    EXPECT_EQ(manifest.layers[0].activations.has_value(), std::string_view(activations) != "none");
    EXPECT_EQ(manifest.layers[0].quality.held_out->with_activations.has_value(),
              std::string_view(activations) != "none");
    ExpectVerified("out");
  }
}

TEST_F(TransformRun, TheCacheIsRoundedInWhatIsEvaluated) {
  const Matrix exact = Logits(DemoModel());
  Run(Options(kInt8, "plain"));
  const double noise = Distance(Logits(folder_ / "plain"), exact);
  double before = noise;
  for (const char* cache : {"int8", "int4", "int2"}) {
    std::filesystem::remove_all(folder_ / "out");
    Run(Options(std::string(kInt8) + "kv_cache: " + cache + "\n", "out"));
    const double distance = Distance(Logits(folder_ / "out"), exact);
    EXPECT_GT(distance, before) << cache;
    before = distance;
  }
  // Keys per channel know their outlier channels: better than per token at few bits.
  std::filesystem::remove_all(folder_ / "out");
  Run(Options(
      std::string(kInt8) + "kv_cache: {keys: {type: int2, granularity: channel}, values: int8}\n",
      "out"));
  const double channels = Distance(Logits(folder_ / "out"), exact);
  EXPECT_GT(channels, noise);
  EXPECT_LT(channels, before);
}

// The budget counts everything that is stored, and layers differ where it pays.
TEST_F(TransformRun, AllocatedBitsKeepTheBudget) {
  const std::string recipe =
      "name: t\nweights: {bits: 4, group_size: 64}\nrounder: rtn\n"
      "allocate: {target_bits: 3.5}\n";
  const Manifest manifest = Run(Options(recipe, "out"));
  EXPECT_LE(manifest.bits_per_weight_layers, 3.5);
  EXPECT_GT(manifest.bits_per_weight_layers, 3.4);
  std::set<int> bits;
  for (const LayerRecord& layer : manifest.layers) bits.insert(layer.scheme.bits);
  EXPECT_GT(bits.size(), 1u);
  ExpectVerified("out");
  QuantizeOptions options = Options(recipe, "pieces");
  options.stop_after_blocks = 2;
  for (int i = 0; i < 3; ++i) Run(options);
  EXPECT_EQ(ReadManifest(folder_ / "pieces").ArtefactHash(), manifest.ArtefactHash());
  EXPECT_THAT(testing::ErrorOf([&] {
                Run(
                    Options("name: t\nweights: {bits: 4, group_size: 64}\nrounder: rtn\n"
                            "allocate: {target_bits: 2}\n",
                            "little"));
              }),
              HasSubstr("raise target_bits"));
}

// A stressed model with a power of two is the same function to the last bit.
TEST_F(TransformRun, AStressedModelGivesTheSameBits) {
  testing::TestContext context(2);
  const StressReport report =
      MakeStressModel({DemoModel(), folder_ / "stressed", 3, 32, 5}, context);
  EXPECT_GT(report.tensors_changed, 0u);
  EXPECT_EQ(Distance(Logits(folder_ / "stressed"), Logits(DemoModel())), 0);
  // And it is what it is made for: rounded inputs suffer until a transform helps.
  const Matrix exact = Logits(DemoModel());
  const std::string recipe = std::string(kInt8) + "activations: int8\n";
  Run(Options(recipe, "plain", folder_ / "stressed"));
  Run(Options(recipe + "transforms: [smoothquant]\n", "smooth", folder_ / "stressed"));
  EXPECT_LT(Distance(Logits(folder_ / "smooth"), exact),
            0.3 * Distance(Logits(folder_ / "plain"), exact));
  EXPECT_THAT(testing::ErrorOf([&] {
                MakeStressModel({DemoModel(), folder_ / "stressed", 3, 32, 5}, context);
              }),
              HasSubstr("new or empty folder"));
  EXPECT_THAT(testing::ErrorOf([&] {
                MakeStressModel({DemoModel(), folder_ / "other", 100000, 32, 5}, context);
              }),
              HasSubstr("--channels"));
}

}  // namespace
}  // namespace qualm
