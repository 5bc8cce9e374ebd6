// The block-by-block run on the embedded demo model: orders, threads, where hidden states live, and
// what the artefact computes.
#include <gmock/gmock.h>

#include <bit>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "data/corpus.h"
#include "model/model.h"
#include "quantize/run.h"
#include "quantize/verify.h"
#include "support/shared_data.h"

namespace qualm {
namespace {

class QuantizeRun : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("qualm_run_") +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static std::filesystem::path DemoModel() { return testing::SourceRoot() / "demo/model"; }

  QuantizeOptions Options(const std::string& recipe, const std::string& out) const {
    QuantizeOptions options;
    options.model = DemoModel();
    options.out = folder_ / out;
    options.recipe =
        recipe.find('\n') == std::string::npos ? FindRecipe(recipe) : ParseRecipe(recipe, "test");
    SamplerOptions sampler;
    sampler.samples = 4;
    sampler.length = 96;
    sampler.held_out = 2;
    options.calibration =
        SampleCalibration(LoadCorpus(testing::SourceRoot() / "demo/text/stories.calib.txt"),
                          *LoadTokenizer(DemoModel()), sampler);
    options.qualm_version = "test";
    return options;
  }

  Manifest Run(const QuantizeOptions& options, int threads = 2) {
    ThreadPool pool(threads);
    SilentProgress progress;
    return QuantizeModel(options, pool, progress).manifest;
  }

