// GGUF files by llama.cpp's own tools: every tensor as Hugging Face has it, to the bit, the logits
// of the model, and the tokens of its vocabulary.
#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "data/sha256.h"
#include "formats/gguf_model.h"
#include "io/json.h"
#include "model/model.h"
#include "support/shared_data.h"
#include "support/test_context.h"

namespace qualm {
namespace {

// What the goldens ask for; llama.cpp's own float32 run against theirs.
constexpr double kTolerance = 1e-3;

// Cases that cannot run yet, with what they lack. The list may only shrink.
const std::map<std::string, std::string>& NotYet() {
  static const std::map<std::string, std::string> reasons = {
      {"gguf_qwen3moe_mxfp4", "no family qwen3_moe: experts"},
  };
  return reasons;
}

std::filesystem::path FileIn(const std::filesystem::path& folder) {
  for (const char* name : {"model.gguf", "model-00001-of-00004.gguf"}) {
    if (std::filesystem::exists(folder / name)) return folder / name;
  }
  return {};
}

std::vector<std::string> Cases() {
  std::vector<std::string> names;
  const std::filesystem::path root = testing::SharedRoot() / "golden/formats";
  if (std::filesystem::exists(root)) {
    for (const auto& entry : std::filesystem::directory_iterator(root)) {
      if (!FileIn(entry.path()).empty()) names.push_back(entry.path().filename().string());
    }
  }
  std::ranges::sort(names);
  return names.empty() ? std::vector<std::string>{"absent"} : names;
}

class GgufGolden : public ::testing::TestWithParam<std::string> {};

std::vector<float> FloatsIn(const TensorView& view) {
  std::vector<float> values(view.elements());
  ConvertToFloat(view.type, view.bytes.data(), values.data(), values.size());
  return values;
}

TEST_P(GgufGolden, EveryTensorIsHuggingFaces) {
  QUALM_SHARED_OR_SKIP(folder, std::filesystem::path("golden/formats") / GetParam());
  const auto model = GgufModel::Open(FileIn(folder));
  const TensorFile floats = GgufFloatTensors(model);
  const auto layers = OpenGgufLayers(model, {});
  const Json golden = ReadJsonFile(folder / "golden.json");

  size_t checked = 0;
  for (const auto& [key_of, tensor] : golden["tensors"].items()) {
    const std::string name = key_of;  // Clang 14 lets no lambda take a structured binding
    // The parts of all experts follow one another in the stored tensor.
    std::vector<float> values;
    for (const GgufModelTensor& own : model->tensors()) {
      if (own.stored->name != name) continue;
      if (const TensorView* view = floats.Find(own.name)) {
        const std::vector<float> part = FloatsIn(*view);
        values.insert(values.end(), part.begin(), part.end());
        continue;
      }
      const std::string module = own.name.substr(0, own.name.rfind('.'));
      const StoredLayer* layer = layers->Find(module);
      ASSERT_NE(layer, nullptr) << own.name;
      const Matrix weight = Dequantize(layers->Read(*layer));
      values.insert(values.end(), weight.data(), weight.data() + weight.rows() * weight.cols());
    }
    const char* key = tensor.contains("hf_sha256") ? "hf_sha256" : "sha256";
    EXPECT_EQ(
        Sha256OfText({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}),
        tensor[key].get<std::string>())
        << name;
    if (tensor.contains("hf")) {
      const auto hf = tensor["hf"].get<std::string>();
      EXPECT_TRUE(std::ranges::any_of(model->tensors(), [&](const GgufModelTensor& own) {
        return own.name == hf && own.stored->name == name;
      })) << hf;
    }
    ++checked;
  }
  EXPECT_GT(checked, 10u);
}

TEST_P(GgufGolden, LogitsAreThoseOfTheFilesWeights) {
  QUALM_SHARED_OR_SKIP(folder, std::filesystem::path("golden/formats") / GetParam());
  testing::TestContext context(2);
  if (const auto reason = NotYet().find(GetParam()); reason != NotYet().end()) {
    EXPECT_THROW((void)LoadModel(FileIn(folder), {}, context), Error) << reason->second;
    GTEST_SKIP() << "not yet: " << reason->second;
  }
  const Json golden = ReadJsonFile(folder / "golden.json");
  const auto ids = golden["ids"].get<std::vector<TokenId>>();
  for (const bool dequantize : {false, true}) {
    const Model model = LoadModel(FileIn(folder), {.dequantize = dequantize}, context);
    const Decoder& decoder = *model.decoder;
    KvCache cache = decoder.MakeCache(ids.size());
    const Matrix hidden = decoder.Forward(std::vector<SequenceSlice>{{&cache, ids}}, context);
    Matrix logits(ids.size(), decoder.plan.vocab_size());
    decoder.Logits(hidden.view(), logits, context);

    const Json& expected = golden["logits"];
    for (size_t t = 0; t < ids.size(); ++t) {
      const std::span<const float> row = logits.row(t);
      double squares = 0;
      for (const float v : row) squares += double{v} * v;
      EXPECT_EQ(std::ranges::max_element(row) - row.begin(), expected["argmax"][t].get<int>()) << t;
      EXPECT_NEAR(std::sqrt(squares), expected["norm"][t].get<double>(), 1e-2) << t;
    }
    double largest = 0;
    for (size_t v = 0; v < logits.cols(); ++v) {
      const double difference =
          logits(ids.size() - 1, v) - expected["last_logits"][v].get<double>();
      largest = std::max(largest, std::abs(difference));
    }
    EXPECT_LE(largest, kTolerance) << (dequantize ? "dequantized" : "packed");
    RecordProperty("largest_difference", std::to_string(largest));
  }
}

TEST_P(GgufGolden, TokensAreLlamaCpps) {
  QUALM_SHARED_OR_SKIP(folder, std::filesystem::path("golden/formats") / GetParam());
  const Json golden = ReadJsonFile(folder / "golden.json");
  const std::unique_ptr<Tokenizer> tokenizer = LoadTokenizer(FileIn(folder));
  const Json& texts = golden["tokenize"]["texts"];
  ASSERT_GT(texts.size(), 3u);
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto text = texts[i].get<std::string>();
    EXPECT_EQ(tokenizer->Encode(text), golden["tokenize"]["ids"][i].get<std::vector<TokenId>>())
        << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, GgufGolden, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace qualm
