// gpt-oss: experts in MXFP4, all experts of a block in one tensor of blocks and one of scales.
// Source: transformers' integration of mxfp4, for facts.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "artefact/codebook.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "formats/format_list.h"
#include "formats/format_tensors.h"

namespace qualm {
namespace {

constexpr size_t kGroup = 32, kGroupBytes = 16;

class Mxfp4Layers final : public QuantizedLayers {
 public:
  explicit Mxfp4Layers(const FormatInput& input)
      : QuantizedLayers(input.options), file_(*input.tensors) {
    for (const std::string& name : ModulesWith(file_, "_blocks")) {
      At(name, [&] { Open(name); });
    }
    if (layers_.empty()) ThrowExpected("tensors NAME_blocks and NAME_scales", "none");
    description_.name = "mxfp4";
    description_.variant = "experts, groups of 32";
    description_.notes.push_back(
        StrCat("rows of gate_up_proj are as stored: gates are the even ", "ones, up the odd ones"));
    Sort();
  }

 protected:
  QuantizedWeight ReadWhole(const StoredLayer& stored) const override {
    const Part& part = parts_.find(stored.name)->second;
    const size_t groups = stored.in / kGroup, rows = stored.out;
    const std::byte* blocks =
        file_.Get(part.stored + "_blocks").bytes.data() + part.expert * rows * groups * kGroupBytes;
    const std::byte* scales =
        file_.Get(part.stored + "_scales").bytes.data() + part.expert * rows * groups;

    QuantizedLinear layer;
    layer.out_features = rows;
    layer.in_features = stored.in;
    layer.scheme.type = NumberType::kMxfp4;
    layer.scheme.bits = 4;
    layer.scheme.granularity = Granularity::kGroup;
    layer.scheme.group_size = kGroup;
    layer.scheme.zero_point = ZeroPointKind::kNone;
    layer.value_form.type = stored.value_type;
    layer.codes.resize(rows * stored.in);
    for (size_t i = 0; i < layer.codes.size(); ++i) {
      const auto byte = std::to_integer<uint8_t>(blocks[i / 2]);
      layer.codes[i] = i % 2 == 0 ? byte & 15 : byte >> 4;
    }
    for (size_t g = 0; g < rows * groups; ++g) {
      layer.scales.push_back(
          DecodeByteScale(NumberType::kMxfp4, std::to_integer<uint8_t>(scales[g])));
    }
    At(stored.name, [&] { layer.Validate(); });
    return layer;
  }

 private:
  struct Part {
    std::string stored;  // "model.layers.0.mlp.experts.gate_up_proj"
    size_t expert = 0;
  };

  // One layer for each expert.
  void Open(const std::string& name) {
    const TensorView& blocks = file_.Get(name + "_blocks");
    const bool has_shape = blocks.type == DType::kU8 && blocks.shape.size() == 4 &&
                           blocks.shape[3] == kGroupBytes &&
                           std::ranges::all_of(blocks.shape, [](size_t side) {
                             return side > 0 && side <= kLargestLayerSide / kGroup;
                           });
    if (!has_shape) {
      ThrowBadInput(blocks.name, "U8 [experts, rows, groups, 16]", TypeAndShape(blocks));
    }
    const size_t experts = blocks.shape[0], rows = blocks.shape[1], groups = blocks.shape[2];
    TensorOf(file_, name + "_scales", {DType::kU8, DType::kF8E8m0}, {experts, rows, groups});

    const size_t dot = name.rfind('.');
    for (size_t e = 0; e < experts; ++e) {
      // The two tensors are those of all experts.
      StoredLayer layer = LayerOf(file_, name, rows, groups * kGroup, {"_blocks", "_scales"});
      layer.name = StrCat(name.substr(0, dot + 1), e, ".", name.substr(dot + 1));
      layer.bytes /= experts;
      layer.type = "mxfp4-g32";
      layer.value_type = DType::kBF16;
      parts_.emplace(layer.name, Part{name, e});
      layers_.push_back(std::move(layer));
    }
  }

  const TensorFile& file_;
  std::map<std::string, Part, std::less<>> parts_;
};

bool Recognises(const FormatInput& input) {
  const auto method = input.quantization->find("quant_method");
  return method != input.quantization->end() && *method == "mxfp4";
}

std::unique_ptr<QuantizedLayers> Open(const FormatInput& input) {
  return std::make_unique<Mxfp4Layers>(input);
}

}  // namespace

Format Mxfp4Format() { return {"mxfp4", "gpt-oss' experts in MXFP4", Recognises, Open}; }

}  // namespace qualm
