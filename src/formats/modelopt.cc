// Checkpoints of NVIDIA's TensorRT Model Optimizer: NVFP4, FP8 per tensor, row and block, MXFP8.
// Source: its export and its quantized tensors, for facts.
//
// Both scales of NVFP4 multiply here, weight_scale_2 is the inverse of compressed-tensors'
// weight_global_scale, and input_scale that of input_global_scale.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "artefact/codebook.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "formats/format_list.h"
#include "formats/format_tensors.h"

namespace qualm {
namespace {

constexpr std::string_view kPlace = "quantization_config";
constexpr std::string_view kMixed = "MIXED_PRECISION";
constexpr size_t kNvfp4Group = 16, kMxfp8Group = 32, kFp8Block = 128;
constexpr uint8_t kNegativeZero = 8;  // of e2m1

// How a module's weight is stored.
enum class Kind : uint8_t { kNvfp4, kFp8, kFp8Rows, kFp8Blocks, kMxfp8 };
// How its inputs are rounded; kOther: in a way that is not computed here.
enum class Inputs : uint8_t { kFloat, kGroups, kTensor, kToken, kOther };

struct Algorithm {
  std::string_view name;
  Kind kind;
  Inputs inputs;
};
constexpr Algorithm kAlgorithms[] = {
    {"NVFP4", Kind::kNvfp4, Inputs::kGroups},
    {"W4A16_NVFP4", Kind::kNvfp4, Inputs::kFloat},
    {"FP8", Kind::kFp8, Inputs::kTensor},
    {"FP8_PER_CHANNEL_PER_TOKEN", Kind::kFp8Rows, Inputs::kToken},
    {"FP8_PB_WO", Kind::kFp8Blocks, Inputs::kFloat},
    {"MXFP8", Kind::kMxfp8, Inputs::kOther},
};

// Files have the name in either case.
const Algorithm& AlgorithmNamed(const std::string& name) {
  std::string upper = name;
  for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  const auto* found = std::ranges::find(kAlgorithms, upper, &Algorithm::name);
  if (found != std::end(kAlgorithms)) return *found;
  std::vector<std::string> names;
  for (const Algorithm& algorithm : kAlgorithms) names.emplace_back(algorithm.name);
  ThrowBadInput(kPlace, StrCat("a quant_algo among ", Join(names, ", ")),
                StrCat("'", name.substr(0, 60), "'"));
}

// What the description says, in the form of config.json or of hf_quant_config.json.
struct Config {
  std::string algorithm;                                      // or MIXED_PRECISION
  std::map<std::string, std::string, std::less<>> of_module;  // of MIXED_PRECISION
  std::vector<std::string> excluded;                          // names with stars
  std::string cache;                                          // "FP8"; empty: float
  std::string tool;                                           // "modelopt 0.47.0"
};

// The list under one of the keys; empty if there is none.
std::vector<std::string> NamesIn(const Json& settings, std::string_view key) {
  std::vector<std::string> names;
  const auto found = settings.find(key);
  if (found == settings.end() || found->is_null()) return names;
  if (!found->is_array()) ThrowBadInput(kPlace, StrCat(key, ": a list"), found->type_name());
  for (const Json& name : *found) {
    if (!name.is_string()) {
      ThrowBadInput(kPlace, StrCat(key, ": a list of names"), name.dump().substr(0, 40));
    }
    names.push_back(name.get<std::string>());
  }
  return names;
}

// "FP8" for 8-bit floats, under either of the two keys.
std::string CacheIn(const Json& settings) {
  if (const auto found = settings.find("kv_cache_scheme");
      found != settings.end() && found->is_object()) {
    const auto bits = found->find("num_bits");
    const auto type = found->find("type");
    const bool is_fp8 =
        bits != found->end() && *bits == 8 && type != found->end() && *type == "float";
    return is_fp8 ? "FP8" : found->dump().substr(0, 60);
  }
  for (const char* key : {"kv_cache_scheme", "kv_cache_quant_algo"}) {
    const auto found = settings.find(key);
    if (found == settings.end() || found->is_null()) continue;
    return GetString(settings, key, kPlace).substr(0, 60);
  }
  return "";
}

Config ConfigFrom(const Json& quantization) {
  const auto inner = quantization.find("quantization");
  const Json& settings = inner != quantization.end() ? *inner : quantization;
  if (!settings.is_object()) {
    ThrowBadInput(kPlace, "quantization: an object", settings.type_name());
  }

  Config config;
  config.algorithm = GetString(settings, "quant_algo", kPlace);
  if (config.algorithm != kMixed) (void)AlgorithmNamed(config.algorithm);
  config.excluded = NamesIn(settings, "exclude_modules");
  for (std::string& name : NamesIn(settings, "ignore")) config.excluded.push_back(std::move(name));
  config.cache = CacheIn(settings);
  if (const auto producer = quantization.find("producer");
      producer != quantization.end() && producer->is_object()) {
    config.tool = StrCat(GetString(*producer, "name", kPlace, "").substr(0, 40), " ",
                         GetString(*producer, "version", kPlace, "").substr(0, 40));
  }

  // Each module has a separate algorithm.
  if (config.algorithm != kMixed) return config;
  const auto modules = settings.find("quantized_layers");
  if (modules == settings.end() || !modules->is_object()) {
    ThrowBadInput(kPlace, StrCat("quantized_layers with quant_algo ", kMixed),
                  modules == settings.end() ? "none" : modules->type_name());
  }
  for (const auto& [name, module] : modules->items()) {
    if (!module.is_object()) {
      ThrowBadInput(kPlace, StrCat("quantized_layers: an object for ", name.substr(0, 200)),
                    module.type_name());
    }
    config.of_module.emplace(name, GetString(module, "quant_algo", kPlace));
  }
  return config;
}

// Without the sides of 1, which differ between versions.
std::vector<size_t> WithoutOnes(std::vector<size_t> shape) {
  std::erase(shape, size_t{1});
  return shape;
}

class ModelOptLayers final : public QuantizedLayers {
 public:
  explicit ModelOptLayers(const FormatInput& input)
      : QuantizedLayers(input.options),
        file_(*input.tensors),
        config_(ConfigFrom(*input.quantization)),
        model_type_(input.dtype) {
    RefuseUnread();
    for (const std::string& name : ModulesWith(file_, ".weight_scale")) {
      At(name, [&] { Open(name); });
    }
    if (layers_.empty()) ThrowExpected("modules with weight_scale", "none");
    CollectCaches();
    Describe();
    Sort();
  }

