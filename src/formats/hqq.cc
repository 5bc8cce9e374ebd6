// Checkpoints of HQQ: codes with float zero points over groups of the reshaped weight, in
// safetensors or in the library's own qmodel.pt, whose values TensorFile gives the same names and
// types. Source: hqq's quantize.py and bitpack.py, for facts.
//
// W is reshaped to [groups, g] (axis 1) or [g, groups] (axis 0), and the codes are packed down the
// rows of that matrix in parts: the first part of the rows is in the highest bits.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error_place.h"
#include "base/strings.h"
#include "formats/format_list.h"
#include "formats/format_tensors.h"

namespace qualm {
namespace {

// How the parts of the rows lie in an element.
struct Packing {
  std::string_view name;
  int bits;
  size_t parts;
  size_t element_bytes;
};
constexpr Packing kPackings[] = {
    {"8bit_u8", 8, 1, 1}, {"4bit_u8", 4, 2, 1}, {"3bit_32", 3, 10, 4},
    {"2bit_u8", 2, 4, 1}, {"1bit_u8", 1, 8, 1},
};

// The text that a tensor of bytes holds ("torch.bfloat16").
std::string TextIn(const TensorView& tensor) {
  if (tensor.type != DType::kU8 || tensor.bytes.size() > 64) {
    ThrowBadInput(tensor.name, "a short U8 text", TypeAndShape(tensor));
  }
  return {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()};
}

int64_t NumberIn(const TensorView& tensor) {
  if (tensor.elements() != 1 || (tensor.type != DType::kI32 && tensor.type != DType::kI64)) {
    ThrowBadInput(tensor.name, "one I32 or I64", TypeAndShape(tensor));
  }
  return tensor.type == DType::kI32 ? int64_t{ElementsOf<int32_t>(tensor)[0]}
                                    : ElementsOf<int64_t>(tensor)[0];
}

// Codes of the reshaped matrix [rows, cols].
class PackedParts {
 public:
  PackedParts(const TensorView& tensor, const Packing& packing, size_t rows, size_t cols)
      : packing_(packing), cols_(cols) {
    step_ = (rows + packing.parts - 1) / packing.parts;
    elements_.resize(step_ * cols);
    for (size_t i = 0; i < elements_.size(); ++i) {
      std::memcpy(&elements_[i], tensor.bytes.data() + i * packing.element_bytes,
                  packing.element_bytes);
    }
  }
  uint8_t operator()(size_t row, size_t col) const {
    const size_t part = row / step_;
    const auto bits = static_cast<size_t>(packing_.bits);
    const size_t shift = (packing_.parts - 1 - part) * bits;
    const uint32_t element = elements_[row % step_ * cols_ + col];
    return static_cast<uint8_t>(element >> shift & ((1u << bits) - 1));
  }

 private:
  Packing packing_;
  size_t cols_, step_ = 0;
  std::vector<uint32_t> elements_;
};

// Groups that run down the reshaped matrix's columns.
class ColumnGroups final : public RowDecoder {
 public:
  ColumnGroups(PackedParts codes, std::vector<float> scales, std::vector<float> zeros, size_t in,
               size_t cols, DType type)
      : codes_(std::move(codes)),
        scales_(std::move(scales)),
        zeros_(std::move(zeros)),
        in_(in),
        cols_(cols),
        type_(type) {}
  void Decode(size_t row, size_t begin, std::span<float> to) const override {
    size_t at = row * in_ + begin;
    for (float& value : to) {
      const size_t group = at % cols_;
      const auto code = static_cast<float>(codes_(at / cols_, group));
      const float difference = RoundTo(code - zeros_[group], type_);
      value = RoundTo(difference * scales_[group], type_);
      ++at;
    }
  }

 private:
  PackedParts codes_;
  std::vector<float> scales_, zeros_;
  size_t in_, cols_;
  DType type_;
};

class HqqLayers final : public QuantizedLayers {
 public:
  explicit HqqLayers(const FormatInput& input)
      : QuantizedLayers(input.options), file_(*input.tensors) {
    for (const std::string& name : ModulesWith(file_, ".W_q")) {
      At(name, [&] { Open(name); });
    }
    if (layers_.empty()) ThrowExpected("modules with W_q tensors", "none");
    description_.name = "hqq";
    description_.variant = layers_.front().type;
    Sort();
  }

