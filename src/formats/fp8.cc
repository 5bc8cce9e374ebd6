// Checkpoints whose weights are FP8 (E4M3) as their makers publish them: DeepSeek, Qwen, Mistral,
// Meta (fbgemm). The scale multiplies, also under the name weight_scale_inv.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error_place.h"
#include "base/strings.h"
#include "formats/format_list.h"
#include "formats/format_tensors.h"

namespace qualm {
namespace {

constexpr std::string_view kPlace = "quantization_config";

class Fp8Layers final : public QuantizedLayers {
 public:
  explicit Fp8Layers(const FormatInput& input)
      : QuantizedLayers(input.options), file_(*input.tensors) {
    ReadBlock(*input.quantization);
    for (const std::string_view suffix : {".weight_scale_inv", ".weight_scale"}) {
      for (const std::string& name : ModulesWith(file_, suffix)) {
        At(name, [&] { Open(name, name + std::string(suffix)); });
      }
    }
    if (layers_.empty()) ThrowExpected("modules with weight_scale_inv or weight_scale", "none");
    description_.name = "fp8";
    description_.variant = layers_.front().type;
    const std::string scheme = GetString(*input.quantization, "activation_scheme", kPlace, "");
    if (!scheme.empty()) {
      description_.notes.push_back(StrCat(
          "inputs stay float: the file configures activation_scheme ", scheme.substr(0, 40)));
    }
    Sort();
  }

 protected:
  QuantizedWeight ReadWhole(const StoredLayer& stored) const override {
    const std::string& scale_name = scales_.find(stored.name)->second;
    const TensorView& scale = file_.Get(scale_name);
    QuantizedLinear layer;
    layer.out_features = stored.out;
    layer.in_features = stored.in;
    layer.scheme.type = NumberType::kFp8E4m3;
    layer.scheme.bits = 8;
    layer.scheme.zero_point = ZeroPointKind::kNone;
    layer.scheme.scale_type = scale.type;
    layer.value_form.type = stored.value_type;
    layer.codes = ElementsOf<uint8_t>(file_.Get(stored.name + ".weight"));
    layer.scales = FloatsOf(scale);
    if (scale.elements() == 1 && scale.shape.size() < 2) {
      layer.scheme.granularity = Granularity::kTensor;
    } else if (!IsBlocks(scale, stored)) {
      layer.scheme.granularity = Granularity::kChannel;
    } else {
      // A block's scale is each of its rows'.
      const size_t groups = scale.shape[1];
      std::vector<float> rows(stored.out * groups);
      for (size_t r = 0; r < stored.out; ++r) {
        std::copy_n(layer.scales.begin() + static_cast<ptrdiff_t>(r / block_[0] * groups), groups,
                    rows.begin() + static_cast<ptrdiff_t>(r * groups));
      }
      layer.scales = std::move(rows);
      layer.scheme.granularity = groups == 1 ? Granularity::kChannel : Granularity::kGroup;
      layer.scheme.group_size = groups == 1 ? 0 : static_cast<int>(block_[1]);
    }
    At(stored.name, [&] { layer.Validate(); });
    return layer;
  }

 private:
  void ReadBlock(const Json& quantization) {
    const auto found = quantization.find("weight_block_size");
    if (found == quantization.end() || found->is_null()) return;
    if (!found->is_array() || found->size() != 2) {
      ThrowBadInput(kPlace, "weight_block_size: two sizes", found->dump().substr(0, 40));
    }
    for (size_t i = 0; i < 2; ++i) {
      const Json& side = (*found)[i];
      if (!side.is_number_unsigned() || side.get<uint64_t>() == 0 ||
          side.get<uint64_t>() > (uint64_t{1} << 20)) {
        ThrowBadInput(kPlace, StrCat("weight_block_size of sizes in 1..", 1 << 20),
                      side.dump().substr(0, 40));
      }
      block_[i] = side.get<size_t>();
    }
    has_blocks_ = true;
  }

  bool IsBlocks(const TensorView& scale, const StoredLayer& layer) const {
    return has_blocks_ && scale.shape.size() == 2 &&
           scale.shape[0] == (layer.out + block_[0] - 1) / block_[0] &&
           scale.shape[1] == (layer.in + block_[1] - 1) / block_[1];
  }

  void Open(const std::string& name, const std::string& scale_name) {
    const TensorView& weight = MatrixOf(file_, name + ".weight", {DType::kF8E4m3});
    StoredLayer layer = LayerOf(file_, name, weight.shape[0], weight.shape[1],
                                {".weight", scale_name.substr(name.size()), ".input_scale",
                                 ".activation_scale", ".input_scale_ub"});
    const TensorView& scale = file_.Get(scale_name);
    const bool is_tensor = scale.elements() == 1 && scale.shape.size() < 2;
    const bool is_blocks = IsBlocks(scale, layer);
    const bool is_channel =
        scale.elements() == layer.out && !scale.shape.empty() && scale.shape[0] == layer.out;
    const bool is_float =
        scale.type == DType::kF32 || scale.type == DType::kBF16 || scale.type == DType::kF16;
    if (!is_float || (!is_tensor && !is_blocks && !is_channel)) {
      ThrowBadInput(scale_name,
                    StrCat("one float, one for each of ", layer.out, " rows, or one for each block",
                           has_blocks_ ? StrCat(" of ", block_[0], " x ", block_[1]) : ""),
                    TypeAndShape(scale));
    }
    layer.type = StrCat("fp8_e4m3-", is_tensor   ? "tensor"
                                     : is_blocks ? StrCat("block", block_[0], "x", block_[1])
                                                 : "channel");
    layer.value_type = DType::kBF16;
    scales_.emplace(name, scale_name);
    layers_.push_back(std::move(layer));
  }

  const TensorFile& file_;
  size_t block_[2] = {128, 128};
  bool has_blocks_ = false;
  std::map<std::string, std::string, std::less<>> scales_;
};

bool Recognises(const FormatInput& input) {
  const auto method = input.quantization->find("quant_method");
  return method != input.quantization->end() && (*method == "fp8" || *method == "fbgemm_fp8");
}

std::unique_ptr<QuantizedLayers> Open(const FormatInput& input) {
  return std::make_unique<Fp8Layers>(input);
}

}  // namespace

Format Fp8Format() {
  return {"fp8", "FP8 weights with a scale per tensor, row or block", Recognises, Open};
}

}  // namespace qualm
