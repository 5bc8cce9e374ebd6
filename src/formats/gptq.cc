// Checkpoints of AutoGPTQ and GPTQModel: what their description says of each module.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error_place.h"
#include "base/strings.h"
#include "formats/format_list.h"
#include "formats/format_tensors.h"
#include "formats/gptq_layers.h"
#include "formats/module_patterns.h"

namespace qualm {
namespace {

constexpr std::string_view kPlace = "quantization_config";

// An override of the settings for modules that a pattern fits, or their exclusion.
struct DynamicRule {
  ModulePattern pattern;
  bool excludes = false;
  GptqSettings settings;
};

// Settings of an object over those that hold without it.
GptqSettings SettingsFrom(const Json& object, GptqSettings settings, std::string_view place) {
  settings.bits = static_cast<int>(GetInt(object, "bits", place, settings.bits));
  if (settings.bits < 2 || settings.bits > 8) {
    ThrowBadInput(place, "bits in 2..8", StrCat(settings.bits));
  }
  settings.group_size = GetInt(object, "group_size", place, settings.group_size);
  settings.is_symmetric = GetBool(object, "sym", place, settings.is_symmetric);
  settings.has_act_order = GetBool(object, "desc_act", place, settings.has_act_order);
  return settings;
}

// "+:regex" changes what it names, "-:regex" takes modules out; no sign is "+".
std::vector<DynamicRule> DynamicRules(const Json& quantization, const GptqSettings& base) {
  std::vector<DynamicRule> rules;
  const auto found = quantization.find("dynamic");
  if (found == quantization.end() || found->is_null()) return rules;
  if (!found->is_object()) ThrowBadInput(kPlace, "dynamic: an object", found->type_name());
  for (const auto& [key, value] : found->items()) {
    const std::string place = StrCat(kPlace, ": dynamic['", key.substr(0, 80), "']");
    const bool excludes = key.starts_with("-:");
    const bool has_sign = excludes || key.starts_with("+:");
    if (!value.is_object()) ThrowBadInput(place, "an object", value.type_name());
    rules.push_back({ModulePattern(has_sign ? key.substr(2) : key, place), excludes,
                     excludes ? base : SettingsFrom(value, base, place)});
  }
  return rules;
}

// "gptqmodel:7.7.0", from a list or a text; empty if the file does not say.
std::string ToolOf(const Json& quantization) {
  const auto meta = quantization.find("meta");
  if (meta == quantization.end() || !meta->is_object()) return "";
  const auto quantizer = meta->find("quantizer");
  if (quantizer == meta->end()) return "";
  const Json& first =
      quantizer->is_array() && !quantizer->empty() ? quantizer->front() : *quantizer;
  return first.is_string() ? first.get<std::string>().substr(0, 80) : "";
}

std::unique_ptr<QuantizedLayers> Open(const FormatInput& input) {
  const Json& quantization = *input.quantization;
  GptqSettings base;
  (void)GetInt(quantization, "bits", kPlace);  // must be there
  base = SettingsFrom(quantization, base, kPlace);
  const std::vector<DynamicRule> rules = DynamicRules(quantization, base);

  // The first version is what files without a name of their form have.
  const std::string form = GetString(quantization, "checkpoint_format", kPlace,
                                     GetString(quantization, "format", kPlace, "gptq"));
  GptqPacking packing;
  packing.is_planar = form == "gptq_p";
  packing.is_v2 = form == "gptq_v2" || packing.is_planar;
  if (!packing.is_v2 && form != "gptq") {
    ThrowBadInput(kPlace, "checkpoint_format gptq, gptq_v2 or gptq_p", form.substr(0, 40));
  }
  if (const std::string word = GetString(quantization, "pack_dtype", kPlace, "int32");
      word != "int32" && word != "torch.int32") {
    ThrowBadInput(kPlace, "pack_dtype int32", word.substr(0, 40));
  }

  const std::string tool = ToolOf(quantization);
  packing.writer_is_gptqmodel = tool.starts_with("gptqmodel");
  packing.zeros = input.options.gptq_zeros;

  FormatDescription description;
  description.name = "gptq";
  description.variant = StrCat(packing.is_planar ? "planar"
                               : packing.is_v2   ? "v2"
                                                 : "v1",
                               ", ", base.bits, " bits, groups of ", base.group_size,
                               base.has_act_order ? ", desc_act" : "");
  description.tool = tool;
  const auto version = input.tensors->metadata().find("auto_gptq_version");
  if (tool.empty() && version != input.tensors->metadata().end()) {
    description.tool = StrCat("auto_gptq ", version->second.substr(0, 40));
  }

  // The earliest pattern that fits decides.
  const auto settings = [&](const std::string& module) -> std::optional<GptqSettings> {
    for (const DynamicRule& rule : rules) {
      if (!rule.pattern.MatchesFront(module)) continue;
      if (rule.excludes) return std::nullopt;
      return rule.settings;
    }
    return base;
  };
  return std::make_unique<GptqLayers>(input, std::move(description), packing, settings);
}

bool Recognises(const FormatInput& input) {
  const Json& quantization = *input.quantization;
  const auto method = quantization.find("quant_method");
  if (method != quantization.end() && method->is_string()) {
    return method->get<std::string>() == "gptq";
  }
  // AutoGPTQ's own file names no method.
  return method == quantization.end() && quantization.contains("bits") &&
         !ModulesWith(*input.tensors, ".qweight").empty();
}

}  // namespace

Format GptqFormat() {
  return {"gptq", "GPTQ's packing of AutoGPTQ and GPTQModel: v1, v2, planar, 2 to 8 bits",
          Recognises, Open};
}

}  // namespace qualm
