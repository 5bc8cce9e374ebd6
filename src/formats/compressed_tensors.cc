// Checkpoints of compressed-tensors (llm-compressor): which layers there are, of what kind and
// shape. Source: compressed-tensors' compressors, for facts.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error_place.h"
#include "base/strings.h"
#include "formats/compressed_tensors_layers.h"
#include "formats/format_list.h"
#include "formats/format_tensors.h"

namespace qualm {
namespace {

constexpr std::string_view kPlace = "quantization_config";

}  // namespace

CompressedTensorsLayers::Kind CompressedTensorsLayers::KindOf(const TensorGroup& group) {
  struct KindName {
    std::string_view format;
    Kind kind;
  };
  static constexpr KindName kKinds[] = {
      {"pack-quantized", Kind::kPacked},      {"int-quantized", Kind::kPlain},
      {"float-quantized", Kind::kFp8},        {"nvfp4-pack-quantized", Kind::kNvfp4},
      {"mxfp4-pack-quantized", Kind::kMxfp4}, {"mxfp6-pack-quantized", Kind::kMxfp6},
      {"mxfp8-quantized", Kind::kMxfp8},
  };

  // "naive" keeps the codes one in an element, whatever they are.
  if (group.format == "naive-quantized") {
    return group.weights->is_float ? Kind::kFp8 : Kind::kPlain;
  }
  const auto* found = std::ranges::find(kKinds, group.format, &KindName::format);
  if (found != std::end(kKinds)) return found->kind;
  std::vector<std::string> names = {"naive-quantized"};
  for (const KindName& name : kKinds) names.emplace_back(name.format);
  ThrowBadInput(StrCat(kPlace, ": ", group.name), StrCat("a format among ", Join(names, ", ")),
                StrCat("'", group.format.substr(0, 60), "'"));
}

CompressedTensorsLayers::CompressedTensorsLayers(const FormatInput& input,
                                                 CompressedTensorsConfig config,
                                                 FormatDescription description, bool divides_first)
    : QuantizedLayers(input.options),
      divides_first_(divides_first),
      file_(*input.tensors),
      config_(std::move(config)),
      model_type_(input.dtype) {
  // Whatever has a scale is quantized; the configuration says how.
  for (const std::string& name : ModulesWith(file_, ".weight_scale")) {
    At(name, [&] { Open(name); });
  }
  for (const std::string& name : ModulesWith(file_, ".weight_packed")) {
    if (!modules_.contains(name)) (void)file_.Get(name + ".weight_scale");
  }
  description_ = std::move(description);
  CollectOthers();
  Describe();
  CompareGlobalScales();
  RefuseLostTransforms();
  Sort();
}

// The group of the module, its shape, and its tensors.
void CompressedTensorsLayers::Open(const std::string& name) {
  Module module;
  module.name = name;
  module.group = config_.GroupOf(name);
  if (module.group == nullptr) {
    ThrowExpected("a group of the configuration that holds the module",
                  config_.Ignores(name) ? "the list of ignored ones" : "none",
                  "it has a weight_scale, so it is quantized");
  }
  if (!module.group->weights) {
    ThrowExpected("weights in its group", StrCat("none in ", module.group->name));
  }
  module.kind = KindOf(*module.group);
  CheckArgs(module);
  SetShape(module);

  StoredLayer layer = LayerOf(file_, name, module.out, module.in,
                              {".weight", ".weight_packed", ".weight_scale", ".weight_zero_point",
                               ".weight_shape", ".weight_g_idx", ".weight_global_scale",
                               ".input_scale", ".input_zero_point", ".input_global_scale"});
  layer.type = TypeName(module);

  // The library computes in the type of the scale, or in the model's where that is not a float.
  const DType scale_type = file_.Get(name + ".weight_scale").type;
  layer.value_type = IsFloat(scale_type) ? scale_type : model_type_;
  if (config_.weight_type) layer.value_type = *config_.weight_type;
  if (const std::string missing = UnroundedInputs(module); !missing.empty()) {
    layer.notes.push_back(missing);
  }
  modules_.emplace(name, std::move(module));
  layers_.push_back(std::move(layer));
}

// What the kind of storage asks of the numbers.
void CompressedTensorsLayers::CheckArgs(const Module& module) const {
  const TensorArgs& args = WeightsOf(module);
  const auto require = [&](bool holds, std::string_view expected) {
    if (holds) return;
    ThrowExpected(StrCat(expected, " with format ", module.group->format),
                  StrCat(args.is_float ? "float" : "int", args.bits, " per ", args.strategy,
                         args.group_size > 0 ? StrCat(" of ", args.group_size) : ""));
  };
  const bool has_groups = args.strategy == "group" || args.strategy == "tensor_group";
  switch (module.kind) {
    case Kind::kPacked:
    case Kind::kPlain:
      require(!args.is_float && args.strategy != "token" && args.strategy != "attn_head",
              "integers per tensor, channel, group or block");
      return;
    case Kind::kFp8:
      require(args.is_float && args.bits == 8, "8-bit floats");
      return;
    case Kind::kNvfp4:
      require(args.is_float && args.bits == 4 && has_groups && args.group_size == 16,
              "4-bit floats in groups of 16");
      return;
    case Kind::kMxfp4:
      require(args.is_float && args.bits == 4 && has_groups && args.group_size == 32,
              "4-bit floats in groups of 32");
      return;
    case Kind::kMxfp6:
      require(args.is_float && args.bits == 6 && has_groups && args.group_size == 32,
              "6-bit floats in groups of 32");
      return;
    case Kind::kMxfp8:
      require(args.is_float && args.bits == 8 && has_groups && args.group_size == 32,
              "8-bit floats in groups of 32");
      return;
  }
}

// [out, in] from the tensor of codes.
void CompressedTensorsLayers::SetShape(Module& module) const {
  const bool is_plain =
      module.kind == Kind::kPlain || module.kind == Kind::kFp8 || module.kind == Kind::kMxfp8;
  if (is_plain) {
    const DType type = module.kind == Kind::kPlain ? DType::kI8 : DType::kF8E4m3;
    const TensorView& weight = MatrixOf(file_, module.name + ".weight", {type});
    module.out = weight.shape[0];
    module.in = weight.shape[1];
    return;
  }
  if (module.kind != Kind::kPacked) {
    const TensorView& packed = MatrixOf(file_, module.name + ".weight_packed", {DType::kU8});
    module.out = packed.shape[0];
    const auto bits = static_cast<size_t>(WeightsOf(module).bits);
    if (packed.shape[1] * 8 % bits != 0) {
      ThrowBadInput(packed.name, StrCat("rows of whole ", bits, "-bit codes"),
                    TypeAndShape(packed));
    }
    module.in = packed.shape[1] * 8 / bits;
    return;
  }

  // The last word of a row may be filled up, so the shape is stored.
  const TensorView& packed = MatrixOf(file_, module.name + ".weight_packed", {DType::kI32});
  const TensorView& shape =
      TensorOf(file_, module.name + ".weight_shape", {DType::kI64, DType::kI32}, {2});
  const auto at = [&](size_t i) {
    return shape.type == DType::kI64 ? ElementsOf<int64_t>(shape)[i]
                                     : int64_t{ElementsOf<int32_t>(shape)[i]};
  };
  const int bits = WeightsOf(module).bits;
  const int64_t out = at(0), in = at(1);
  const auto is_side = [](int64_t side) {
    return side > 0 && side <= static_cast<int64_t>(kLargestLayerSide);
  };
  if (!is_side(out) || !is_side(in) || static_cast<size_t>(out) != packed.shape[0] ||
      WordsOf(static_cast<size_t>(in), bits) != packed.shape[1]) {
    ThrowBadInput(packed.name,
                  StrCat("the words of ", out, " rows of ", in, " codes of ", bits, " bits"),
                  TypeAndShape(packed), "weight_shape, num_bits and the codes do not agree");
  }
  module.out = static_cast<size_t>(out);
  module.in = static_cast<size_t>(in);
}

std::string CompressedTensorsLayers::TypeName(const Module& module) const {
  const TensorArgs& args = WeightsOf(module);
  switch (module.kind) {
    case Kind::kNvfp4:
      return "nvfp4-g16";
    case Kind::kMxfp4:
      return "mxfp4-g32";
    case Kind::kMxfp6:
      return "mxfp6-g32";
    case Kind::kMxfp8:
      return "mxfp8-g32";
    default:
      break;
  }
  std::string name = args.is_float ? "fp8_e4m3" : StrCat("int", args.bits);
  name += args.strategy == "group"   ? StrCat("-g", args.group_size)
          : args.strategy == "block" ? StrCat("-block", args.block[0], "x", args.block[1])
                                     : StrCat("-", args.strategy);
  if (!args.is_float) name += args.is_symmetric ? "-sym" : "-asym";
  return name;
}

// Scales of caches, matrices of rotations.
void CompressedTensorsLayers::CollectOthers() {
  for (const TensorView& tensor : file_.tensors()) {
    const std::string& name = tensor.name;
    const bool is_scale = name.ends_with(".k_scale") || name.ends_with(".v_scale") ||
                          name.ends_with(".q_scale") || name.ends_with(".k_zero_point") ||
                          name.ends_with(".v_zero_point") || name.ends_with(".output_scale") ||
                          name.ends_with(".output_zero_point");
    const bool is_matrix = !config_.transforms.empty() && name.ends_with(".weight") &&
                           (name.ends_with("_input.weight") || name.ends_with("_output.weight") ||
                            name.ends_with("_q_attn.weight") || name.ends_with("_k_cache.weight"));
    if (is_scale || is_matrix) other_tensors_.push_back(name);
  }
  std::ranges::sort(other_tensors_);
}

void CompressedTensorsLayers::Describe() {
  if (layers_.empty() && !config_.kv_cache) {
    ThrowBadInput(kPlace, "modules with weight_scale",
                  StrCat("none, quantization_status ", config_.status.substr(0, 40)),
                  "a file that was saved before compression holds float weights");
  }
  if (config_.kv_cache && !HasCacheGrid()) {
    description_.warnings.push_back(
        StrCat("caches are not rounded as configured (", config_.kv_cache->strategy,
               config_.kv_cache->dynamic == "false" ? "" : ", dynamic", ")"));
  }
  for (const TensorGroup& group : config_.groups) {
    if (!group.outputs) continue;
    description_.warnings.push_back(
        StrCat("outputs are not rounded as configured (", group.name, ")"));
  }
  description_.rounds_activations = HasCacheGrid();
  for (const auto& [name, module] : modules_) {
    description_.rounds_activations |= module.group->inputs && UnroundedInputs(module).empty();
  }
  size_t unrounded = 0;
  for (const StoredLayer& layer : layers_) unrounded += layer.notes.empty() ? 0 : 1;
  if (unrounded > 0) {
    description_.warnings.push_back(
        StrCat(unrounded, " layers: inputs are not rounded as configured"));
  }
}

// Engines that fuse q, k and v, or gate and up, take one global scale for all of them.
void CompressedTensorsLayers::CompareGlobalScales() {
  std::map<std::string, std::map<std::string, float>> fused;
  for (const auto& [name, module] : modules_) {
    if (module.kind != Kind::kNvfp4) continue;
    const size_t dot = name.rfind('.');
    const std::string last = name.substr(dot + 1), front = name.substr(0, dot + 1);
    const bool is_qkv = last == "q_proj" || last == "k_proj" || last == "v_proj";
    if (!is_qkv && last != "gate_proj" && last != "up_proj") continue;
    const TensorView& global = file_.Get(name + ".weight_global_scale");
    if (!IsFloat(global.type) || global.elements() != 1) continue;  // refused when it is read
    fused[StrCat(front, is_qkv ? "q,k,v" : "gate,up")][last] = FloatsOf(global)[0];
  }
  std::vector<std::string> different;
  for (const auto& [place, scales] : fused) {
    const float first = scales.begin()->second;
    const bool are_equal =
        std::ranges::all_of(scales, [&](const auto& entry) { return entry.second == first; });
    if (!are_equal) different.push_back(place);
  }
  if (different.empty()) return;
  description_.warnings.push_back(
      StrCat("global scales are not shared in ", different.size(), " places (", different.front(),
             different.size() > 1 ? ", ..." : "",
             "): engines that fuse these layers compute something else"));
}

namespace {

bool Recognises(const FormatInput& input) {
  const auto method = input.quantization->find("quant_method");
  return method != input.quantization->end() && method->is_string() &&
         (*method == "compressed-tensors" || *method == "sparseml");
}

std::unique_ptr<QuantizedLayers> Open(const FormatInput& input) {
  CompressedTensorsConfig config =
      At(kPlace, [&] { return CompressedTensorsConfig::From(*input.quantization); });
  FormatDescription description;
  description.name = "compressed-tensors";
  description.variant = config.format;
  if (!config.version.empty()) description.tool = StrCat("compressed-tensors ", config.version);
  return OpenCompressedTensors(input, config, std::move(description), /*divides_first=*/false);
}

}  // namespace

std::unique_ptr<QuantizedLayers> OpenCompressedTensors(const FormatInput& input,
                                                       const CompressedTensorsConfig& config,
                                                       FormatDescription description,
                                                       bool divides_first) {
  return std::make_unique<CompressedTensorsLayers>(input, config, std::move(description),
                                                   divides_first);
}

Format CompressedTensorsFormat() {
  return {"compressed-tensors",
          "llm-compressor's packed and plain integers, FP8, NVFP4, MXFP4, MXFP6, MXFP8", Recognises,
          Open};
}

}  // namespace qualm
