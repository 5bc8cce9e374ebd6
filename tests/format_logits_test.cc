// Quantized files of other tools run as models: the logits of the last position against
// transformers' in float32 on the library's own weights.
#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/sha256.h"
#include "io/json.h"
#include "model/model.h"
#include "support/shared_data.h"
#include "support/test_context.h"

namespace qualm {
namespace {

// What the goldens ask for: float32 against float32 over one or two small blocks.
constexpr double kTolerance = 1e-3;

// Cases that cannot run yet, with what they lack. The list may only shrink.
const std::map<std::string, std::string>& NotYet() {
  static const std::map<std::string, std::string> reasons = {
      {"base_qwen3_moe", "no family qwen3_moe: experts"},
      {"gptoss_mxfp4", "no family gpt_oss: experts"},
      {"gptqmodel_qwen3_moe_w4_g32", "no family qwen3_moe: experts"},
  };
  return reasons;
}

std::vector<std::string> Cases() {
  std::vector<std::string> names;
  const std::filesystem::path root = testing::SharedRoot() / "golden/formats";
  if (std::filesystem::exists(root)) {
    for (const auto& entry : std::filesystem::directory_iterator(root)) {
      const std::filesystem::path& path = entry.path();
      const bool is_case = std::filesystem::exists(path / "golden.json") &&
                           std::filesystem::exists(path / "config.json");
      if (is_case) names.push_back(path.filename().string());
    }
  }
  std::ranges::sort(names);
  return names.empty() ? std::vector<std::string>{"absent"} : names;
}

class FormatLogits : public ::testing::TestWithParam<std::string> {};

// Logits after the last of the ids, `step` of them at a time.
std::vector<float> LastLogits(const Model& model, std::span<const TokenId> ids,
                              const Context& context, size_t step = SIZE_MAX) {
  const Decoder& decoder = *model.decoder;
  KvCache cache = decoder.MakeCache(ids.size());
  Matrix hidden;
  while (!ids.empty()) {
    const std::span<const TokenId> part = ids.first(std::min(step, ids.size()));
    hidden = decoder.Forward(std::vector<SequenceSlice>{{&cache, part}}, context);
    ids = ids.subspan(part.size());
  }
  Matrix logits(1, decoder.plan.vocab_size());
  decoder.Logits(hidden.view().Rows(hidden.rows() - 1, 1), logits, context);
  const std::span<const float> row = logits.row(0);
  return {row.begin(), row.end()};
}

double LargestDifference(const std::vector<float>& ours, const Json& golden) {
  EXPECT_EQ(ours.size(), golden.size());
  double largest = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    largest = std::max(largest, std::abs(double{ours[i]} - golden[i].get<double>()));
  }
  return largest;
}

// The distance over the length that a case may have, as configured. In the one with a separate
// tolerance where its own a number lies on the border between two of FP8's: the reference's own
// forward pass moves by 0.0304 if its scales change by one part in ten million, and ours is there.
double RelativeTolerance(const std::string& name) {
  return name == "ct_fp8_dynamic" ? 0.035 : 0.02;
}

// The distance over the length, and the place of the largest logit.
void ExpectClose(const std::vector<float>& ours, const Json& golden, double tolerance) {
  double squares = 0, differences = 0;
  size_t most = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    const double g = golden[i].get<double>();
    squares += g * g;
    differences += (ours[i] - g) * (ours[i] - g);
    if (g > golden[most].get<double>()) most = i;
  }
  EXPECT_LE(std::sqrt(differences / squares), tolerance);
  EXPECT_EQ(static_cast<size_t>(std::ranges::max_element(ours) - ours.begin()), most);
}

