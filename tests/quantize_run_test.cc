// The block-by-block run on the embedded demo model: orders, threads, where hidden states live, and
// what the artefact computes.
#include <gmock/gmock.h>

#include <bit>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "artefact/store.h"
#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "data/corpus.h"
#include "data/overlap.h"
#include "model/model.h"
#include "quantize/plan.h"
#include "quantize/run.h"
#include "quantize/verify.h"
#include "support/demo_run.h"
#include "support/errors.h"
#include "support/shared_data.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;

class QuantizeRun : public testing::DemoRun {};

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

// Counts the passes by what the run says of itself.
class PassCounter final : public Progress {
 public:
  void Begin(std::string_view, uint64_t) override { ++passes; }
  void Advance(uint64_t, std::string_view) override {}
  void End() override {}
  void Warn(std::string_view) override {}
  void Info(std::string_view) override {}
  int passes = 0;
};

TEST_F(QuantizeRun, SeveralRecipesInOnePassGiveTheBytesOfRunsByThemselves) {
  const std::string smooth =
      "name: smooth\nweights: {type: int4, granularity: group, group_size: 64}\n"
      "transforms: [{awq: {}}]\nrounder: {gptq: {}}\norder: {blocks: parallel, layers: parallel}\n";
  const std::string llm_int8 =
      "name: int8\nweights: {type: int8, granularity: channel, symmetric: true}\n"
      "activations: {type: int8, granularity: tensor}\nrounder: {rtn: {}}\n"
      "order: {blocks: parallel, layers: parallel}\n";
  std::vector<QuantizeOptions> all = {
      Options(WithOrder("parallel", "parallel"), "a"), Options(smooth, "b"),
      Options(WithOrder("parallel", "sequential"), "c"), Options(llm_int8, "d"),
      Options("gptq-w4-g64", "e")};  // sequential: a separate pass
  std::vector<std::vector<std::string>> expected;
  for (QuantizeOptions options : all) {
    options.out += "-alone";
    expected.push_back(Hashes(Run(options)));
  }
  ThreadPool pool(2);
  PassCounter progress;
  const Context context{pool, progress};
  const std::vector<QuantizeResult> results = QuantizeModels(all, context);
  EXPECT_EQ(progress.passes, 2);
  ASSERT_EQ(results.size(), all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_TRUE(results[i].finished);
    EXPECT_EQ(Hashes(results[i].manifest), expected[i]) << i;
    EXPECT_EQ(results[i].manifest.recipe_name, all[i].recipe.name);
  }
}