 protected:
  QuantizedWeight ReadWhole(const StoredLayer& stored) const override {
    const Module& module = modules_.find(stored.name)->second;
    QuantizedLinear layer;
    layer.out_features = module.out;
    layer.in_features = module.in;
    layer.scheme.bits = 8;
    layer.scheme.type = NumberType::kFp8E4m3;
    layer.scheme.zero_point = ZeroPointKind::kNone;
    layer.value_form.type = stored.value_type;
    switch (module.algorithm->kind) {
      case Kind::kNvfp4:
        ReadNvfp4(stored.name, layer);
        break;
      case Kind::kMxfp8:
        ReadMxfp8(stored.name, layer);
        break;
      default:
        ReadFp8(stored.name, module.algorithm->kind, layer);
        break;
    }
    layer.activations = ActivationsOf(stored.name, module);
    At(stored.name, [&] { layer.Validate(); });
    return layer;
  }

  ConfiguredAttention WholeAttention(const std::string& module) const override {
    ConfiguredAttention attention;
    if (!rounds_caches_) return attention;
    attention.keys = CacheGrid(module + ".k_proj.k_scale");
    attention.values = CacheGrid(module + ".v_proj.v_scale");
    return attention;
  }

 private:
  struct Module {
    const Algorithm* algorithm = nullptr;
    size_t out = 0, in = 0;
  };

  // Tensors that change what the layers compute, in ways that are not read.
  void RefuseUnread() const {
    for (const TensorView& tensor : file_.tensors()) {
      const std::string& name = tensor.name;
      if (name.ends_with(".pre_quant_scale")) {
        ThrowBadInput(name, "weights whose inputs have no separate scale",
                      "a pre_quant_scale (AWQ)", "export without AWQ");
      }
      if (name.ends_with("_weight_scale")) {
        ThrowBadInput(name, "a module for each expert", "a tensor of several experts");
      }
      const bool has_codes = tensor.type == DType::kU8 || tensor.type == DType::kF8E4m3;
      if (has_codes && name.ends_with(".weight")) (void)file_.Get(name + "_scale");
    }
  }