 protected:
  QuantizedWeight ReadWhole(const StoredLayer& stored) const override {
    const Module& module = modules_.find(stored.name)->second;
    const size_t count = module.out * module.in;
    const size_t groups = count / module.group;
    const size_t rows = module.axis == 1 ? groups : module.group;
    const size_t cols = module.axis == 1 ? module.group : groups;
    PackedParts parts(file_.Get(stored.name + ".W_q"), *module.packing, rows, cols);
    std::vector<float> scales = FloatsOf(file_.Get(stored.name + ".scale"));
    std::vector<float> zeros = FloatsOf(file_.Get(stored.name + ".zero"));

    // Only groups inside rows are on a grid.
    if (module.axis == 0 || module.in % module.group != 0) {
      const DType type = options_.float32_weights ? DType::kF32 : module.type;
      RowBlocks blocks{module.out, module.in, stored.type, stored.bytes, nullptr};
      if (module.axis == 0) {
        blocks.decoder = std::make_shared<ColumnGroups>(std::move(parts), std::move(scales),
                                                        std::move(zeros), module.in, cols, type);
        return blocks;
      }
      ThrowBadInput(stored.name, StrCat("groups that divide ", module.in, " inputs"),
                    StrCat(module.group));
    }

    QuantizedLinear layer;
    layer.out_features = module.out;
    layer.in_features = module.in;
    layer.scheme.bits = module.packing->bits;
    const bool is_channel = module.group == module.in;
    layer.scheme.granularity = is_channel ? Granularity::kChannel : Granularity::kGroup;
    layer.scheme.group_size = is_channel ? 0 : static_cast<int>(module.group);
    layer.scheme.zero_point = ZeroPointKind::kFloat;
    layer.scheme.scale_type = file_.Get(stored.name + ".scale").type;
    layer.scales = std::move(scales);
    layer.zeros = std::move(zeros);
    layer.value_form = {.factor = 1, .type = module.type, .rounds_difference = true};
    layer.codes.resize(count);
    for (size_t i = 0; i < count; ++i) {
      layer.codes[i] = parts(i / module.group, i % module.group);
    }
    At(stored.name, [&] { layer.Validate(); });
    return layer;
  }

 private:
  struct Module {
    size_t out = 0, in = 0, group = 0;
    int axis = 1;
    DType type = DType::kF16;
    const Packing* packing = nullptr;
  };

  const TensorView* Meta(const std::string& name, const char* key) const {
    return file_.Find(StrCat(name, ".", key));
  }