TEST_P(FormatLogits, AreThoseOfTheLibrarysWeights) {
  QUALM_SHARED_OR_SKIP(folder, std::filesystem::path("golden/formats") / GetParam());
  testing::TestContext context(2);
  if (const auto reason = NotYet().find(GetParam()); reason != NotYet().end()) {
    EXPECT_THROW((void)LoadModel(folder, {}, context), Error) << "is not " << reason->second;
    GTEST_SKIP() << "not yet: " << reason->second;
  }
  const Json golden = ReadJsonFile(folder / "golden.json");
  const Json& logits = golden["logits"];
  const auto ids = logits["ids"].get<std::vector<TokenId>>();

  // Without online rotations the weights of a rotated model mean nothing, so that the goldens' own
  // "weights only" is not a reference for one.
  const Json config = ReadJsonFile(folder / "config.json");
  const Json quantization = config.value("quantization_config", Json::object());
  const Json transforms = quantization.value("transform_config", Json());
  if (!transforms.is_object() || transforms.empty()) {
    ModelSource source(folder);
    source.read.weights_only = true;
    for (const bool dequantize : {false, true}) {
      const Model model = LoadModel(source, {.dequantize = dequantize}, context);
      const double largest =
          LargestDifference(LastLogits(model, ids, context), logits["weights_only"]["last_logits"]);
      EXPECT_LE(largest, kTolerance) << (dequantize ? "dequantized" : "packed");
      RecordProperty("largest_difference", std::to_string(largest));
    }
  }

  if (!logits.contains("as_configured")) return;
  // Also from the cache, which holds what was rotated and rounded.
  const Model model = LoadModel(folder, {}, context);
  EXPECT_EQ(LastLogits(model, ids, context, 1), LastLogits(model, ids, context));
  ExpectClose(LastLogits(model, ids, context), logits["as_configured"]["last_logits"],
              RelativeTolerance(GetParam()));
}

// The golden adapter on its float base: merged weights to the bit, logits of the merged model; on a
// quantized base the same addition.
TEST(Adapter, RunsAsTheLibraryMergesIt) {
  QUALM_SHARED_OR_SKIP(folder, std::filesystem::path("golden/formats/peft_lora_r8"));
  testing::TestContext context(2);
  const Json golden = ReadJsonFile(folder / "golden.json");
  const auto ids = golden["logits"]["ids"].get<std::vector<TokenId>>();
  ModelSource source(folder.parent_path() / golden["base"].get<std::string>());
  const Model plain = LoadModel(source, {}, context);
  source.adapter = folder;
  const Model model = LoadModel(source, {}, context);
  for (const auto& [name, module] : golden["modules"].items()) {
    const Matrix weight = Dequantize(model.checkpoint->quantized().Read(name));
    const std::string bytes(reinterpret_cast<const char*>(weight.data()),
                            weight.rows() * weight.cols() * sizeof(float));
    EXPECT_EQ(Sha256OfText(bytes), module["sha256"].get<std::string>()) << name;
  }
  EXPECT_LE(LargestDifference(LastLogits(model, ids, context),
                              golden["logits"]["weights_only"]["last_logits"]),
            kTolerance);
  EXPECT_NE(model.Hash(), plain.Hash());

  source.folder = folder.parent_path() / "gptqmodel_w4_g128_sym_v1";
  const Model quantized = LoadModel(source, {}, context);
  source.adapter.clear();
  const Model base = LoadModel(source, {}, context);
  const std::string name = "model.layers.0.self_attn.v_proj";
  const Matrix with = Dequantize(quantized.checkpoint->quantized().Read(name));
  const Matrix without = Dequantize(base.checkpoint->quantized().Read(name));
  const Matrix merged = Dequantize(model.checkpoint->quantized().Read(name));
  const Matrix floats = ToMatrix(plain.checkpoint->Weight(name));
  for (size_t r = 0; r < with.rows(); ++r) {
    for (size_t c = 0; c < with.cols(); ++c) {
      // Each of the two merged weights is rounded once.
      const double here = double{with(r, c)} - double{without(r, c)};
      const double there = double{merged(r, c)} - double{floats(r, c)};
      const double size = std::abs(double{with(r, c)}) + std::abs(double{merged(r, c)});
      EXPECT_NEAR(here, there, std::ldexp(size, -24));
    }
  }
  EXPECT_NE(LastLogits(quantized, ids, context), LastLogits(base, ids, context));
}

INSTANTIATE_TEST_SUITE_P(Goldens, FormatLogits, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace qualm
