// What compressed-tensors configures beyond weights: how inputs and caches are rounded, and
// matrices that are applied at run time. Source: compressed-tensors' lifecycle and transform, for
// facts.
#include <algorithm>
#include <cmath>

#include "base/error_place.h"
#include "base/strings.h"
#include "formats/compressed_tensors_layers.h"
#include "formats/format_tensors.h"

namespace qualm {
namespace {

// How inputs in small groups of floats get their scales; kGrid: they are not such.
GroupScaleRule RuleOf(const TensorArgs& args) {
  const bool has_groups = args.strategy == "group" || args.strategy == "tensor_group";
  if (!args.is_float || !has_groups || args.dynamic == "false") return GroupScaleRule::kGrid;
  if (args.bits == 4 && args.group_size == 16) return GroupScaleRule::kGlobal;
  const bool is_power = args.bits == 4 || (args.bits == 8 && args.has_byte_scales);
  return is_power && args.group_size == 32 ? GroupScaleRule::kPowerOfTwo : GroupScaleRule::kGrid;
}

std::vector<float> Transposed(const std::vector<float>& matrix, size_t side) {
  std::vector<float> result(matrix.size());
  for (size_t i = 0; i < side; ++i) {
    for (size_t j = 0; j < side; ++j) result[j * side + i] = matrix[i * side + j];
  }
  return result;
}

}  // namespace

ConfiguredAttention CompressedTensorsLayers::WholeAttention(const std::string& module) const {
  ConfiguredAttention attention;
  for (const TransformGroup& group : config_.transforms) {
    for (const TransformPlace& place : group.places) {
      const bool is_here = place.where == TransformPlace::Where::kHeads &&
                           CompressedTensorsConfig::IsAt(place, module);
      if (!is_here || attention.rotation_side > 0) continue;
      if (group.head_dim == 0) {
        ThrowBadInput(StrCat(module, ": ", group.name), "head_dim of a transform of heads", "none");
      }
      // Queries and keys would need two of them.
      if (group.is_any_matrix) {
        ThrowBadInput(StrCat(module, ": ", group.name), "a Hadamard matrix of heads",
                      "random-matrix");
      }
      attention.rotation_side = group.head_dim;
      attention.rotation = MatrixAt(module, group, "q_attn", group.head_dim);
      if (place.is_inverse) {
        attention.rotation = Transposed(attention.rotation, group.head_dim);
      }
    }
  }
  if (HasCacheGrid()) {
    attention.keys = CacheGrid(module, "k");
    attention.values = CacheGrid(module, "v");
  }
  return attention;
}

// Such a grid.
ActivationGrid CompressedTensorsLayers::SmallGroups(const Module& module,
                                                    GroupScaleRule rule) const {
  ActivationGrid grid;
  grid.rule = rule;
  const bool is_byte = module.group->inputs->bits == 8;
  grid.scheme = SchemeOfFormat(rule == GroupScaleRule::kGlobal ? NumberType::kNvfp4
                               : is_byte                       ? NumberType::kFp8E4m3
                                                               : NumberType::kMxfp4);
  grid.scheme.granularity = Granularity::kGroup;
  grid.scheme.group_size = static_cast<int>(module.group->inputs->group_size);
  grid.scheme.scale_type = DType::kF32;
  grid.scheme.dynamic = true;
  if (rule != GroupScaleRule::kGlobal) return grid;
  const TensorView& global = file_.Get(module.name + ".input_global_scale");
  if (!IsFloat(global.type) || global.elements() != 1) {
    ThrowBadInput(global.name, "one float", TypeAndShape(global));
  }
  grid.global_scale = FloatsOf(global)[0];
  At(module.name, [&] { grid.Validate(); });
  return grid;
}

// Empty, or why the configured rounding of inputs is not applied.
std::string CompressedTensorsLayers::UnroundedInputs(const Module& module) const {
  if (!module.group->inputs) return "";
  const TensorArgs& args = *module.group->inputs;
  const bool is_token = args.strategy == "token" && args.dynamic == "true";
  const bool is_tensor = args.strategy == "tensor" && args.dynamic == "false";
  const bool is_group = args.strategy == "group" && args.dynamic == "true" &&
                        !args.has_byte_scales &&
                        module.in % static_cast<size_t>(args.group_size) == 0;
  if (args.bits == 8 && (is_token || is_tensor || is_group)) return "";
  if (!args.is_float && (is_token || is_group)) return "";
  if (RuleOf(args) != GroupScaleRule::kGrid) return "";
  return StrCat("its inputs are not rounded as configured (", args.is_float ? "float" : "int",
                args.bits, " per ", args.strategy, ")");
}

std::optional<ActivationGrid> CompressedTensorsLayers::ActivationsOf(const Module& module) const {
  if (!module.group->inputs || !UnroundedInputs(module).empty()) return std::nullopt;
  const TensorArgs& args = *module.group->inputs;
  if (const GroupScaleRule rule = RuleOf(args); rule != GroupScaleRule::kGrid) {
    return SmallGroups(module, rule);
  }
  ActivationGrid grid;
  grid.scheme.type = args.is_float ? NumberType::kFp8E4m3 : NumberType::kInteger;
  grid.scheme.bits = args.bits;
  grid.scheme.scale_type = DType::kF32;
  grid.scheme.zero_point =
      args.is_symmetric || args.is_float ? ZeroPointKind::kNone : ZeroPointKind::kInteger;
  grid.scheme.symmetric_convention = SymmetricConvention::kFullRange;
  if (args.strategy == "token" || args.strategy == "group") {
    const bool has_groups = args.strategy == "group";
    grid.scheme.granularity = has_groups ? Granularity::kGroup : Granularity::kToken;
    if (has_groups) grid.scheme.group_size = static_cast<int>(args.group_size);
    grid.scheme.dynamic = true;
    return grid;
  }

  // One scale for all tokens, found in calibration.
  grid.scheme.granularity = Granularity::kTensor;
  SetPoint(module.name + ".input", args, grid);
  At(module.name, [&] { grid.Validate(); });
  return grid;
}

// The square matrix of a transform at a module, of that side. Equal ones are stored once, with
// the first module that uses them.
std::vector<float> CompressedTensorsLayers::MatrixAt(const std::string& module,
                                                     const TransformGroup& group,
                                                     std::string_view location, size_t side) const {
  const std::string ending = StrCat(".", group.name, "_", location, ".weight");
  const TensorView* found = file_.Find(module + ending);
  for (const TensorView& tensor : file_.tensors()) {
    const bool fits = tensor.shape.size() == 2 && tensor.shape[0] == side;
    if (found == nullptr && fits && tensor.name.ends_with(ending)) found = &tensor;
  }
  if (found == nullptr) {
    ThrowBadInput(module,
                  StrCat("a matrix [", side, ", ", side, "] of the transform ", group.name, " (",
                         ending.substr(1), ")"),
                  "none in the file", "the model computes something else without it");
  }
  return FloatsOf(TensorOf(file_, found->name,
                           {DType::kF64, DType::kF32, DType::kF16, DType::kBF16}, {side, side}));
}

void CompressedTensorsLayers::AddTransforms(const Module& module, QuantizedLinear& layer) const {
  for (const TransformGroup& group : config_.transforms) {
    for (const TransformPlace& place : group.places) {
      const bool is_input = place.where == TransformPlace::Where::kInput;
      const bool is_output = place.where == TransformPlace::Where::kOutput;
      if ((!is_input && !is_output) || !CompressedTensorsConfig::IsAt(place, module.name)) {
        continue;
      }
      const size_t width = is_input ? module.in : module.out;
      const size_t side = group.head_dim > 0 ? group.head_dim : width;
      OnlineTransform transform;
      transform.kind = OnlineTransform::Kind::kMatrix;
      transform.side = is_input ? OnlineTransform::Side::kInput : OnlineTransform::Side::kOutput;
      transform.dims = {static_cast<uint32_t>(side)};
      transform.factors = MatrixAt(module.name, group, is_input ? "input" : "output", side);
      if (group.is_any_matrix) {
        // The product divides by √side.
        const float length = std::sqrt(static_cast<float>(side));
        for (float& factor : transform.factors) factor *= length;
      } else if (place.is_inverse) {
        transform.factors = Transposed(transform.factors, side);
      }
      layer.transforms.push_back(std::move(transform));
    }
  }
}

// A layer that stays float would not be transformed, and a bias not with its output.
void CompressedTensorsLayers::RefuseLostTransforms() const {
  for (const TransformGroup& group : config_.transforms) {
    for (const TransformPlace& place : group.places) {
      if (place.where == TransformPlace::Where::kHeads) continue;
      for (const std::string& module : ModulesWith(file_, ".weight")) {
        const TensorView& weight = file_.Get(module + ".weight");
        const bool is_layer = weight.shape.size() == 2 && IsFloat(weight.type) &&
                              !std::ranges::binary_search(other_tensors_, weight.name) &&
                              module.find("embed") == std::string::npos;
        if (is_layer && CompressedTensorsConfig::IsAt(place, module)) {
          ThrowBadInput(module, StrCat("a quantized layer for the transform ", group.name),
                        "a float one");
        }
      }
      if (place.where != TransformPlace::Where::kOutput) continue;
      for (const auto& [name, module] : modules_) {
        if (!CompressedTensorsConfig::IsAt(place, name)) continue;
        if (file_.Find(name + ".bias") == nullptr) continue;
        ThrowBadInput(name, StrCat("no bias with the transform of outputs ", group.name), "one");
      }
    }
  }
}

// The static scale NAME_scale, and NAME_zero_point, which is signed.
void CompressedTensorsLayers::SetPoint(const std::string& name, const TensorArgs& args,
                                       ActivationGrid& grid) const {
  const TensorView& scale = file_.Get(name + "_scale");
  if (!IsFloat(scale.type) || scale.elements() != 1) {
    ThrowBadInput(scale.name, "one float", TypeAndShape(scale));
  }
  grid.point.scale = FloatsOf(scale)[0];
  grid.point.zero = args.is_float ? 0 : static_cast<float>(1 << (args.bits - 1));
  const TensorView* zero = file_.Find(name + "_zero_point");
  if (zero == nullptr || args.is_symmetric) return;
  if (zero->type != DType::kI8 || zero->elements() != 1) {
    ThrowBadInput(zero->name, "one I8", TypeAndShape(*zero));
  }
  grid.point.zero += static_cast<float>(ElementsOf<int8_t>(*zero)[0]);
}

// The static grid of a cache's keys (k) or values (v).
std::optional<ActivationGrid> CompressedTensorsLayers::CacheGrid(const std::string& module,
                                                                 const char* part) const {
  const TensorArgs& args = *config_.kv_cache;
  ActivationGrid grid;
  grid.scheme.type = args.is_float ? NumberType::kFp8E4m3 : NumberType::kInteger;
  grid.scheme.bits = args.bits;
  grid.scheme.granularity = Granularity::kTensor;
  grid.scheme.scale_type = DType::kF32;
  grid.scheme.zero_point =
      args.is_symmetric || args.is_float ? ZeroPointKind::kNone : ZeroPointKind::kInteger;
  grid.scheme.symmetric_convention = SymmetricConvention::kFullRange;
  SetPoint(StrCat(module, ".", part), args, grid);
  At(module, [&] { grid.Validate(); });
  return grid;
}

// Whether caches are rounded as a grid of ours does.
bool CompressedTensorsLayers::HasCacheGrid() const {
  const std::optional<TensorArgs>& args = config_.kv_cache;
  return args && args->strategy == "tensor" && args->dynamic == "false" &&
         (!args->is_float || (args->bits == 8 && args->is_symmetric));
}

}  // namespace qualm
