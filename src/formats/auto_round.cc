// Checkpoints of AutoRound, which stores other tools' packings under a separate description.
#include <nlohmann/json.hpp>

#include "base/error_place.h"
#include "base/strings.h"
#include "formats/awq_layers.h"
#include "formats/compressed_tensors_config.h"
#include "formats/format_list.h"
#include "formats/gptq_layers.h"
#include "formats/module_patterns.h"

namespace qualm {
namespace {

constexpr std::string_view kPlace = "quantization_config";

// What one module is stored as; 16 bits and more are floats.
struct ModuleSettings {
  int64_t bits = 4;
  int64_t group_size = 128;
  bool is_symmetric = true;
};

ModuleSettings SettingsFrom(const Json& object, ModuleSettings settings, std::string_view place) {
  settings.bits = GetInt(object, "bits", place, settings.bits);
  settings.group_size = GetInt(object, "group_size", place, settings.group_size);
  settings.is_symmetric = GetBool(object, "sym", place, settings.is_symmetric);
  if (settings.bits < 1) ThrowBadInput(place, "bits above 0", StrCat(settings.bits));
  return settings;
}

// Settings of single modules, by name or by a pattern over whole names.
class ExtraConfig {
 public:
  ExtraConfig(const Json& quantization, const ModuleSettings& base) : base_(base) {
    const auto extra = quantization.find("extra_config");
    if (extra == quantization.end() || extra->is_null()) return;
    if (!extra->is_object()) ThrowBadInput(kPlace, "extra_config: an object", extra->type_name());
    for (const auto& [name, value] : extra->items()) {
      const std::string place = StrCat(kPlace, ": extra_config['", name.substr(0, 80), "']");
      if (!value.is_object()) ThrowBadInput(place, "an object", value.type_name());
      rules_.push_back({name, ModulePattern(name, place), SettingsFrom(value, base, place)});
    }
  }

  ModuleSettings Of(const std::string& module) const {
    for (const Rule& rule : rules_) {
      if (rule.name == module) return rule.settings;
    }
    for (const Rule& rule : rules_) {
      if (rule.pattern.MatchesWhole(module)) return rule.settings;
    }
    return base_;
  }