  const Algorithm& AlgorithmOf(const std::string& name) const {
    if (config_.algorithm != kMixed) return AlgorithmNamed(config_.algorithm);
    const auto found = config_.of_module.find(name);
    if (found == config_.of_module.end()) {
      ThrowExpected("the module among quantized_layers", "none", "it has a weight_scale");
    }
    return AlgorithmNamed(found->second);
  }

  void Open(const std::string& name) {
    Module module;
    module.algorithm = &AlgorithmOf(name);
    const Kind kind = module.algorithm->kind;
    const bool is_nvfp4 = kind == Kind::kNvfp4;
    const TensorView& weight =
        MatrixOf(file_, name + ".weight", {is_nvfp4 ? DType::kU8 : DType::kF8E4m3});
    module.out = weight.shape[0];
    module.in = weight.shape[1] * (is_nvfp4 ? 2 : 1);
    CheckScales(name, module);

    StoredLayer layer = LayerOf(file_, name, module.out, module.in,
                                {".weight", ".weight_scale", ".weight_scale_2", ".input_scale"});
    constexpr std::string_view kTypes[] = {"nvfp4-g16", "fp8_e4m3-tensor", "fp8_e4m3-channel",
                                           "fp8_e4m3-block128x128", "mxfp8-g32"};
    layer.type = kTypes[static_cast<size_t>(IsPerRow(name, module) ? Kind::kFp8Rows : kind)];
    layer.value_type = model_type_;
    if (const std::string missing = UnroundedInputs(name, module); !missing.empty()) {
      layer.notes.push_back(missing);
    }
    if (IsExcluded(name)) {
      description_.warnings.push_back(
          StrCat(name, " is among the excluded modules and has scales: it is read as quantized"));
    }
    modules_.emplace(name, module);
    layers_.push_back(std::move(layer));
  }

  bool IsExcluded(const std::string& name) const {
    return std::ranges::any_of(
        config_.excluded, [&](const std::string& pattern) { return MatchesGlob(name, pattern); });
  }

  // Plain FP8 has one scale, or one for each row.
  bool IsPerRow(const std::string& name, const Module& module) const {
    const Kind kind = module.algorithm->kind;
    return kind == Kind::kFp8Rows ||
           (kind == Kind::kFp8 && file_.Get(name + ".weight_scale").elements() != 1);
  }

  void CheckScales(const std::string& name, const Module& module) const {
    const auto blocks = [](size_t side, size_t block) { return (side + block - 1) / block; };
    const size_t out = module.out, in = module.in;
    switch (module.algorithm->kind) {
      case Kind::kNvfp4:
        if (in % kNvfp4Group != 0) {
          ThrowExpected(StrCat("inputs that are a multiple of ", kNvfp4Group), StrCat(in));
        }
        TensorOf(file_, name + ".weight_scale", {DType::kF8E4m3}, {out, in / kNvfp4Group});
        (void)Number(name + ".weight_scale_2");
        return;
      case Kind::kMxfp8:
        TensorOf(file_, name + ".weight_scale", {DType::kU8}, {out, blocks(in, kMxfp8Group)});
        return;
      case Kind::kFp8:
        RequireScales(name, IsPerRow(name, module) ? std::vector{out} : std::vector<size_t>{});
        return;
      case Kind::kFp8Rows:
        RequireScales(name, {out});
        return;
      case Kind::kFp8Blocks:
        RequireScales(name, {blocks(out, kFp8Block), blocks(in, kFp8Block)});
        return;
    }
  }

  // Float scales of that shape, apart from sides of 1.
  void RequireScales(const std::string& name, const std::vector<size_t>& shape) const {
    const TensorView& scale = file_.Get(name + ".weight_scale");
    const bool is_float =
        scale.type == DType::kF32 || scale.type == DType::kBF16 || scale.type == DType::kF16;
    if (is_float && WithoutOnes(scale.shape) == WithoutOnes(shape)) return;
    std::string sides;
    for (const size_t side : shape) sides += StrCat(sides.empty() ? "" : " x ", side);
    ThrowBadInput(scale.name, StrCat(sides.empty() ? "one" : sides, " float"), TypeAndShape(scale));
  }

