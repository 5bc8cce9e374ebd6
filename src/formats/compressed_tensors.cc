// Checkpoints of compressed-tensors (llm-compressor): packed and plain integers, 8-bit floats, and
// the 4-, 6- and 8-bit floats with small groups. Source: compressed-tensors' compressors, for
// facts.
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "artefact/codebook.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "formats/compressed_tensors_config.h"
#include "formats/format_list.h"
#include "formats/format_tensors.h"

namespace qualm {
namespace {

constexpr std::string_view kPlace = "quantization_config";

// How a module's weight is stored.
enum class Kind { kPacked, kPlain, kFp8, kNvfp4, kMxfp4, kMxfp6, kMxfp8 };

struct KindName {
  std::string_view format;
  Kind kind;
};
constexpr KindName kKinds[] = {
    {"pack-quantized", Kind::kPacked},      {"int-quantized", Kind::kPlain},
    {"float-quantized", Kind::kFp8},        {"nvfp4-pack-quantized", Kind::kNvfp4},
    {"mxfp4-pack-quantized", Kind::kMxfp4}, {"mxfp6-pack-quantized", Kind::kMxfp6},
    {"mxfp8-quantized", Kind::kMxfp8},
};

Kind KindOf(const TensorGroup& group) {
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

// The value of a 6-bit float e2m3: sign, two bits of exponent with bias 1, three of mantissa.
std::vector<float> E2m3Values() {
  std::vector<float> values(64);
  for (size_t code = 0; code < 64; ++code) {
    const auto exponent = static_cast<int>(code >> 3 & 3), mantissa = static_cast<int>(code & 7);
    const float magnitude = exponent == 0
                                ? std::ldexp(static_cast<float>(mantissa), -3)
                                : std::ldexp(static_cast<float>(8 + mantissa), exponent - 4);
    values[code] = (code & 32) != 0 ? -magnitude : magnitude;
  }
  return values;
}

class CompressedTensorsLayers final : public QuantizedLayers {
 public:
  CompressedTensorsLayers(const FormatInput& input, CompressedTensorsConfig config,
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

 protected:
  QuantizedWeight ReadWhole(const StoredLayer& stored) const override {
    const Module& module = modules_.find(stored.name)->second;
    QuantizedLinear layer;
    layer.out_features = module.out;
    layer.in_features = module.in;
    layer.value_form.type = stored.value_type;
    switch (module.kind) {
      case Kind::kPacked:
        ReadPacked(module, layer);
        break;
      case Kind::kPlain:
        ReadPlain(module, layer);
        break;
      case Kind::kFp8:
        ReadFp8(module, layer);
        break;
      default:
        ReadSmallFloats(module, layer);
        break;
    }
    layer.activations = ActivationsOf(module);
    AddTransforms(module, layer);
    At(stored.name, [&] { layer.Validate(); });
    return layer;
  }

  ConfiguredAttention WholeAttention(const std::string& module) const override {
    ConfiguredAttention attention;
    for (const TransformGroup& group : config_.transforms) {
      for (const TransformPlace& place : group.places) {
        const bool is_here = place.where == TransformPlace::Where::kHeads &&
                             CompressedTensorsConfig::IsAt(place, module);
        if (!is_here || attention.rotation_side > 0) continue;
        if (group.head_dim == 0) {
          ThrowBadInput(StrCat(module, ": ", group.name), "head_dim of a transform of heads",
                        "none");
        }
        attention.rotation_side = group.head_dim;
        attention.rotation = MatrixAt(module, group, "q_attn", group.head_dim);
        if (place.is_inverse) {
          attention.rotation = Transposed(attention.rotation, group.head_dim);
        }
      }
    }
    if (HasCacheGrid()) {
      attention.keys = CacheGrid(module, "k_scale");
      attention.values = CacheGrid(module, "v_scale");
    }
    return attention;
  }

 private:
  struct Module {
    std::string name;
    const TensorGroup* group = nullptr;
    Kind kind = Kind::kPacked;
    size_t out = 0, in = 0;
  };

  const TensorArgs& WeightsOf(const Module& module) const { return *module.group->weights; }

  // The group of the module, its shape, and its tensors.
  void Open(const std::string& name) {
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

    StoredLayer layer;
    layer.name = name;
    layer.out = module.out;
    layer.in = module.in;
    layer.type = TypeName(module);
    for (const char* suffix : {".weight", ".weight_packed", ".weight_scale", ".weight_zero_point",
                               ".weight_shape", ".weight_g_idx", ".weight_global_scale",
                               ".input_scale", ".input_zero_point", ".input_global_scale"}) {
      if (file_.Find(name + suffix) != nullptr) layer.tensors.push_back(name + suffix);
    }
    layer.bytes = BytesOfTensors(file_, layer.tensors);

    // The library computes in the type of the scale, or in the model's where that is not a float.
    const DType scale_type = file_.Get(name + ".weight_scale").type;
    layer.value_type = IsFloat(scale_type) ? scale_type : model_type_;
    if (const std::string missing = UnroundedInputs(module); !missing.empty()) {
      layer.notes.push_back(missing);
    }
    modules_.emplace(name, std::move(module));
    layers_.push_back(std::move(layer));
  }

  // What the kind of storage asks of the numbers.
  void CheckArgs(const Module& module) const {
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
  void SetShape(Module& module) const {
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

  std::string TypeName(const Module& module) const {
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

  // Sets granularity, group size, scales [out, groups] or [1]; a block's scale is each of its
  // rows'. Returns the shape of the stored scales.
  std::vector<size_t> SetScales(const Module& module, QuantizedLinear& layer,
                                std::vector<float> (*read)(const TensorView&),
                                std::initializer_list<DType> types) const {
    const TensorArgs& args = WeightsOf(module);
    const std::string name = module.name + ".weight_scale";
    if (args.strategy == "tensor") {
      layer.scheme.granularity = Granularity::kTensor;
      const TensorView& scale = file_.Get(name);
      const std::vector<size_t> shape =
          scale.shape.empty() ? std::vector<size_t>{} : std::vector<size_t>(scale.shape.size(), 1);
      layer.scales = read(TensorOf(file_, name, types, shape));
      return shape;
    }

    size_t group = module.in, rows = 1;
    if (args.strategy == "group" || args.strategy == "tensor_group") {
      group = std::min(module.in, static_cast<size_t>(args.group_size));
    }
    if (args.strategy == "block") {
      rows = args.block[0];
      group = std::min(module.in, args.block[1]);
    }
    const size_t groups = (module.in + group - 1) / group;
    const std::vector<size_t> shape = {(module.out + rows - 1) / rows, groups};
    layer.scheme.granularity = groups == 1 ? Granularity::kChannel : Granularity::kGroup;
    layer.scheme.group_size = groups == 1 ? 0 : static_cast<int>(group);
    layer.scales =
        RowsOfBlocks(read(TensorOf(file_, name, types, shape)), groups, rows, module.out);
    return shape;
  }

  // Values [ceil(out/rows), groups] as [out, groups].
  static std::vector<float> RowsOfBlocks(std::vector<float> values, size_t groups, size_t rows,
                                         size_t out) {
    if (rows == 1) return values;
    std::vector<float> all(out * groups);
    for (size_t r = 0; r < out; ++r) {
      std::copy_n(values.begin() + static_cast<ptrdiff_t>(r / rows * groups), groups,
                  all.begin() + static_cast<ptrdiff_t>(r * groups));
    }
    return all;
  }

  // The group of each column, of old files that keep the order of columns ("actorder": "group").
  void ReadColumnGroups(const Module& module, QuantizedLinear& layer) const {
    const std::string name = module.name + ".weight_g_idx";
    if (file_.Find(name) == nullptr || layer.scheme.granularity != Granularity::kGroup) return;
    const std::vector<int32_t> groups =
        ElementsOf<int32_t>(TensorOf(file_, name, {DType::kI32}, {module.in}));
    // −1 everywhere means that there is no order.
    if (std::ranges::all_of(groups, [](int32_t g) { return g == -1; })) return;
    bool is_trivial = true;
    for (size_t c = 0; c < groups.size(); ++c) {
      if (groups[c] < 0 || static_cast<size_t>(groups[c]) >= layer.group_count()) {
        ThrowBadInput(name, StrCat("groups below ", layer.group_count()), StrCat(groups[c]),
                      StrCat("at column ", c));
      }
      is_trivial = is_trivial && static_cast<size_t>(groups[c]) == c / layer.group_size();
    }
    if (!is_trivial) layer.g_idx.assign(groups.begin(), groups.end());
  }

  // Codes in rows of words, each code 2^(bits - 1) above the number it stands for.
  void ReadPacked(const Module& module, QuantizedLinear& layer) const {
    const TensorArgs& args = WeightsOf(module);
    layer.scheme.bits = args.bits;
    layer.scheme.scale_type = file_.Get(module.name + ".weight_scale").type;
    const std::vector<size_t> shape =
        SetScales(module, layer, FloatsOf, {DType::kF32, DType::kF16, DType::kBF16});

    const size_t width = WordsOf(module.in, args.bits);
    std::vector<uint32_t> words = ElementsOf<uint32_t>(file_.Get(module.name + ".weight_packed"));
    words.push_back(0);  // a window may look one word beyond the last
    layer.codes.resize(module.out * module.in);
    for (size_t r = 0; r < module.out; ++r) {
      const BitString codes(words.data() + r * width, 1, args.bits);
      uint8_t* to = layer.codes.data() + r * module.in;
      for (size_t c = 0; c < module.in; ++c) to[c] = static_cast<uint8_t>(codes[c]);
    }
    ReadColumnGroups(module, layer);

    // Zero points are packed down the rows.
    layer.scheme.zero_point = ZeroPointKind::kNone;
    if (args.is_symmetric) return;
    layer.scheme.zero_point = ZeroPointKind::kInteger;
    const size_t rows = shape.size() < 2 ? 1 : shape[0], groups = shape.size() < 2 ? 1 : shape[1];
    std::vector<uint32_t> stored =
        ElementsOf<uint32_t>(TensorOf(file_, module.name + ".weight_zero_point", {DType::kI32},
                                      {WordsOf(rows, args.bits), groups}));
    stored.resize(stored.size() + groups);
    std::vector<float> zeros(rows * groups);
    for (size_t g = 0; g < groups; ++g) {
      const BitString codes(stored.data() + g, groups, args.bits);
      for (size_t r = 0; r < rows; ++r) zeros[r * groups + g] = static_cast<float>(codes[r]);
    }
    SetZeros(module, std::move(zeros), groups, layer);
  }

  // Zero points of the stored scales' shape.
  void SetZeros(const Module& module, std::vector<float> zeros, size_t groups,
                QuantizedLinear& layer) const {
    const TensorArgs& args = WeightsOf(module);
    const size_t rows = args.strategy == "block" ? args.block[0] : 1;
    layer.zeros = RowsOfBlocks(std::move(zeros), groups, rows, module.out);
  }

  // Signed bytes.
  void ReadPlain(const Module& module, QuantizedLinear& layer) const {
    const TensorArgs& args = WeightsOf(module);
    layer.scheme.bits = 8;
    layer.scheme.scale_type = file_.Get(module.name + ".weight_scale").type;
    const std::vector<size_t> shape =
        SetScales(module, layer, FloatsOf, {DType::kF32, DType::kF16, DType::kBF16});
    layer.codes = ElementsOf<uint8_t>(file_.Get(module.name + ".weight"));
    for (uint8_t& code : layer.codes) code ^= 0x80;  // 128 above the number
    ReadColumnGroups(module, layer);

    layer.scheme.zero_point = ZeroPointKind::kNone;
    if (args.is_symmetric) return;
    layer.scheme.zero_point = ZeroPointKind::kInteger;
    std::vector<float> zeros;
    for (const int8_t zero : ElementsOf<int8_t>(
             TensorOf(file_, module.name + ".weight_zero_point", {DType::kI8}, shape))) {
      zeros.push_back(static_cast<float>(zero + 128));
    }
    SetZeros(module, std::move(zeros), shape.size() < 2 ? 1 : shape[1], layer);
  }

  void ReadFp8(const Module& module, QuantizedLinear& layer) const {
    layer.scheme.type = NumberType::kFp8E4m3;
    layer.scheme.bits = 8;
    layer.scheme.zero_point = ZeroPointKind::kNone;
    layer.scheme.scale_type = file_.Get(module.name + ".weight_scale").type;
    SetScales(module, layer, FloatsOf, {DType::kF32, DType::kF16, DType::kBF16});
    layer.codes = ElementsOf<uint8_t>(file_.Get(module.name + ".weight"));
  }

  // Scales that are single bytes.
  static std::vector<float> PowersOfTwo(const TensorView& tensor) {
    std::vector<float> scales;
    for (const uint8_t byte : ElementsOf<uint8_t>(tensor)) {
      scales.push_back(DecodeByteScale(NumberType::kMxfp4, byte));
    }
    return scales;
  }
  static std::vector<float> E4m3Numbers(const TensorView& tensor) {
    std::vector<float> scales;
    for (const uint8_t byte : ElementsOf<uint8_t>(tensor)) {
      scales.push_back(DecodeByteScale(NumberType::kNvfp4, byte));
    }
    return scales;
  }

  // 4 and 6 bits packed in bytes, and bytes, with a byte as the scale of a group.
  void ReadSmallFloats(const Module& module, QuantizedLinear& layer) const {
    const int bits = WeightsOf(module).bits;
    layer.scheme.bits = bits;
    layer.scheme.zero_point = ZeroPointKind::kNone;
    layer.scheme.type = NumberType::kMxfp4;
    if (module.kind == Kind::kNvfp4) layer.scheme.type = NumberType::kNvfp4;
    if (module.kind == Kind::kMxfp8) layer.scheme.type = NumberType::kFp8E4m3;
    if (module.kind == Kind::kMxfp6) {
      layer.scheme.type = NumberType::kTable;
      layer.table = E2m3Values();
    }
    // Every power of two of the scales is a bfloat16.
    if (!HasByteScales(layer.scheme.type)) layer.scheme.scale_type = DType::kBF16;
    SetGroups(module, layer);

    if (module.kind == Kind::kMxfp8) {
      layer.codes = ElementsOf<uint8_t>(file_.Get(module.name + ".weight"));
      return;
    }
    const std::vector<uint8_t> bytes =
        ElementsOf<uint8_t>(file_.Get(module.name + ".weight_packed"));
    layer.codes.resize(module.out * module.in);
    const size_t width = PackedRowBytes(module.in, bits);
    for (size_t r = 0; r < module.out; ++r) {
      UnpackCodes(std::span(bytes).subspan(r * width, width), bits,
                  std::span(layer.codes).subspan(r * module.in, module.in));
    }
  }

  void SetGroups(const Module& module, QuantizedLinear& layer) const {
    if (module.kind != Kind::kNvfp4) {
      SetScales(module, layer, PowersOfTwo, {DType::kU8, DType::kF8E8m0});
    } else {
      SetScales(module, layer, E4m3Numbers, {DType::kF8E4m3});
      const TensorView& global = file_.Get(module.name + ".weight_global_scale");
      if (!IsFloat(global.type) || global.elements() != 1) {
        ThrowBadInput(global.name, "one float", TypeAndShape(global));
      }
      const float scale = FloatsOf(global)[0];
      if (divides_first_) {
        SetScaledTable(scale, layer);
      } else {
        layer.tensor_scale = scale;
        layer.tensor_scale_divides = true;
      }
    }
    // These types have groups by definition, also where one group is the whole row.
    layer.scheme.granularity = Granularity::kGroup;
    layer.scheme.group_size = static_cast<int>(WeightsOf(module).group_size);
  }

  // The values of e2m1 times 1/global, each rounded to float32.
  static void SetScaledTable(float global, QuantizedLinear& layer) {
    const float reciprocal = 1.0f / global;
    layer.scheme.type = NumberType::kTable;
    layer.scheme.scale_type = DType::kBF16;  // which holds every e4m3 number
    for (size_t code = 0; code < 16; ++code) {
      const float value = Codebook::Of(NumberType::kNvfp4).Value(static_cast<uint8_t>(code));
      layer.table.push_back(value * reciprocal);
    }
  }

  // How inputs in small groups of floats get their scales; kGrid: they are not such.
  static GroupScaleRule RuleOf(const TensorArgs& args) {
    const bool has_groups = args.strategy == "group" || args.strategy == "tensor_group";
    if (!args.is_float || !has_groups || args.dynamic == "false") return GroupScaleRule::kGrid;
    if (args.bits == 4 && args.group_size == 16) return GroupScaleRule::kGlobal;
    const bool has_bits = args.bits == 4 || args.bits == 8;
    return has_bits && args.group_size == 32 ? GroupScaleRule::kPowerOfTwo : GroupScaleRule::kGrid;
  }

  // Such a grid.
  ActivationGrid SmallGroups(const Module& module, GroupScaleRule rule) const {
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
  std::string UnroundedInputs(const Module& module) const {
    if (!module.group->inputs) return "";
    const TensorArgs& args = *module.group->inputs;
    const bool is_token = args.strategy == "token" && args.dynamic == "true";
    const bool is_tensor = args.strategy == "tensor" && args.dynamic == "false";
    if (args.bits == 8 && (is_token || is_tensor)) return "";
    if (!args.is_float && is_token) return "";
    if (RuleOf(args) != GroupScaleRule::kGrid) return "";
    return StrCat("its inputs are not rounded as configured (", args.is_float ? "float" : "int",
                  args.bits, " per ", args.strategy, ")");
  }

  std::optional<ActivationGrid> ActivationsOf(const Module& module) const {
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
    if (args.strategy == "token") {
      grid.scheme.granularity = Granularity::kToken;
      grid.scheme.dynamic = true;
      return grid;
    }

    // One scale for all tokens, found in calibration.
    grid.scheme.granularity = Granularity::kTensor;
    const TensorView& scale = file_.Get(module.name + ".input_scale");
    if (!IsFloat(scale.type) || scale.elements() != 1) {
      ThrowBadInput(scale.name, "one float", TypeAndShape(scale));
    }
    grid.point.scale = FloatsOf(scale)[0];
    grid.point.zero = args.is_float ? 0 : static_cast<float>(1 << (args.bits - 1));
    if (const TensorView* zero = file_.Find(module.name + ".input_zero_point");
        zero != nullptr && !args.is_symmetric) {
      if (zero->type != DType::kI8 || zero->elements() != 1) {
        ThrowBadInput(zero->name, "one I8", TypeAndShape(*zero));
      }
      grid.point.zero += static_cast<float>(ElementsOf<int8_t>(*zero)[0]);
    }
    At(module.name, [&] { grid.Validate(); });
    return grid;
  }

  // The square matrix of a transform at a module, of that side. Equal ones are stored once, with
  // the first module that uses them.
  std::vector<float> MatrixAt(const std::string& module, const TransformGroup& group,
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

  static std::vector<float> Transposed(const std::vector<float>& matrix, size_t side) {
    std::vector<float> result(matrix.size());
    for (size_t i = 0; i < side; ++i) {
      for (size_t j = 0; j < side; ++j) result[j * side + i] = matrix[i * side + j];
    }
    return result;
  }

  void AddTransforms(const Module& module, QuantizedLinear& layer) const {
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
        if (place.is_inverse) transform.factors = Transposed(transform.factors, side);
        layer.transforms.push_back(std::move(transform));
      }
    }
  }

  // A layer that stays float would not be transformed, and a bias not with its output.
  void RefuseLostTransforms() const {
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

  // The static grid of a cache's keys or values.
  std::optional<ActivationGrid> CacheGrid(const std::string& module, const char* scale) const {
    const TensorArgs& args = *config_.kv_cache;
    ActivationGrid grid;
    grid.scheme.type = args.is_float ? NumberType::kFp8E4m3 : NumberType::kInteger;
    grid.scheme.bits = args.bits;
    grid.scheme.granularity = Granularity::kTensor;
    grid.scheme.scale_type = DType::kF32;
    grid.scheme.zero_point = ZeroPointKind::kNone;
    grid.scheme.symmetric_convention = SymmetricConvention::kFullRange;
    const TensorView& tensor = file_.Get(StrCat(module, ".", scale));
    if (!IsFloat(tensor.type) || tensor.elements() != 1) {
      ThrowBadInput(tensor.name, "one float", TypeAndShape(tensor));
    }
    grid.point.scale = FloatsOf(tensor)[0];
    grid.point.zero = args.is_float ? 0 : static_cast<float>(1 << (args.bits - 1));
    At(module, [&] { grid.Validate(); });
    return grid;
  }

  // Whether caches are rounded as a grid of ours does.
  bool HasCacheGrid() const {
    const std::optional<TensorArgs>& args = config_.kv_cache;
    return args && args->strategy == "tensor" && args->dynamic == "false" && args->is_symmetric &&
           (!args->is_float || args->bits == 8);
  }

  // Scales of caches, matrices of rotations.
  void CollectOthers() {
    for (const TensorView& tensor : file_.tensors()) {
      const std::string& name = tensor.name;
      const bool is_scale = name.ends_with(".k_scale") || name.ends_with(".v_scale") ||
                            name.ends_with(".q_scale") || name.ends_with(".k_zero_point") ||
                            name.ends_with(".v_zero_point") || name.ends_with(".output_scale") ||
                            name.ends_with(".output_zero_point");
      const bool is_matrix =
          !config_.transforms.empty() && name.ends_with(".weight") &&
          (name.ends_with("_input.weight") || name.ends_with("_output.weight") ||
           name.ends_with("_q_attn.weight") || name.ends_with("_k_cache.weight"));
      if (is_scale || is_matrix) other_tensors_.push_back(name);
    }
    std::ranges::sort(other_tensors_);
  }

  void Describe() {
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
    size_t unrounded = 0;
    for (const StoredLayer& layer : layers_) unrounded += layer.notes.empty() ? 0 : 1;
    if (unrounded > 0) {
      description_.warnings.push_back(
          StrCat(unrounded, " layers: inputs are not rounded as configured"));
    }
  }

  // Engines that fuse q, k and v, or gate and up, take one global scale for all of them.
  void CompareGlobalScales() {
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

  bool divides_first_;
  const TensorFile& file_;
  CompressedTensorsConfig config_;
  DType model_type_;
  std::map<std::string, Module, std::less<>> modules_;
};

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