 private:
  struct Rule {
    std::string name;
    ModulePattern pattern;
    ModuleSettings settings;
  };
  ModuleSettings base_;
  std::vector<Rule> rules_;
};

// How inputs are rounded, where that is as compressed-tensors does it: NVFP4 with a static global
// scale, FP8 with a static scale or one for each token. Nothing, and a warning, for others: scales
// of MXFP formats are rounded down here.
std::optional<TensorArgs> InputsOf(const Json& quantization, FormatDescription& description) {
  const std::string type = GetString(quantization, "act_data_type", kPlace, "");
  const int64_t bits = GetInt(quantization, "act_bits", kPlace, 16);
  if (bits >= 16) return std::nullopt;
  const bool is_dynamic = GetBool(quantization, "act_dynamic", kPlace, true);
  const int64_t group = GetInt(quantization, "act_group_size", kPlace, -1);
  TensorArgs args;
  args.is_float = true;
  args.bits = static_cast<int>(bits);
  args.dynamic = is_dynamic ? "true" : "false";
  if (type == "nv_fp4_with_static_gs" && bits == 4) {
    args.strategy = "tensor_group";
    args.group_size = 16;
    args.dynamic = "local";
    return args;
  }
  const int64_t whole = is_dynamic ? -1 : 0;  // a token, or the tensor
  if (type == "fp" && bits == 8 && group == whole) {
    args.strategy = is_dynamic ? "token" : "tensor";
    return args;
  }
  description.warnings.push_back(
      StrCat("inputs are not rounded as configured (", type.substr(0, 40), ", ", bits, " bits)"));
  return std::nullopt;
}

// The floats with scales of compressed-tensors, by AutoRound's names for them.
CompressedTensorsConfig FloatConfig(const ModuleSettings& base, const std::string& data_type) {
  TensorArgs weights;
  weights.bits = static_cast<int>(base.bits);
  weights.is_float = true;
  CompressedTensorsConfig config;
  config.weight_type = DType::kF32;
  TensorGroup group;
  group.name = "group_0";
  group.targets = {"Linear"};
  if (data_type.starts_with("nv_fp")) {
    group.format = "nvfp4-pack-quantized";
    weights.strategy = "tensor_group";
    weights.group_size = 16;
  } else if (data_type.starts_with("mx_fp")) {
    group.format = base.bits == 8 ? "mxfp8-quantized" : "mxfp4-pack-quantized";
    weights.strategy = "group";
    weights.group_size = 32;
  } else {
    group.format = "float-quantized";
    weights.strategy = base.group_size == 0 ? "tensor" : "channel";
    config.weight_type = DType::kBF16;
  }
  group.weights = weights;
  config.format = group.format;
  config.groups = {group};
  return config;
}

std::unique_ptr<QuantizedLayers> Open(const FormatInput& input) {
  const Json& quantization = *input.quantization;
  const ModuleSettings base = SettingsFrom(quantization, {}, kPlace);
  const ExtraConfig extra(quantization, base);
  const std::string packing =
      GetString(quantization, "packing_format", kPlace, "auto_round:auto_gptq");
  const std::string data_type = GetString(quantization, "data_type", kPlace, "int");

  FormatDescription description;
  description.name = "auto-round";
  description.variant = StrCat(packing.substr(0, 60), ", ", data_type.substr(0, 40), ", ",
                               base.bits, " bits, groups of ", base.group_size);
  const std::string version = GetString(quantization, "autoround_version", kPlace, "");
  if (!version.empty()) description.tool = StrCat("auto-round ", version.substr(0, 40));

  // Floats first: their data type decides, whatever the packing is called.
  if (data_type.find("fp") != std::string::npos) {
    CompressedTensorsConfig config = FloatConfig(base, data_type);
    config.groups.front().inputs = InputsOf(quantization, description);
    return OpenCompressedTensors(input, std::move(config), std::move(description),
                                 /*divides_first=*/true);
  }
  const std::string kind = packing.substr(packing.find(':') + 1);
  if (kind.find("awq") != std::string::npos) {
    return std::make_unique<AwqLayers>(input, std::move(description), AwqVersion::kGemm,
                                       [&](const std::string& module) -> std::optional<int64_t> {
                                         const ModuleSettings settings = extra.Of(module);
                                         if (settings.bits >= 16) return std::nullopt;
                                         if (settings.bits != 4)
                                           ThrowBadInput(module, "4 bits in AWQ's packing",
                                                         StrCat(settings.bits));
                                         return settings.group_size;
                                       });
  }
  if (kind.find("gptq") == std::string::npos && kind.find("exllama") == std::string::npos &&
      kind != "auto_round") {
    ThrowBadInput(kPlace, "packing_format auto_round:auto_gptq or auto_round:auto_awq",
                  StrCat("'", packing.substr(0, 60), "'"));
  }

  GptqPacking gptq;
  gptq.zeros = input.options.gptq_zeros;
  gptq.drops_zero_sign = true;
  // The packing without another tool's name keeps zero points as they are.
  gptq.is_v2 = packing == "auto_round";
  return std::make_unique<GptqLayers>(
      input, std::move(description), gptq,
      [&](const std::string& module) -> std::optional<GptqSettings> {
        const ModuleSettings settings = extra.Of(module);
        if (settings.bits >= 16) return std::nullopt;
        if (settings.bits < 2 || settings.bits > 8) {
          ThrowBadInput(module, "bits in 2..8", StrCat(settings.bits));
        }
        return GptqSettings{static_cast<int>(settings.bits), settings.group_size,
                            settings.is_symmetric, false};
      });
}

bool Recognises(const FormatInput& input) {
  const auto method = input.quantization->find("quant_method");
  return method != input.quantization->end() &&
         (*method == "auto-round" || *method == "intel/auto-round");
}

}  // namespace

Format AutoRoundFormat() {
  return {"auto-round", "AutoRound's exports in the packings of GPTQ, AWQ and compressed-tensors",
          Recognises, Open};
}

}  // namespace qualm
