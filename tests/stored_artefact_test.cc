// Small quantized folders of format version 3, committed in tests/baseline/artefacts/: every later
// version loads them, verifies them against their sources and computes from them the bits in
// tests/baseline/stored_artefacts.txt. The sources are random checkpoints, the second with
// outliers:
//   build/qualm_random_checkpoint --layers 2 --hidden 64 --intermediate 96 --heads 4 --kv-heads 2
//     --vocabulary 64 --context 128 --model-type llama --seed 7            (qwen2: --seed 8)
//   build/qualm stress QWEN2 --channels 4 --factor 32 --seed 1 -o
//   tests/baseline/artefacts/sources/qwen2
// A folder is never written again: QUALM_WRITE_BASELINE=1 makes only those of the list that are not
// there yet (support/pinned_table.h says more).
#include <gmock/gmock.h>

#include <filesystem>
#include <set>

#include "artefact/manifest.h"
#include "base/strings.h"
#include "evaluate/perplexity.h"
#include "model/model.h"
#include "quantize/run.h"
#include "quantize/verify.h"
#include "support/logits_hash.h"
#include "support/pinned_table.h"
#include "support/random_calibration.h"
#include "support/shared_data.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using testing::ExactText;
using testing::PinnedTable;
using testing::RandomCalibration;
using testing::RandomTokens;

struct StoredFolder {
  const char* name;
  const char* source;  // a folder of artefacts/sources
  const char* recipe;  // without its name
};

// Together they hold every tensor and every key that docs/formats/artefact.md knows.
constexpr StoredFolder kFolders[] = {
    // codes, scales and packed zeros; g_idx
    {"gptq-act-order", "llama",
     "weights: {type: int4, group_size: 16}\n"
     "rounder: {gptq: {act_order: true, static_groups: false}}\n"},
    // scales of two levels, outliers
    {"spqr", "qwen2",
     "weights: {type: int3, group_size: 16, zero_point: float, range_includes_zero: false, "
     "second_level: {bits: 3, group_rows: 16}}\n"
     "rounder: {spqr: {outlier_threshold: 0.2}}\norder: {blocks: parallel, layers: parallel}\n"},
    // float columns
    {"owq", "llama", "weights: {type: int3, granularity: channel}\nrounder: {owq: {columns: 3}}\n"},
    // online rotations, tables and norms of another basis, rounded inputs, a cache per head
    {"quarot-w4a4kv4", "llama",
     "weights: {type: int4, granularity: channel, symmetric: true, symmetric_convention: signed}\n"
     "activations: int4\nkv_cache: int4\ntransforms: [quarot]\nrounder: gptq\n"},
    // folded and online factors, static ranges, keys per channel; biases
    {"w8a8-static-kv", "qwen2",
     "weights: {type: int8, granularity: channel, symmetric: true, symmetric_convention: signed}\n"
     "activations: {type: int8, granularity: tensor}\n"
     "kv_cache: {keys: {type: int4, granularity: channel, group_tokens: 16}, values: int8}\n"
     "transforms: [{os_plus: {grid: 5, fold: false}}, smoothquant]\nrounder: rtn\n"},
    // scales in e4m3 and a scale per tensor
    {"nvfp4", "llama", "weights: {type: nvfp4}\nrounder: rtn\n"},
    // bits of each group
    {"slim", "qwen2",
     "weights: {type: int2, group_size: 8, zero_point: float}\nrounder: {slim: {range_steps: "
     "4}}\n"},
    // rotations of both sides with factors, one grid per layer
    {"quip", "llama",
     "weights: {type: int3, granularity: tensor, zero_point: float, range_includes_zero: false}\n"
     "rounder: quip\n"},
    // different schemes in one model, layers that stay float
    {"mixed-formats", "llama",
     "weights: {type: nf4, group_size: 32}\nactivations: int8\nrounder: rtn\n"
     "skip: [lm_head, '*.k_proj']\noverrides:\n"
     "  - {match: '*.gate_proj', weights: {type: mxfp4}, activations: mxfp4}\n"
     "  - {match: '*.up_proj', weights: {type: fp8_e4m3, granularity: channel}, activations: "
     "fp8_e4m3}\n"
     "  - {match: '*.down_proj', weights: {type: int5, group_size: 32, scale_type: bfloat16}, "
     "activations: none}\n"},
};

