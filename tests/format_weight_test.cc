// Quantized files of other tools against what the tools' own libraries make of them: the
// dequantized weight of every module, to the bit.
#include <gmock/gmock.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/strings.h"
#include "data/sha256.h"
#include "formats/quantized_layers.h"
#include "io/json.h"
#include "support/shared_data.h"

namespace qualm {
namespace {

// Folders that a quantization_config describes: GGUF files and adapters have separate tests.
std::vector<std::string> Cases() {
  std::vector<std::string> names;
  const std::filesystem::path root = testing::SharedRoot() / "golden/formats";
  if (std::filesystem::exists(root)) {
    for (const auto& entry : std::filesystem::directory_iterator(root)) {
      const std::filesystem::path& path = entry.path();
      if (!std::filesystem::exists(path / "golden.json")) continue;
      if (!std::filesystem::exists(path / "config.json")) continue;
      const Json golden = ReadJsonFile(path / "golden.json");
      if (!golden.contains("modules") || golden["modules"].empty()) continue;
      names.push_back(path.filename().string());
    }
  }
  std::ranges::sort(names);
  return names.empty() ? std::vector<std::string>{"absent"} : names;
}

class FormatWeight : public ::testing::TestWithParam<std::string> {};

// The bytes of a matrix in a float type, row by row.
std::string BytesIn(const Matrix& weight, DType type) {
  std::string bytes(weight.rows() * weight.cols() * SizeOf(type), '\0');
  ConvertFromFloat(weight.data(), type, bytes.data(), weight.rows() * weight.cols());
  return bytes;
}

DType TypeNamed(const std::string& name) {
  if (name == "float16") return DType::kF16;
  return name == "bfloat16" ? DType::kBF16 : DType::kF32;
}

// The first and last row, where the golden has them, within its tolerance.
void ExpectRowsNear(const Json& module, const Matrix& weight) {
  const double tolerance = module["tolerance"].get<double>();
  for (const auto& [key, row] :
       std::map<std::string, size_t>{{"first_row", 0}, {"last_row", weight.rows() - 1}}) {
    if (!module.contains(key)) continue;
    for (size_t c = 0; c < weight.cols(); ++c) {
      EXPECT_NEAR(weight(row, c), module[key][c].get<double>(), tolerance) << key << " " << c;
    }
  }
}

TEST_P(FormatWeight, EveryWeightIsTheLibrarys) {
  QUALM_SHARED_OR_SKIP(folder, std::filesystem::path("golden/formats") / GetParam());
  const Json config = ReadJsonFile(folder / "config.json");
  const TensorFile tensors = TensorFile::Open(folder);
  const Json golden = ReadJsonFile(folder / "golden.json");
  const auto layers = OpenQuantizedLayers(tensors, folder, config, {});
  const auto plain = OpenQuantizedLayers(tensors, folder, config, {.float32_weights = true});
  ASSERT_NE(layers, nullptr);

  std::set<std::string> seen;
  for (const auto& [name, module] : golden["modules"].items()) {
    const StoredLayer* layer = layers->Find(name);
    ASSERT_NE(layer, nullptr) << name;
    seen.insert(name);
    const Matrix weight = Dequantize(layers->Read(*layer));
    ASSERT_EQ(weight.rows(), module["shape"][0].get<size_t>()) << name;
    ASSERT_EQ(weight.cols(), module["shape"][1].get<size_t>()) << name;
    EXPECT_EQ(layer->out, weight.rows());
    EXPECT_EQ(layer->in, weight.cols());
    EXPECT_GT(layer->bytes, 0u) << name;

    // The rounding of the library is its own, or is left out.
    const DType type = TypeNamed(module["dtype"].get<std::string>());
    if (module.contains("tolerance")) {
      ExpectRowsNear(module, weight);
    } else {
      EXPECT_EQ(Sha256OfText(BytesIn(weight, type)), module["sha256"].get<std::string>()) << name;
      EXPECT_EQ(layer->value_type, type) << name;
    }
    if (module.contains("sha256_float32")) {
      const Matrix wide = Dequantize(plain->Read(*plain->Find(name)));
      EXPECT_EQ(Sha256OfText(BytesIn(wide, DType::kF32)),
                module["sha256_float32"].get<std::string>())
          << name;
    }
  }
  // No layer beyond those of the library.
  for (const StoredLayer& layer : layers->layers()) {
    EXPECT_TRUE(seen.contains(layer.name)) << layer.name;
  }
}

// A file that HQQ's library has saved itself: all widths, both axes, and the form of older files.
TEST(FormatWeightOfModules, EveryWeightIsHqqs) {
  const std::filesystem::path folder = testing::SourceRoot() / "tests/data/hqq";
  const TensorFile tensors = TensorFile::Open(folder);
  const auto layers = OpenQuantizedLayers(tensors, folder, Json::object(), {});
  ASSERT_NE(layers, nullptr);
  EXPECT_EQ(layers->description().name, "hqq");

  const Json values = ReadJsonFile(folder / "values.json");
  EXPECT_EQ(layers->layers().size(), values.size());
  std::set<std::string> used;
  for (const auto& [name, module] : values.items()) {
    const StoredLayer* layer = layers->Find(name);
    ASSERT_NE(layer, nullptr) << name;
    used.insert(layer->tensors.begin(), layer->tensors.end());
    const Matrix weight = Dequantize(layers->Read(*layer));
    const DType type = TypeNamed(module["dtype"].get<std::string>());
    EXPECT_EQ(Json(std::vector{weight.rows(), weight.cols()}), module["shape"]) << name;
    EXPECT_EQ(layer->value_type, type) << name;
    EXPECT_EQ(Sha256OfText(BytesIn(weight, type)), module["sha256"].get<std::string>()) << name;
  }

  // What is left are weights of the model.
  std::vector<std::string> others;
  for (const TensorView& tensor : tensors.tensors()) {
    if (!used.contains(tensor.name)) others.push_back(tensor.name);
  }
  EXPECT_THAT(others, ::testing::ElementsAre("a.w4.bias", "norm.weight"));
}

INSTANTIATE_TEST_SUITE_P(Goldens, FormatWeight, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace qualm
