// Files of other tools that are damaged or contradict themselves, one mistake at a time.
#include "formats/quantized_layers.h"

#include <gmock/gmock.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/safetensors.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;

// A folder of one layer, which a test damages before it is written.
struct Folder {
  Json config = Json::object();
  struct Tensor {
    DType type;
    std::vector<size_t> shape;
    std::vector<std::byte> bytes;
  };
  std::map<std::string, Tensor> tensors;

  // A tensor whose bytes all have one value.
  void Put(const std::string& name, DType type, std::vector<size_t> shape, uint8_t byte) {
    size_t count = SizeOf(type);
    for (const size_t extent : shape) count *= extent;
    tensors[name] = {type, std::move(shape), std::vector<std::byte>(count, std::byte{byte})};
  }

  // Reads every layer; the message of the error, or "no error".
  std::string Read() const {
    const testing::TemporaryFolder folder;
    std::vector<TensorToWrite> list;
    for (const auto& [name, tensor] : tensors) {
      list.push_back({name, tensor.type, tensor.shape, tensor.bytes});
    }
    WriteSafetensors(folder.path() / "model.safetensors", list);
    return testing::ErrorOf([&] {
      const TensorFile file = TensorFile::Open(folder.path());
      const auto layers = OpenQuantizedLayers(file, folder.path(), config, {});
      if (layers == nullptr) return;
      for (const StoredLayer& layer : layers->layers()) (void)layers->Read(layer);
    });
  }
};

// One layer [8, 64] of 4 bits in groups of 32.
Folder Gptq() {
  Folder folder;
  folder.config["quantization_config"] = {
      {"quant_method", "gptq"}, {"bits", 4}, {"group_size", 32}, {"sym", false}};
  folder.Put("a.qweight", DType::kI32, {8, 8}, 0x21);
  folder.Put("a.qzeros", DType::kI32, {2, 1}, 0x43);
  folder.Put("a.scales", DType::kF16, {2, 8}, 0x24);
  folder.Put("a.g_idx", DType::kI32, {64}, 0);
  for (size_t i = 0; i < 64; ++i) folder.tensors["a.g_idx"].bytes[4 * i] = std::byte(i / 32);
  return folder;
}

// One layer [8, 32] of 3 bits in groups of 16.
Folder CompressedTensors() {
  Folder folder;
  folder.config["quantization_config"] = {{"quant_method", "compressed-tensors"},
                                          {"format", "pack-quantized"},
                                          {"config_groups",
                                           {{"group_0",
                                             {{"targets", {"Linear"}},
                                              {"weights",
                                               {{"num_bits", 3},
                                                {"type", "int"},
                                                {"symmetric", true},
                                                {"strategy", "group"},
                                                {"group_size", 16}}}}}}}};
  folder.Put("a.weight_packed", DType::kI32, {8, 3}, 0x51);
  folder.Put("a.weight_scale", DType::kBF16, {8, 2}, 0x3c);
  folder.Put("a.weight_shape", DType::kI64, {2}, 0);
  folder.tensors["a.weight_shape"].bytes[0] = std::byte{8};
  folder.tensors["a.weight_shape"].bytes[8] = std::byte{32};
  return folder;
}

struct Mistake {
  std::string_view message;
  std::function<void(Folder&)> make;
};

void ExpectRefusals(const std::function<Folder()>& make, const std::vector<Mistake>& mistakes) {
  ASSERT_EQ(make().Read(), "no error");
  for (const Mistake& mistake : mistakes) {
    Folder folder = make();
    mistake.make(folder);
    EXPECT_THAT(folder.Read(), HasSubstr(std::string(mistake.message)));
  }
}

Json& Settings(Folder& folder) { return folder.config["quantization_config"]; }
Json& Weights(Folder& folder) { return Settings(folder)["config_groups"]["group_0"]["weights"]; }

// One transform of all linear layers at that location.
void Transform(Folder& folder, Json group, const char* location) {
  group["apply"] = Json::array();
  Json place = {{"location", location}, {"ignore", Json::array()}};
  place["targets"] = Json::array({"Linear"});
  group["apply"].push_back(place);
  Settings(folder)["transform_config"]["config_groups"]["R"] = group;
}