  std::filesystem::path folder_;
};

std::vector<std::string> Hashes(const Manifest& manifest) {
  std::vector<std::string> hashes;
  for (const FileRecord& file : manifest.files) hashes.push_back(file.hash);
  return hashes;
}

std::string WithOrder(const std::string& blocks, const std::string& layers) {
  return "name: ordered\nweights: {type: int3, granularity: group, group_size: 64}\n"
         "rounder: {gptq: {act_order: true}}\norder: {blocks: " +
         blocks + ", layers: " + layers + "}\n";
}

TEST_F(QuantizeRun, TheSameBytesForEveryNumberOfThreadsAndWithSpilledStates) {
  QuantizeOptions options = Options("gptq-w3-g64-act", "one");
  std::vector<std::string> expected = Hashes(Run(options, 1));
  options.out = folder_ / "three";
  EXPECT_EQ(Hashes(Run(options, 3)), expected);
  options.out = folder_ / "spilled";
  options.spill = true;
  EXPECT_EQ(Hashes(Run(options, 2)), expected);
}

TEST_F(QuantizeRun, TheFourOrdersDifferWhereTheyShould) {
  std::vector<Manifest> runs;
  for (const char* blocks : {"sequential", "parallel"}) {
    for (const char* layers : {"sequential", "parallel"}) {
      runs.push_back(Run(Options(WithOrder(blocks, layers), std::string(blocks) + layers)));
    }
  }
  // Block 0 sees the same inputs whatever the order of blocks; its layers depend on the layer
  // order.
  for (size_t i = 0; i < 4; ++i) {
    for (size_t j = 0; j < i; ++j) {
      bool same_layer_order = i % 2 == j % 2;
      EXPECT_EQ(runs[i].files[0].hash == runs[j].files[0].hash, same_layer_order) << i << j;
      EXPECT_NE(runs[i].files[1].hash, runs[j].files[1].hash) << i << j;
    }
  }
}

TEST_F(QuantizeRun, WithEverythingParallelALayerDoesNotSeeTheOthers) {
  // Only the last block's down_proj is quantized in the second run; in float inputs it is the same.
  Manifest all = Run(Options(WithOrder("parallel", "parallel"), "all"));
  Manifest one =
      Run(Options(WithOrder("parallel", "parallel") +
                      "skip: [lm_head, '*.q_proj', '*.k_proj', '*.v_proj', '*.o_proj', "
                      "'*.gate_proj', '*.up_proj', '*.0.mlp.down_proj', '*.1.mlp.down_proj', "
                      "'*.2.mlp.down_proj']\n",
                  "one"));
  ASSERT_EQ(one.layers.size(), 1u);
  EXPECT_EQ(one.layers[0].name, all.layers.back().name);
  EXPECT_EQ(one.layers[0].quality.weight_mse, all.layers.back().quality.weight_mse);
  EXPECT_EQ(one.layers[0].quality.calibration->relative_output_error,
            all.layers.back().quality.calibration->relative_output_error);
}

TEST_F(QuantizeRun, TheArtefactVerifiesAndPackedAndDequantizedGiveTheSameBits) {
  Run(Options("gptq-w4-g32-act", "out"));
  ThreadPool pool(2);
  SilentProgress progress;
  VerifyReport report = VerifyArtefact(folder_ / "out", DemoModel(), pool, progress);
  EXPECT_THAT(report.problems, ::testing::IsEmpty());
  EXPECT_EQ(report.layers, 28u);
  Model packed = LoadModel(folder_ / "out", {}, pool);
  Model dequantized = LoadModel(folder_ / "out", {.dequantize = true}, pool);
  EXPECT_EQ(packed.decoder->blocks[0]->q.weight->format(), "packed-int4-g32-asym");
  EXPECT_EQ(dequantized.decoder->blocks[0]->q.weight->format(), "dense-f32");
  std::vector<TokenId> ids = {1, 17, 300, 4000, 5, 99, 2000};
  auto logits = [&](const Model& model) {
    KvCache cache = model.decoder->MakeCache(ids.size());
    Matrix hidden = model.decoder->Forward(std::vector<SequenceSlice>{{&cache, ids}}, pool);
    Matrix result(ids.size(), model.decoder->config.vocab_size);
    model.decoder->Logits(hidden, result, pool);
    return result;
  };
  Matrix a = logits(packed), b = logits(dequantized),
         source = logits(LoadModel(DemoModel(), {}, pool));
  size_t different = 0, changed = 0;
  for (size_t t = 0; t < ids.size(); ++t) {
    for (size_t i = 0; i < a.cols(); ++i) {
      different += std::bit_cast<uint32_t>(a(t, i)) != std::bit_cast<uint32_t>(b(t, i));
      changed += a(t, i) != source(t, i);
    }
  }
  EXPECT_EQ(different, 0u);
  EXPECT_GT(changed, a.cols());
}

TEST_F(QuantizeRun, GptqBeatsRtnOnTheLayersOutputs) {
  Manifest gptq = Run(Options("gptq-w3-g64", "gptq")), rtn = Run(Options("rtn-w3-g64", "rtn"));
  size_t better = 0;
  for (size_t i = 0; i < gptq.layers.size(); ++i) {
    better += gptq.layers[i].quality.calibration->relative_output_error <
              rtn.layers[i].quality.calibration->relative_output_error;
  }
  EXPECT_EQ(better, gptq.layers.size());
}

TEST_F(QuantizeRun, FewerTokensThanInputsIsNoted) {
  QuantizeOptions options = Options("gptq-w4-channel", "few");
  options.calibration->sequences.resize(2);  // 192 tokens; down_proj has 640 inputs
  Manifest manifest = Run(options);
  size_t noted = 0;
  for (const LayerRecord& layer : manifest.layers) noted += !layer.quality.notes.empty();
  EXPECT_EQ(noted, manifest.layers.size());
  EXPECT_THAT(manifest.layers[0].quality.notes[0],
              ::testing::HasSubstr("fewer calibration tokens (192) than inputs (256)"));
}

TEST_F(QuantizeRun, RtnNeedsNoCalibration) {
  QuantizeOptions options = Options("rtn-w4-g64-sym", "plain");
  options.calibration.reset();
  Manifest manifest = Run(options);
  EXPECT_EQ(manifest.layers.size(), 28u);
  EXPECT_FALSE(manifest.calibration.has_value());
  EXPECT_FALSE(manifest.layers[0].quality.calibration.has_value());
}

}  // namespace
}  // namespace qualm