constexpr size_t kVocabulary = 64;

std::filesystem::path Artefacts() { return testing::SourceRoot() / "tests/baseline/artefacts"; }
std::filesystem::path SourceOf(const StoredFolder& folder) {
  return Artefacts() / "sources" / folder.source;
}

void Make(const StoredFolder& folder, const Context& context) {
  QuantizeOptions options;
  options.model = SourceOf(folder);
  options.out = Artefacts() / folder.name;
  options.recipe = ParseRecipe(StrCat("name: ", folder.name, "\n", folder.recipe), folder.name);
  options.calibration = RandomCalibration(kVocabulary, 8);
  options.qualm_version = testing::kBaselineVersion;
  QuantizeModel(options, context);
  std::filesystem::remove(options.out / "timings.json");  // of no use to later versions
}

// Perplexity of random tokens: there is no tokenizer.
TextScores Perplexity(const Model& model, const Context& context) {
  PerplexityText text;
  text.name = "random tokens";
  text.ids = RandomTokens(150, kVocabulary, 20);
  text.windows = PlanWindows(FindProtocol("mi-optimize"), text.ids.size(), 40);
  const DecoderScoringModel scoring(*model.decoder);
  return ScorePerplexity({.model = &scoring}, {&text, 1}, {}, context)[0];
}

void CheckFolder(const StoredFolder& folder, const Context& context, PinnedTable& table) {
  const std::filesystem::path path = Artefacts() / folder.name;
  const std::string name = folder.name;
  table.Check(StrCat(name, "/artefact-hash"), ReadManifest(path).ArtefactHash());

  const VerifyReport report = VerifyArtefact(path, SourceOf(folder), context);
  EXPECT_THAT(report.problems, ::testing::IsEmpty()) << name;
  table.Check(StrCat(name, "/verified"),
              StrCat(report.files, " files, ", report.layers, " layers, ", report.weights,
                     " codes, ", report.products, " products, ", report.tensors_against,
                     " float tensors, ", report.errors_against, " errors"));

  const std::vector<TokenId> ids = RandomTokens(50, kVocabulary, 21);
  for (const bool dequantize : {false, true}) {
    const Model model = LoadModel(path, {.dequantize = dequantize}, context);
    table.Check(StrCat(name, "/logits"), testing::PrefillHash(*model.decoder, ids, context));
    table.Check(StrCat(name, "/logits"), testing::CachedHash(*model.decoder, ids, context));
    table.Check(StrCat(name, "/perplexity"), ExactText(Perplexity(model, context).ppl.value));
  }
}

TEST(StoredArtefact, LoadsVerifiesAndComputesTheSameBits) {
  QUALM_PIN_OR_SKIP();
  testing::TestContext context(2);
  PinnedTable table("stored_artefacts.txt");
  for (const StoredFolder& folder : kFolders) {
    if (table.is_rewriting() && !HasManifest(Artefacts() / folder.name)) Make(folder, context);
    CheckFolder(folder, context, table);
  }
  table.Finish();
}

TEST(StoredArtefact, EveryFolderIsChecked) {
  std::set<std::string> checked = {"sources"}, present;
  for (const StoredFolder& folder : kFolders) checked.insert(folder.name);
  for (const auto& entry : std::filesystem::directory_iterator(Artefacts())) {
    present.insert(entry.path().filename().string());
  }
  EXPECT_EQ(present, checked);
}

}  // namespace
}  // namespace qualm