TEST(QuantizedLayers, DamagedGptqFilesAreRefused) {
  ExpectRefusals(
      Gptq,
      {
          {"a quant_method among gptq", [](Folder& f) { Settings(f)["quant_method"] = "none"; }},
          {"bits in 2..8", [](Folder& f) { Settings(f)["bits"] = 9; }},
          {"bits in 2..8", [](Folder& f) { Settings(f)["bits"] = 0; }},
          {"scales [4, 8]", [](Folder& f) { Settings(f)["group_size"] = 16; }},
          {"a group_size above 0, or -1", [](Folder& f) { Settings(f)["group_size"] = 0; }},
          {"a multiple of 3", [](Folder& f) { Settings(f)["bits"] = 3; }},
          {"checkpoint_format", [](Folder& f) { Settings(f)["checkpoint_format"] = "marlin"; }},
          {"pack_dtype int32", [](Folder& f) { Settings(f)["pack_dtype"] = "int64"; }},
          {"'a.scales'", [](Folder& f) { f.tensors.erase("a.scales"); }},
          {"'a.qzeros'", [](Folder& f) { f.tensors.erase("a.qzeros"); }},
          {"I32 [2, 1]",
           [](Folder& f) {
             f.Put("a.qzeros", DType::kI32, {2, 2}, 0);
           }},
          {"F16 or BF16 or F32",
           [](Folder& f) {
             f.Put("a.scales", DType::kI16, {2, 8}, 0);
           }},
          {"finite scales",
           [](Folder& f) {
             f.Put("a.scales", DType::kF16, {2, 8}, 0x7f);
           }},
          {"groups below 2; got 9",
           [](Folder& f) { f.tensors["a.g_idx"].bytes[0] = std::byte{9}; }},
          {"32 columns of group", [](Folder& f) { f.tensors["a.g_idx"].bytes[0] = std::byte{1}; }},
          {"a float layer",
           [](Folder& f) {
             Settings(f)["dynamic"] = {{"-:a", Json::object()}};
           }},
          {"dynamic",
           [](Folder& f) {
             Settings(f)["dynamic"] = {{"+:(", Json::object()}};
           }},
      });
}

TEST(QuantizedLayers, DamagedCompressedTensorsFilesAreRefused) {
  ExpectRefusals(
      CompressedTensors,
      {
          {"num_bits] expected 1..8", [](Folder& f) { Weights(f)["num_bits"] = 16; }},
          {"weight_shape, num_bits and the codes do not agree",
           [](Folder& f) { Weights(f)["num_bits"] = 4; }},
          {"group_size", [](Folder& f) { Weights(f)["group_size"] = 0; }},
          {"[8, 4]", [](Folder& f) { Weights(f)["group_size"] = 8; }},
          {"strategy", [](Folder& f) { Weights(f)["strategy"] = "row"; }},
          {"type", [](Folder& f) { Weights(f)["type"] = "posit"; }},
          {"integers per tensor", [](Folder& f) { Weights(f)["type"] = "float"; }},
          {"a format among", [](Folder& f) { Settings(f)["format"] = "marlin-24"; }},
          {"nobody", [](Folder& f) { Weights(f)["nobody"] = 1; }},
          {"a group of the configuration", [](Folder& f) { Settings(f)["ignore"] = {"a"}; }},
          {"format dense",
           [](Folder& f) {
             Settings(f)["sparsity_config"] = {{"format", "sparse-24-bitmask"}};
           }},
          {"'a.weight_shape'", [](Folder& f) { f.tensors.erase("a.weight_shape"); }},
          {"'a.weight_scale'", [](Folder& f) { f.tensors.erase("a.weight_scale"); }},
          {"the words of 9 rows",
           [](Folder& f) { f.tensors["a.weight_shape"].bytes[0] = std::byte{9}; }},
          {"do not agree",
           [](Folder& f) { f.tensors["a.weight_shape"].bytes[15] = std::byte{0x7f}; }},
          {"finite scales",
           [](Folder& f) {
             f.Put("a.weight_scale", DType::kBF16, {8, 2}, 0xff);
           }},
          {"'a.weight_zero_point'", [](Folder& f) { Weights(f)["symmetric"] = false; }},
          {"a matrix [64, 64]",
           [](Folder& f) {
             Settings(f)["transform_config"] = {{"config_groups",
                                                 {{"R4",
                                                   {{"type", "hadamard"},
                                                    {"head_dim", 64},
                                                    {"apply",
                                                     {{{"targets", {"Linear"}},
                                                       {"location", "input"},
                                                       {"ignore", Json::array()}}}}}}}}};
           }},
          {"hadamard or random-hadamard",
           [](Folder& f) {
             Transform(f, {{"type", "random-matrix"}, {"head_dim", 16}}, "input");
           }},
          {"randomize] expected false",
           [](Folder& f) {
             Transform(f, {{"type", "hadamard"}, {"randomize", true}}, "input");
           }},
          {"q_attn and k_cache with one matrix",
           [](Folder& f) {
             Transform(f, {{"type", "hadamard"}, {"head_dim", 16}}, "q_attn");
           }},
          {"no bias with the transform of outputs",
           [](Folder& f) {
             Transform(f, {{"type", "hadamard"}, {"head_dim", 8}}, "output");
             f.Put("a.bias", DType::kBF16, {8}, 0);
           }},
          {"a quantized layer for the transform",
           [](Folder& f) {
             Transform(f, {{"type", "hadamard"}, {"head_dim", 8}}, "output");
             f.Put("b.weight", DType::kBF16, {8, 8}, 0);
           }},
      });
}

}  // namespace
}  // namespace qualm
