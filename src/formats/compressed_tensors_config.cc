// Reads the description strictly: a key whose meaning is not known could change every weight.
#include "formats/compressed_tensors_config.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error_place.h"
#include "base/strings.h"
#include "formats/module_patterns.h"

namespace qualm {
namespace {

constexpr std::string_view kPattern = "re:";

std::string TextOr(const Json& object, const char* key, std::string_view fallback) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return std::string(fallback);
  if (!found->is_string()) ThrowBadInput(key, "a text", found->type_name());
  return found->get<std::string>();
}

std::vector<std::string> TextsOf(const Json& object, const char* key) {
  std::vector<std::string> texts;
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return texts;
  if (!found->is_array()) ThrowBadInput(key, "a list of texts", found->type_name());
  for (const Json& item : *found) {
    if (!item.is_string()) ThrowBadInput(key, "a list of texts", item.type_name());
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

// Keys of QuantizationArgs; those after group_size say how the numbers were found, not what they
// mean.
TensorArgs ArgsFrom(const Json& json) {
  RequireObject(
      json,
      {"num_bits", "type", "symmetric", "strategy", "block_structure", "dynamic", "actorder",
       "group_size", "observer", "observer_kwargs", "scale_dtype", "zp_dtype", "is_mx"},
      kNoPlace);
  TensorArgs args;
  args.bits = static_cast<int>(GetInt(json, "num_bits", kNoPlace, 8));
  if (args.bits < 1 || args.bits > 8) {
    ThrowBadInput("num_bits", "1..8", StrCat(args.bits), "16 bits are not quantized");
  }
  const std::string type = TextOr(json, "type", "int");
  if (type != "int" && type != "float") ThrowBadInput("type", "int or float", type.substr(0, 40));
  args.is_float = type == "float";
  args.is_symmetric = GetBool(json, "symmetric", kNoPlace, true);

  // A group size without a strategy means groups, as the library fills it in.
  args.group_size = GetInt(json, "group_size", kNoPlace, 0);
  args.strategy = TextOr(json, "strategy", "");
  if (args.group_size == -1) args.group_size = 0;
  if (args.strategy.empty()) args.strategy = args.group_size > 0 ? "group" : "tensor";
  constexpr std::array<std::string_view, 7> kStrategies = {
      "tensor", "channel", "group", "block", "token", "tensor_group", "attn_head"};
  if (std::ranges::find(kStrategies, args.strategy) == kStrategies.end()) {
    ThrowBadInput("strategy",
                  Join(std::vector<std::string>(kStrategies.begin(), kStrategies.end()), ", "),
                  args.strategy.substr(0, 40));
  }
  const bool has_groups = args.strategy == "group" || args.strategy == "tensor_group";
  if (has_groups && (args.group_size < 1 || args.group_size > (1 << 20))) {
    ThrowBadInput("group_size", StrCat("1..", 1 << 20), StrCat(args.group_size));
  }

  if (const auto block = json.find("block_structure"); block != json.end() && !block->is_null()) {
    // Older files write "128x128".
    std::vector<std::string> sides;
    if (block->is_string()) {
      sides = Split(block->get<std::string>(), 'x');
    } else if (block->is_array()) {
      for (const Json& side : *block) sides.push_back(side.dump());
    }
    for (const std::string& side : sides) {
      size_t number = 0;
      const bool is_number = !side.empty() && side.size() < 8 &&
                             std::ranges::all_of(side, [](char c) { return c >= '0' && c <= '9'; });
      if (is_number) number = std::stoul(side);
      if (number == 0) ThrowBadInput("block_structure", "two sizes", side.substr(0, 40));
      args.block.push_back(number);
    }
    if (args.block.size() != 2) {
      ThrowBadInput("block_structure", "two sizes", StrCat(args.block.size()));
    }
  }
  if (args.strategy == "block" && args.block.empty()) {
    ThrowBadInput("block_structure", "two sizes with strategy block", "none");
  }

  args.has_byte_scales =
      TextOr(json, "scale_dtype", "") == "torch.uint8" || GetBool(json, "is_mx", kNoPlace, false);
  const auto dynamic = json.find("dynamic");
  args.dynamic = dynamic == json.end() || dynamic->is_null() ? "false" : dynamic->dump();
  std::erase(args.dynamic, '"');
  if (args.dynamic != "true" && args.dynamic != "false" && args.dynamic != "local") {
    ThrowBadInput("dynamic", "true, false or local", args.dynamic.substr(0, 40));
  }
  return args;
}

std::optional<TensorArgs> ArgsAt(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return std::nullopt;
  return At(key, [&] { return ArgsFrom(*found); });
}

// Where one entry of `apply` acts at run time; nothing if it is folded into the weights.
std::optional<TransformPlace> PlaceFrom(const Json& json) {
  RequireObject(json, {"targets", "location", "inverse", "ignore"}, kNoPlace);
  TransformPlace place;
  const std::string location = TextOr(json, "location", "");
  if (location == "weight_input" || location == "weight_output") return std::nullopt;
  if (location == "input") {
    place.where = TransformPlace::Where::kInput;
  } else if (location == "output") {
    place.where = TransformPlace::Where::kOutput;
  } else if (location == "q_attn" || location == "k_cache") {
    place.where = TransformPlace::Where::kHeads;
  } else {
    ThrowBadInput("location", "input, output, weight_input, weight_output, q_attn or k_cache",
                  StrCat("'", location.substr(0, 40), "'"));
  }
  place.is_inverse = GetBool(json, "inverse", kNoPlace, false);
  place.targets = TextsOf(json, "targets");
  place.ignore = TextsOf(json, "ignore");
  return place;
}

// Queries and keys must turn alike, or their products change.
void RequireBothHeads(const Json& object, const TransformGroup& group) {
  std::set<std::string> locations;
  std::set<bool> inverses;
  for (const TransformPlace& place : group.places) {
    if (place.where == TransformPlace::Where::kHeads) inverses.insert(place.is_inverse);
  }
  for (const Json& entry : GetChild(object, "apply", kNoPlace)) {
    locations.insert(TextOr(entry, "location", ""));
  }
  const bool has_both = locations.contains("q_attn") && locations.contains("k_cache");
  if (inverses.empty() || (has_both && inverses.size() == 1)) return;
  ThrowBadInput("apply", "q_attn and k_cache with one matrix", has_both ? "two" : "one of them");
}

std::vector<TransformGroup> TransformsFrom(const Json& json) {
  std::vector<TransformGroup> groups;
  const auto found = json.find("config_groups");
  if (found == json.end() || !found->is_object()) {
    ThrowBadInput("config_groups", "an object", "none");
  }
  for (const auto& [name, value] : found->items()) {
    TransformGroup group;
    group.name = name;
    const Json& object = value;
    At(name.substr(0, 40), [&] {
      RequireObject(
          object,
          {"type", "apply", "randomize", "requires_grad", "block_size", "head_dim", "precision"},
          kNoPlace);
      const std::string type = TextOr(object, "type", "hadamard");
      group.is_any_matrix = type == "random-matrix";
      if (type != "hadamard" && type != "random-hadamard" && !group.is_any_matrix) {
        ThrowBadInput("type", "hadamard, random-hadamard or random-matrix",
                      StrCat("'", type.substr(0, 40), "'"));
      }
      if (GetBool(object, "randomize", kNoPlace, false)) {
        ThrowBadInput("randomize", "false", "true",
                      "matrices whose rows are drawn again for each module are not read");
      }
      const char* size = object.contains("head_dim") ? "head_dim" : "block_size";
      const int64_t side = GetInt(object, size, kNoPlace, 0);
      if (side < 0 || side > (1 << 16)) ThrowBadInput(size, "a size", StrCat(side));
      group.head_dim = static_cast<size_t>(side);
      const Json& apply = GetChild(object, "apply", kNoPlace);
      if (!apply.is_array()) ThrowBadInput("apply", "a list", apply.type_name());
      for (const Json& entry : apply) {
        if (auto place = PlaceFrom(entry)) group.places.push_back(std::move(*place));
      }
    });
    At(name.substr(0, 40), [&] { RequireBothHeads(object, group); });
    if (!group.places.empty()) groups.push_back(std::move(group));
  }
  return groups;
}

bool MatchesTarget(const std::string& target, const std::string& module) {
  if (!target.starts_with(kPattern)) return target == module;
  return ModulePattern(target.substr(kPattern.size()), "targets").MatchesFront(module);
}

}  // namespace

CompressedTensorsConfig CompressedTensorsConfig::From(const Json& quantization) {
  CompressedTensorsConfig config;
  config.format = TextOr(quantization, "format", "dense");
  config.version = TextOr(quantization, "version", "").substr(0, 40);
  config.status = TextOr(quantization, "quantization_status", "compressed");
  config.ignore = TextsOf(quantization, "ignore");
  config.kv_cache = ArgsAt(quantization, "kv_cache_scheme");
  const auto transforms = quantization.find("transform_config");
  if (transforms != quantization.end() && transforms->is_object() && !transforms->empty()) {
    config.transforms = At("transform_config", [&] { return TransformsFrom(*transforms); });
  }

  // What removes weights is another format.
  const auto sparsity = quantization.find("sparsity_config");
  if (sparsity != quantization.end() && sparsity->is_object() && !sparsity->empty()) {
    const std::string format = TextOr(*sparsity, "format", "dense");
    if (format != "dense") {
      ThrowBadInput("sparsity_config", "format dense", format.substr(0, 40),
                    "sparse files are not read; save the model without sparse compression");
    }
  }

  const auto groups = quantization.find("config_groups");
  if (groups == quantization.end() || !groups->is_object()) {
    if (config.kv_cache) return config;  // weights stay float
    ThrowBadInput("config_groups", "an object of groups", "none");
  }
  for (const auto& [key, value] : groups->items()) {
    const std::string& name = key;  // Clang 14 lets no lambda take a structured binding
    const Json& json = value;
    At(StrCat("config_groups: ", name.substr(0, 80)), [&] {
      RequireObject(json,
                    {"targets", "weights", "input_activations", "output_activations", "format"},
                    kNoPlace);
      TensorGroup group;
      group.name = name;
      group.targets = TextsOf(json, "targets");
      group.weights = ArgsAt(json, "weights");
      group.inputs = ArgsAt(json, "input_activations");
      group.outputs = ArgsAt(json, "output_activations");
      group.format = TextOr(json, "format", config.format);
      config.groups.push_back(std::move(group));
    });
  }
  return config;
}

bool CompressedTensorsConfig::IsAt(const TransformPlace& place, const std::string& module) {
  const auto matches = [&](const std::string& target) {
    // Classes: every layer, and the attention of any family.
    const bool is_class = target.find('.') == std::string::npos && !target.starts_with(kPattern);
    const bool is_attention =
        is_class && place.where == TransformPlace::Where::kHeads && target.ends_with("Attention");
    return target == "Linear" || is_attention || MatchesTarget(target, module);
  };
  return std::ranges::any_of(place.targets, matches) && std::ranges::none_of(place.ignore, matches);
}

bool CompressedTensorsConfig::Ignores(const std::string& module) const {
  return std::ranges::any_of(ignore, [&](const std::string& target) {
    return target != "Linear" && MatchesTarget(target, module);
  });
}

const TensorGroup* CompressedTensorsConfig::GroupOf(const std::string& module) const {
  if (Ignores(module)) return nullptr;

  // All targets, the names before the patterns, each kind in the order of the alphabet.
  struct Target {
    bool is_pattern;
    std::string text;
    const TensorGroup* group;
  };
  std::vector<Target> targets;
  for (const TensorGroup& group : groups) {
    for (const std::string& text : group.targets) {
      targets.push_back({text.starts_with(kPattern), text, &group});
    }
  }
  // Of two groups with one target the later one counts, as in the library's dictionary.
  std::ranges::reverse(targets);
  std::ranges::stable_sort(targets, [](const Target& a, const Target& b) {
    return std::pair(a.is_pattern, a.text) < std::pair(b.is_pattern, b.text);
  });
  for (const Target& target : targets) {
    if (MatchesTarget(target.text, module)) return target.group;
  }
  for (const Target& target : targets) {
    if (target.text == "Linear") return target.group;
  }
  return nullptr;
}

}  // namespace qualm