TEST_F(QuantizeRun, RecipesOfOnePassThatStoppedAtDifferentBlocksGoOn) {
  std::vector<QuantizeOptions> all = {Options(WithOrder("parallel", "parallel"), "a"),
                                      Options(WithOrder("parallel", "sequential"), "b")};
  all[1].recipe.name = "other";
  const std::vector<std::string> expected[] = {Hashes(Run([&] {
                                                 QuantizeOptions alone = all[0];
                                                 alone.out += "-alone";
                                                 return alone;
                                               }())),
                                               Hashes(Run([&] {
                                                 QuantizeOptions alone = all[1];
                                                 alone.out += "-alone";
                                                 return alone;
                                               }()))};
  all[0].stop_after_blocks = 2;
  Run(all[0]);
  all[0].stop_after_blocks = 1;
  all[1].stop_after_blocks = 1;
  testing::TestContext context(2);
  std::vector<QuantizeResult> results = QuantizeModels(all, context);
  EXPECT_EQ(results[0].blocks_resumed, 2u);
  EXPECT_EQ(results[0].blocks_written, 1u);
  EXPECT_EQ(results[1].blocks_written, 1u);
  EXPECT_FALSE(results[0].finished || results[1].finished);
  for (QuantizeOptions& options : all) options.stop_after_blocks.reset();
  results = QuantizeModels(all, context);
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(Hashes(results[i].manifest), expected[i]) << i;
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
  testing::TestContext context(2);
  VerifyReport report = VerifyArtefact(folder_ / "out", DemoModel(), context);
  EXPECT_THAT(report.problems, ::testing::IsEmpty());
  EXPECT_EQ(report.layers, 28u);
  Model packed = LoadModel(folder_ / "out", {}, context);
  Model dequantized = LoadModel(folder_ / "out", {.dequantize = true}, context);
  EXPECT_EQ(packed.decoder->blocks[0]->Linear("self_attn.q_proj").weight->format(),
            "packed-int4-g32-asym");
  EXPECT_EQ(dequantized.decoder->blocks[0]->Linear("self_attn.q_proj").weight->format(),
            "dense-f32");
  std::vector<TokenId> ids = {1, 17, 300, 4000, 5, 99, 2000};
  auto logits = [&](const Model& model) {
    KvCache cache = model.decoder->MakeCache(ids.size());
    Matrix hidden = model.decoder->Forward(std::vector<SequenceSlice>{{&cache, ids}}, context);
    Matrix result(ids.size(), model.decoder->plan.vocab_size());
    model.decoder->Logits(hidden, result, context);
    return result;
  };
  Matrix a = logits(packed), b = logits(dequantized),
         source = logits(LoadModel(DemoModel(), {}, context));
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

TEST_F(QuantizeRun, RecordsThatDoNotFitTheConfigurationAreRefusedBeforeTheyRun) {
  QuantizeOptions options = Options("rtn-w4-g64", "out");
  options.calibration.reset();
  const Manifest good = Run(options);
  testing::TestContext context(1);
  const auto error_with = [&](const std::function<void(Manifest&)>& change) {
    Manifest manifest = good;
    change(manifest);
    WriteManifest(options.out, manifest);
    EXPECT_THAT(ErrorOf([&] { VerifyArtefact(options.out, {}, context); }), HasSubstr("expected"));
    return ErrorOf([&] { LoadModel(options.out, {}, context); });
  };
  // One output row, one head or one input fewer than the configuration says.
  EXPECT_THAT(error_with([](Manifest& m) { --m.layers[5].out_features; }),
              HasSubstr("up_proj] expected shape [640, 256]; got [639, 256]"));
  EXPECT_THAT(error_with([](Manifest& m) { m.layers[1].out_features -= 32; }),
              HasSubstr("k_proj] expected shape [128, 256]; got [96, 256]"));
  EXPECT_THAT(error_with([](Manifest& m) { --m.layers[6].in_features; }), HasSubstr("down_proj"));
  EXPECT_THAT(error_with([](Manifest& m) { m.layers.pop_back(); }), HasSubstr("down_proj.weight"));
  EXPECT_THAT(error_with([](Manifest& m) { m.layers.push_back(m.layers[0]); }),
              HasSubstr("two of model.layers.0.self_attn.q_proj"));
  EXPECT_THAT(error_with([](Manifest& m) { m.layers[0].name = "model.layers.9.x"; }),
              HasSubstr("q_proj"));
}

TEST_F(QuantizeRun, ChangedLayerRecordsChangeTheHash) {
  QuantizeOptions options = Options("rtn-w4-g64", "out");
  options.calibration.reset();
  const Manifest good = Run(options);
  Manifest other = good;
  other.layers[0].scheme.zero_point = ZeroPointKind::kNone;
  EXPECT_NE(other.ArtefactHash(), good.ArtefactHash());
  other = good;
  other.recipe_name = "another";
  EXPECT_NE(other.ArtefactHash(), good.ArtefactHash());
  other = good;
  other.seed = 7;
  EXPECT_NE(other.ArtefactHash(), good.ArtefactHash());
}

TEST_F(QuantizeRun, AFinishedFolderThatLostAFileIsNotTakenForComplete) {
  QuantizeOptions options = Options("rtn-w4-g64", "out");
  options.calibration.reset();
  Run(options);
  EXPECT_EQ(Run(options).layers.size(), 28u);  // nothing to do
  std::filesystem::remove(options.out / "block-00001.safetensors");
  EXPECT_THAT(ErrorOf([&] { Run(options); }), HasSubstr("block-00001.safetensors] expected the"));
  options.overwrite = true;
  EXPECT_EQ(Run(options).layers.size(), 28u);
}

TEST_F(QuantizeRun, OverwritingLeavesNoTokenizerOfAnotherModelBehind) {
  const std::filesystem::path other = folder_ / "other";
  std::filesystem::copy(DemoModel(), other);
  std::ofstream(other / "added_tokens.json") << "{}";
  QuantizeOptions options = Options("rtn-w4-g64", "out");
  options.calibration.reset();
  options.model = other;
  Run(options);
  ASSERT_TRUE(std::filesystem::exists(options.out / "added_tokens.json"));
  options.model = DemoModel();
  options.overwrite = true;
  Run(options);
  EXPECT_FALSE(std::filesystem::exists(options.out / "added_tokens.json"));
  // And one that is put there later is no part of what was written.
  std::ofstream(options.out / "tokenizer.json") << "{}";
  testing::TestContext context(1);
  EXPECT_THAT(VerifyArtefact(options.out, {}, context).problems,
              ElementsAre(HasSubstr("[tokenizer.json] expected no such file")));
}

// A template for tools that is left out would make the result ask as another model does.
TEST_F(QuantizeRun, FurtherChatTemplatesTravelWithTheModel) {
  const std::filesystem::path other = folder_ / "other";
  std::filesystem::copy(DemoModel(), other);
  std::filesystem::create_directories(other / "additional_chat_templates");
  std::ofstream(other / "additional_chat_templates/tool_use.jinja") << "tools";
  std::ofstream(other / "additional_chat_templates/notes.txt") << "no template";
  QuantizeOptions options = Options("rtn-w4-g64", "out");
  options.calibration.reset();
  options.model = other;
  const Manifest manifest = Run(options);
  const std::filesystem::path copies = options.out / "additional_chat_templates";
  EXPECT_EQ(ReadFile(copies / "tool_use.jinja"), "tools");
  EXPECT_FALSE(std::filesystem::exists(copies / "notes.txt"));

  // It is part of what was written: another text is another result, and a changed copy shows.
  testing::TestContext context(1);
  EXPECT_THAT(VerifyArtefact(options.out, {}, context).problems, ::testing::IsEmpty());
  std::ofstream(copies / "tool_use.jinja") << "other";
  EXPECT_THAT(VerifyArtefact(options.out, {}, context).problems,
              ElementsAre(HasSubstr("[additional_chat_templates/tool_use.jinja] expected")));
  std::ofstream(other / "additional_chat_templates/tool_use.jinja") << "new";
  options.overwrite = true;
  EXPECT_NE(Run(options).ArtefactHash(), manifest.ArtefactHash());

  // A model without any leaves none there, but files of somebody else stay.
  options.model = DemoModel();
  Run(options);
  EXPECT_FALSE(std::filesystem::exists(copies));
  std::filesystem::create_directories(copies);
  std::ofstream(copies / "notes.txt") << "mine";
  Run(options);
  EXPECT_TRUE(std::filesystem::exists(copies / "notes.txt"));
}

TEST_F(QuantizeRun, AFolderWithOtherFilesIsRefusedAsItIs) {
  QuantizeOptions options = Options("rtn-w4-g64", "out");
  options.calibration.reset();
  std::filesystem::create_directories(options.out);
  for (const char* name : {"notes.txt", "config.json.tmp.bak", "config.json.tmp.12"}) {
    std::ofstream(options.out / name) << "x";
  }
  EXPECT_THAT(ErrorOf([&] { Run(options); }), HasSubstr("a folder with other files"));
  for (const char* name : {"notes.txt", "config.json.tmp.bak", "config.json.tmp.12"}) {
    EXPECT_TRUE(std::filesystem::exists(options.out / name)) << name;
  }
}

TEST_F(QuantizeRun, PatternsThatMatchNoLayerAreRefused) {
  const std::string weights = "name: x\nweights: {type: int4, group_size: 64}\nrounder: rtn\n";
  EXPECT_THAT(
      ErrorOf([&] {
        Run(Options(weights + "overrides: [{match: '*.downproj', weights: {bits: 8}}]\n", "out"));
      }),
      HasSubstr("overrides] expected a pattern that matches some layer; got '*.downproj'"));
  EXPECT_THAT(ErrorOf([&] { Run(Options(weights + "skip: [lm_head, '*.9.*']\n", "out")); }),
              HasSubstr("skip] expected a pattern"));
  EXPECT_THAT(ErrorOf([&] { Run(Options(weights + "skip: ['*']\n", "out")); }),
              HasSubstr("expected a layer to quantize"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

TEST_F(QuantizeRun, TensorsInThePlaceOfOursAreRefused) {
  const std::filesystem::path model = folder_ / "model";
  std::filesystem::copy(DemoModel(), model);
  {
    const TensorFile file = TensorFile::Open(DemoModel());
    TensorBatch batch;
    for (const TensorView& tensor : file.tensors()) batch.AddView(tensor);
    TensorView extra = file.Get("model.norm.weight");
    extra.name = "model.layers.0.self_attn.q_proj.scales";
    batch.AddView(extra);
    std::filesystem::remove(model / "model.safetensors");
    WriteSafetensors(model / "model.safetensors", batch.tensors());
  }
  QuantizeOptions options = Options("rtn-w4-g64", "out");
  options.calibration.reset();
  options.model = model;
  EXPECT_THAT(ErrorOf([&] { Run(options); }),
              HasSubstr("got model.layers.0.self_attn.q_proj.scales; --ignore-tensors"));
  EXPECT_FALSE(std::filesystem::exists(options.out));

  // What is ignored is not copied.
  options.model.ignored_tensors = {"scales$"};
  Run(options);
  const TensorFile written = TensorFile::Open(options.out);
  EXPECT_NE(written.Find("model.layers.0.self_attn.q_proj.scales"), nullptr);  // ours
  EXPECT_EQ(VerifyArtefact(options.out, options.model, testing::TestContext(2)).problems.size(),
            0u);
}

// An overridden configuration becomes that of the artefact, which runs as the source does with it.
TEST_F(QuantizeRun, OverridesBecomeTheArtefactsConfiguration) {
  QuantizeOptions options = Options("rtn-w8-g32", "out");
  options.calibration.reset();
  Run(options);
  options.out = folder_ / "changed";
  options.model = MakeModelSource(DemoModel().string(), {"rope_theta=5e4"}, {});
  Run(options);
  EXPECT_EQ(ReadJsonFile(options.out / "config.json")["rope_theta"], 5e4);
  EXPECT_NE(ReadManifest(options.out).source_hash, ReadManifest(folder_ / "out").source_hash);
  EXPECT_NE(ReadManifest(options.out).run_key, ReadManifest(folder_ / "out").run_key);
}

TEST_F(QuantizeRun, TheArtefactKnowsTheCalibrationTexts13Grams) {
  const QuantizeOptions options = Options("gptq-w4-g64", "out");
  Run(options);
  const auto hashes = ReadGramHashes(options.out);
  ASSERT_TRUE(hashes.has_value());
  EXPECT_EQ(*hashes, GramHashes(options.calibration->sequences));
  const std::vector<TokenId>& seen = options.calibration->sequences[0];
  const Overlap overlap = MeasureOverlap(*hashes, seen);
  EXPECT_EQ(overlap.found, overlap.grams);
  EXPECT_EQ(overlap.grams, seen.size() - 12);
}

TEST_F(QuantizeRun, ThePlanKnowsTheDiskAndWhichOrdersNeedMore) {
  testing::TestContext context(2);
  const QuantizeOptions options = Options("gptq-w3-g64-act", "out");
  const Plan plan = MakePlan(options, context);
  Run(options);
  uint64_t written = 0;
  for (const char* pattern : {"block-", "rest."}) {
    for (const auto& entry : std::filesystem::directory_iterator(options.out)) {
      if (entry.path().filename().string().starts_with(pattern)) written += entry.file_size();
    }
  }
  // What is not in the estimate: headers, and the norms of the blocks.
  EXPECT_LE(plan.disk_bytes, written);
  EXPECT_GE(plan.disk_bytes, written - written / 50);
  EXPECT_EQ(plan.blocks, 4u);
  EXPECT_EQ(plan.calibration_tokens, 4u * 96);
  const auto memory_of = [&](const std::string& blocks, const std::string& layers) {
    return MakePlan(Options(WithOrder(blocks, layers), "x"), context).peak_memory_bytes;
  };
  // Parallel layers hold the statistics of a whole block; sequential ones before a block that sees
  // float inputs hold a copy of the hidden states.
  EXPECT_GT(memory_of("sequential", "parallel"), plan.peak_memory_bytes / 2);
  EXPECT_GT(memory_of("parallel", "sequential"), memory_of("sequential", "sequential"));
  // Every block counts, not the first one alone.
  const std::string base = "name: x\nweights: {type: int2, group_size: 64}\nrounder: rtn\n";
  const auto disk_of = [&](const std::string& recipe) {
    return MakePlan(Options(recipe, "x"), context).disk_bytes;
  };
  EXPECT_GT(disk_of(base + "overrides: [{match: '*.3.*', weights: {type: int8}}]\n"),
            disk_of(base));
}

// Names of files may hold any bytes; the manifest, which is written last, must not fail for that.
TEST_F(QuantizeRun, NamesThatAreNoUtf8AreNoReasonToLoseTheWork) {
  const std::filesystem::path model = folder_ / "caf\xe9";
  std::filesystem::copy(DemoModel(), model);
  QuantizeOptions options = Options("rtn-w4-g64", "out", model);
  options.calibration->corpus = "na\xefve.txt";
  const Manifest manifest = Run(options);
  EXPECT_EQ(manifest.source_name, "caf\xef\xbf\xbd");
  EXPECT_EQ(ReadManifest(options.out).calibration->corpus, "na\xef\xbf\xbdve.txt");
}

}  // namespace
}  // namespace qualm