  // A tensor that is a single float.
  float Number(const std::string& name) const {
    const TensorView& tensor = file_.Get(name);
    if (!IsFloat(tensor.type) || SizeOf(tensor.type) < 2 || tensor.elements() != 1) {
      ThrowBadInput(name, "one float", TypeAndShape(tensor));
    }
    return FloatsOf(tensor)[0];
  }

  // Two codes in a byte, the first one in the low half. The library's table has no -0: where the
  // code stands for it, the weight is 0.
  void ReadNvfp4(const std::string& name, QuantizedLinear& layer) const {
    layer.scheme.type = NumberType::kNvfp4;
    layer.scheme.bits = 4;
    layer.scheme.granularity = Granularity::kGroup;
    layer.scheme.group_size = kNvfp4Group;
    layer.tensor_scale = Number(name + ".weight_scale_2");
    for (const uint8_t byte : ElementsOf<uint8_t>(file_.Get(name + ".weight_scale"))) {
      layer.scales.push_back(DecodeByteScale(NumberType::kNvfp4, byte));
    }
    const std::vector<uint8_t> bytes = ElementsOf<uint8_t>(file_.Get(name + ".weight"));
    layer.codes.resize(bytes.size() * 2);
    UnpackCodes(bytes, 4, layer.codes);
    std::ranges::replace(layer.codes, kNegativeZero, uint8_t{0});
  }

  void ReadMxfp8(const std::string& name, QuantizedLinear& layer) const {
    layer.scheme.granularity = Granularity::kGroup;
    layer.scheme.group_size = kMxfp8Group;
    layer.scheme.scale_type = DType::kBF16;  // which holds every power of two of the scales
    for (const uint8_t byte : ElementsOf<uint8_t>(file_.Get(name + ".weight_scale"))) {
      layer.scales.push_back(DecodeByteScale(NumberType::kMxfp4, byte));
    }
    layer.codes = ElementsOf<uint8_t>(file_.Get(name + ".weight"));
  }

  // The library multiplies in the model's type, to which it rounds the scales first.
  void ReadFp8(const std::string& name, Kind kind, QuantizedLinear& layer) const {
    layer.scheme.scale_type = options_.float32_weights ? DType::kF32 : model_type_;
    layer.codes = ElementsOf<uint8_t>(file_.Get(name + ".weight"));
    layer.scales = FloatsOf(file_.Get(name + ".weight_scale"));
    for (float& scale : layer.scales) scale = RoundTo(scale, layer.scheme.scale_type);
    if (kind != Kind::kFp8Blocks) {
      layer.scheme.granularity = layer.scales.size() == 1 && kind == Kind::kFp8
                                     ? Granularity::kTensor
                                     : Granularity::kChannel;
      return;
    }

    // A block's scale is each of its rows'.
    const size_t groups = (layer.in_features + kFp8Block - 1) / kFp8Block;
    std::vector<float> rows(layer.out_features * groups);
    for (size_t r = 0; r < layer.out_features; ++r) {
      std::copy_n(layer.scales.begin() + static_cast<ptrdiff_t>(r / kFp8Block * groups), groups,
                  rows.begin() + static_cast<ptrdiff_t>(r * groups));
    }
    layer.scales = std::move(rows);
    layer.scheme.granularity = groups == 1 ? Granularity::kChannel : Granularity::kGroup;
    layer.scheme.group_size = groups == 1 ? 0 : static_cast<int>(kFp8Block);
  }

  // Empty, or why the configured rounding of inputs is not applied.
  std::string UnroundedInputs(const std::string& name, const Module& module) const {
    switch (module.algorithm->inputs) {
      case Inputs::kGroups:
      case Inputs::kTensor:
        return file_.Find(name + ".input_scale") != nullptr
                   ? ""
                   : "its inputs are not rounded: it has no input_scale";
      case Inputs::kOther:
        return StrCat("its inputs are not rounded as configured (", module.algorithm->name, ")");
      default:
        return "";
    }
  }

