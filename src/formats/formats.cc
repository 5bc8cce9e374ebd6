// The table of formats, and what they share: the description of a folder, sorted layers, the
// readings that an option leaves out.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "formats/format_list.h"
#include "formats/quantized_layers.h"

namespace qualm {
namespace {

// The files next to config.json in which older tools describe what they did.
constexpr std::string_view kDescriptionFiles[] = {"quantize_config.json", "quant_config.json",
                                                  "quantization_config.json",
                                                  "hf_quant_config.json"};

// The type that the model computes in, as transformers reads it.
DType ModelDType(const Json& config) {
  for (const char* key : {"dtype", "torch_dtype"}) {
    const auto found = config.find(key);
    if (found == config.end() || !found->is_string()) continue;
    const std::string name = found->get<std::string>();
    if (name == "bfloat16") return DType::kBF16;
    if (name == "float16") return DType::kF16;
  }
  return DType::kF32;
}

}  // namespace

EnumNames NamesOfEnum(GptqZeros) {
  static constexpr std::array<std::string_view, 4> kNames = {"auto", "word", "masked", "unmasked"};
  return {"reading of GPTQ's zero points", kNames};
}

const StoredLayer* QuantizedLayers::Find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(layers_, name, {}, &StoredLayer::name);
  return found != layers_.end() && found->name == name ? &*found : nullptr;
}

QuantizedWeight QuantizedLayers::Read(const StoredLayer& stored) const {
  QuantizedWeight weight = ReadWhole(stored);
  auto* layer = std::get_if<QuantizedLinear>(&weight);
  if (layer == nullptr) return weight;
  if (options_.float32_weights) {
    layer->value_form.type = DType::kF32;
    layer->value_form.rounds_difference = false;
  }
  if (options_.weights_only) {
    layer->activations.reset();
  }
  return weight;
}

ConfiguredAttention QuantizedLayers::Attention(const std::string& module) const {
  ConfiguredAttention attention = WholeAttention(module);
  if (options_.weights_only) {
    attention.keys.reset();
    attention.values.reset();
  }
  return attention;
}

void QuantizedLayers::Sort() {
  std::ranges::sort(layers_, {}, &StoredLayer::name);
  std::ranges::sort(other_tensors_);
}

const std::vector<Format>& Formats() {
  static const std::vector<Format> formats = {
      GptqFormat(),         AwqFormat(),   CompressedTensorsFormat(),
      BitsAndBytesFormat(), HqqFormat(),   AutoRoundFormat(),
      Fp8Format(),          Mxfp4Format(), ModelOptFormat(),
  };
  return formats;
}

namespace {

// In config.json; null if it has none.
const Json* OwnDescription(const Json& config) {
  if (!config.is_object()) return nullptr;
  for (const char* key : {"quantization_config", "compression_config"}) {
    const auto found = config.find(key);
    if (found != config.end() && !found->is_null()) return &*found;
  }
  return nullptr;
}

}  // namespace

std::filesystem::path QuantizationFileOf(const std::filesystem::path& folder, const Json& config) {
  if (OwnDescription(config) != nullptr) return {};
  for (const std::string_view name : kDescriptionFiles) {
    std::error_code ignored;
    if (std::filesystem::exists(folder / name, ignored)) return folder / name;
  }
  return {};
}

Json QuantizationConfigOf(const std::filesystem::path& folder, const Json& config) {
  if (const Json* own = OwnDescription(config)) return *own;
  const std::filesystem::path file = QuantizationFileOf(folder, config);
  return file.empty() ? Json() : ReadJsonFile(file);
}

std::unique_ptr<QuantizedLayers> OpenQuantizedLayers(const TensorFile& tensors,
                                                     const std::filesystem::path& folder,
                                                     const Json& config,
                                                     const ReadOptions& options) {
  Json quantization = QuantizationConfigOf(folder, config);
  // HQQ's own files describe every module in the file itself.
  if (quantization.is_null() && tensors.container() == "torch" &&
      ContentsOf(tensors.files().front()) == TorchContents::kModules) {
    quantization = {{"quant_method", "hqq"}};
  }
  if (quantization.is_null()) return nullptr;
  if (!quantization.is_object()) {
    ThrowBadInput(folder.string(), "quantization_config to be an object", quantization.type_name());
  }

  const FormatInput input{&tensors, folder, &config, &quantization, ModelDType(config), options};
  for (const Format& format : Formats()) {
    if (format.recognises(input)) {
      return At(folder.string(), [&] { return format.open(input); });
    }
  }

  // Nothing in the table knows it: the message says what there is.
  std::vector<std::string> names;
  for (const Format& format : Formats()) names.emplace_back(format.name);
  const auto method = quantization.find("quant_method");
  ThrowBadInput(StrCat(folder.string(), ": quantization_config"),
                StrCat("a quant_method among ", Join(names, ", ")),
                method == quantization.end() ? "none" : method->dump().substr(0, 60));
}

}  // namespace qualm