  // The meta values are separate tensors.
  void Open(const std::string& name) {
    Module module;
    const std::string packing = TextIn(file_.Get(name + ".packing"));
    const auto* found = std::ranges::find(kPackings, packing, &Packing::name);
    if (found == std::end(kPackings)) {
      ThrowExpected("packing 8bit_u8, 4bit_u8, 3bit_32, 2bit_u8 or 1bit_u8",
                    StrCat("'", packing.substr(0, 40), "'"));
    }
    module.packing = found;
    module.axis = static_cast<int>(NumberIn(file_.Get(name + ".axis")));
    if (module.axis != 0 && module.axis != 1) ThrowExpected("axis 0 or 1", StrCat(module.axis));

    const std::vector<int64_t> shape =
        ElementsOf<int64_t>(TensorOf(file_, name + ".shape", {DType::kI64}, {2}));
    for (const int64_t side : shape) {
      if (side < 1 || side > static_cast<int64_t>(kLargestLayerSide)) {
        ThrowExpected(StrCat("sides in 1..", kLargestLayerSide), StrCat(side));
      }
    }
    module.out = static_cast<size_t>(shape[0]);
    module.in = static_cast<size_t>(shape[1]);
    RefuseQuantizedConstants(name);

    // No group size: the whole row, or the whole column.
    const size_t whole = module.axis == 1 ? module.in : module.out;
    const TensorView* group = Meta(name, "group_size");
    const int64_t size = group != nullptr ? NumberIn(*group) : static_cast<int64_t>(whole);
    const size_t count = module.out * module.in;
    if (size < 1 || static_cast<size_t>(size) > count || count % static_cast<size_t>(size) != 0) {
      ThrowExpected(StrCat("a group_size that divides ", count, " weights"), StrCat(size));
    }
    module.group = static_cast<size_t>(size);

    // Older files leave it out.
    const TensorView* compute = Meta(name, "compute_dtype");
    const std::string type = compute != nullptr ? TextIn(*compute) : "torch.float16";
    module.type = type == "torch.bfloat16"  ? DType::kBF16
                  : type == "torch.float16" ? DType::kF16
                                            : DType::kF32;
    if (module.type == DType::kF32 && type != "torch.float32") {
      ThrowExpected("compute_dtype torch.bfloat16, float16 or float32", type.substr(0, 40));
    }
    CheckTensors(name, module);

    StoredLayer layer;
    layer.name = name;
    layer.out = module.out;
    layer.in = module.in;
    layer.type = StrCat("int", found->bits, "-g", module.group, "-float-zero",
                        module.axis == 0 ? "-axis0" : "");
    layer.value_type = module.type;
    layer.is_in_blocks = module.axis == 0;
    const std::string prefix = name + ".";
    for (const TensorView& tensor : file_.tensors()) {
      const bool is_own = tensor.name.starts_with(prefix) && tensor.name != name + ".bias" &&
                          tensor.name.find('.', prefix.size()) == std::string::npos;
      if (!is_own) continue;
      layer.tensors.push_back(tensor.name);
      layer.bytes += tensor.bytes.size();
    }
    modules_.emplace(name, module);
    layers_.push_back(std::move(layer));
  }

  // Older files quantize scales and zero points again.
  void RefuseQuantizedConstants(const std::string& name) const {
    for (const char* key : {"quant_scale", "quant_zero"}) {
      const TensorView* flag = Meta(name, key);
      if (flag == nullptr ||
          std::ranges::all_of(flag->bytes, [](std::byte b) { return b == std::byte{0}; })) {
        continue;
      }
      ThrowExpected(StrCat(key, " false"), "true",
                    "quantize again with scale_quant_params and zero_quant_params None");
    }
  }

  void CheckTensors(const std::string& name, const Module& module) const {
    const Packing& packing = *module.packing;
    const size_t groups = module.out * module.in / module.group;
    const size_t rows = module.axis == 1 ? groups : module.group;
    const size_t cols = module.axis == 1 ? module.group : groups;
    const size_t packed = (rows + packing.parts - 1) / packing.parts;
    const TensorView& codes = file_.Get(name + ".W_q");
    // With view_as_float the same bytes are elements of the compute type.
    if (codes.bytes.size() != packed * cols * packing.element_bytes) {
      ThrowBadInput(codes.name, StrCat(packed * cols * packing.element_bytes, " bytes of codes"),
                    StrCat(codes.bytes.size()));
    }
    for (const char* suffix : {".scale", ".zero"}) {
      const TensorView& tensor = file_.Get(name + suffix);
      if (!IsFloat(tensor.type) || tensor.type == DType::kF64 || tensor.elements() != groups) {
        ThrowBadInput(tensor.name, StrCat(groups, " floats of 16 or 32 bits"),
                      TypeAndShape(tensor));
      }
    }
    // Both are kept in one type.
    if (file_.Get(name + ".scale").type != file_.Get(name + ".zero").type) {
      ThrowBadInput(name + ".zero", NameOf(file_.Get(name + ".scale").type),
                    NameOf(file_.Get(name + ".zero").type));
    }
  }

  const TensorFile& file_;
  std::map<std::string, Module, std::less<>> modules_;
};

bool Recognises(const FormatInput& input) {
  const auto method = input.quantization->find("quant_method");
  return method != input.quantization->end() && *method == "hqq";
}

std::unique_ptr<QuantizedLayers> Open(const FormatInput& input) {
  return std::make_unique<HqqLayers>(input);
}

}  // namespace

Format HqqFormat() {
  return {"hqq", "HQQ's codes of 1 to 8 bits with float zero points, both axes", Recognises, Open};
}

}  // namespace qualm