  std::optional<ActivationGrid> ActivationsOf(const std::string& name, const Module& module) const {
    const Inputs inputs = module.algorithm->inputs;
    if (inputs == Inputs::kFloat || !UnroundedInputs(name, module).empty()) return std::nullopt;
    ActivationGrid grid = Fp8Grid();
    if (inputs == Inputs::kTensor) grid.point.scale = Number(name + ".input_scale");
    if (inputs == Inputs::kToken) {
      grid.scheme.granularity = Granularity::kToken;
      grid.scheme.dynamic = true;
    }
    if (inputs == Inputs::kGroups) {
      grid.rule = GroupScaleRule::kGlobal;
      grid.scheme = SchemeOfFormat(NumberType::kNvfp4);
      grid.scheme.granularity = Granularity::kGroup;
      grid.scheme.group_size = kNvfp4Group;
      grid.scheme.scale_type = DType::kF32;
      grid.scheme.dynamic = true;
      grid.global_scale = 1.0f / Number(name + ".input_scale");
    }
    At(name, [&] { grid.Validate(); });
    return grid;
  }

  // One static scale, which is left to the caller.
  static ActivationGrid Fp8Grid() {
    ActivationGrid grid;
    grid.scheme.type = NumberType::kFp8E4m3;
    grid.scheme.bits = 8;
    grid.scheme.granularity = Granularity::kTensor;
    grid.scheme.scale_type = DType::kF32;
    grid.scheme.zero_point = ZeroPointKind::kNone;
    grid.scheme.symmetric_convention = SymmetricConvention::kFullRange;
    return grid;
  }

  // A cache without a stored scale has the scale 1.
  ActivationGrid CacheGrid(const std::string& scale) const {
    ActivationGrid grid = Fp8Grid();
    grid.point.scale = file_.Find(scale) == nullptr ? 1 : Number(scale);
    At(scale, [&] { grid.Validate(); });
    return grid;
  }

  // Scales of caches, and offsets that some files have in addition.
  void CollectCaches() {
    bool has_scales = false, has_offsets = false;
    for (const TensorView& tensor : file_.tensors()) {
      const std::string& name = tensor.name;
      const bool is_scale = name.ends_with(".k_scale") || name.ends_with(".v_scale");
      const bool is_offset = name.ends_with(".k_bias") || name.ends_with(".v_bias");
      if (is_scale || is_offset) other_tensors_.push_back(name);
      has_scales = has_scales || is_scale;
      has_offsets = has_offsets || is_offset;
    }
    if (config_.cache.empty()) return;
    rounds_caches_ = config_.cache == "FP8" && !has_offsets;
    if (!rounds_caches_) {
      description_.warnings.push_back(StrCat("caches are not rounded as configured (",
                                             config_.cache, has_offsets ? ", offsets" : "", ")"));
    } else if (!has_scales) {
      description_.notes.push_back("caches have no scales in the file: they are rounded with 1");
    }
  }

  void Describe() {
    description_.name = "modelopt";
    description_.variant = config_.algorithm.substr(0, 60);
    description_.tool = config_.tool;
    description_.rounds_activations = rounds_caches_;
    for (const auto& [name, module] : modules_) {
      description_.rounds_activations |=
          module.algorithm->inputs != Inputs::kFloat && UnroundedInputs(name, module).empty();
    }
    const auto unrounded = std::ranges::count_if(
        layers_, [](const StoredLayer& layer) { return !layer.notes.empty(); });
    if (unrounded > 0) {
      description_.warnings.push_back(
          StrCat(unrounded, " layers: inputs are not rounded as configured"));
    }
  }

  const TensorFile& file_;
  Config config_;
  DType model_type_;
  bool rounds_caches_ = false;
  std::map<std::string, Module, std::less<>> modules_;
};

// config.json names the method, the file next to it only the program.
bool Recognises(const FormatInput& input) {
  const Json& quantization = *input.quantization;
  const auto method = quantization.find("quant_method");
  if (method != quantization.end()) {
    return method->is_string() && method->get_ref<const std::string&>().starts_with("modelopt");
  }
  const auto inner = quantization.find("quantization");
  return inner != quantization.end() && inner->is_object() && inner->contains("quant_algo");
}

std::unique_ptr<QuantizedLayers> Open(const FormatInput& input) {
  return std::make_unique<ModelOptLayers>(input);
}

}  // namespace

Format ModelOptFormat() {
  return {"modelopt", "NVIDIA's NVFP4, FP8 per tensor, row and block, MXFP8", Recognises, Open};
}

}  // namespace qualm
