// Checkpoints of bitsandbytes: 4-bit codes with one absolute maximum for a block, and 8-bit rows.
// Source: bitsandbytes' functional.py (QuantState), for facts.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error_place.h"
#include "base/strings.h"
#include "formats/format_list.h"
#include "formats/format_tensors.h"

namespace qualm {
namespace {

constexpr std::string_view kStateSuffixes[] = {".weight.quant_state.bitsandbytes__nf4",
                                               ".weight.quant_state.bitsandbytes__fp4"};

// What a module's quant_state says.
struct State {
  std::string type;  // nf4, fp4
  size_t block = 64, nested_block = 0;
  DType value_type = DType::kF32;
  size_t out = 0, in = 0;
  float nested_offset = 0;
  bool is_nested = false;
};

DType TypeFrom(const std::string& name) {
  if (name == "float16") return DType::kF16;
  if (name == "bfloat16") return DType::kBF16;
  if (name == "float32") return DType::kF32;
  ThrowBadInput("dtype", "float16, bfloat16 or float32", name.substr(0, 40));
}

size_t SizeFrom(const Json& json, const char* key) {
  const int64_t size = GetInt(json, key, kNoPlace);
  if (size < 1 || size > static_cast<int64_t>(kLargestLayerSide)) {
    ThrowBadInput(key, StrCat("a size in 1..", kLargestLayerSide), StrCat(size));
  }
  return static_cast<size_t>(size);
}

State StateFrom(const TensorView& tensor) {
  if (tensor.type != DType::kU8 || tensor.bytes.size() > 4096) {
    ThrowBadInput(tensor.name, "a short U8 text", TypeAndShape(tensor));
  }
  const std::string_view text(reinterpret_cast<const char*>(tensor.bytes.data()),
                              tensor.bytes.size());
  return At(tensor.name, [&] {
    const Json json = ParseJson(text, kNoPlace);
    State state;
    state.type = GetString(json, "quant_type", kNoPlace);
    state.block = SizeFrom(json, "blocksize");
    state.value_type = TypeFrom(GetString(json, "dtype", kNoPlace));
    const Json& shape = GetChild(json, "shape", kNoPlace);
    if (!shape.is_array() || shape.size() != 2) ThrowBadInput("shape", "two sizes", shape.dump());
    state.out = SizeFrom({{"out", shape[0]}}, "out");
    state.in = SizeFrom({{"in", shape[1]}}, "in");
    state.is_nested = json.contains("nested_blocksize");
    if (state.is_nested) {
      state.nested_block = SizeFrom(json, "nested_blocksize");
      state.nested_offset = static_cast<float>(GetDouble(json, "nested_offset", kNoPlace));
    }
    return state;
  });
}

// Codes over the whole tensor, row after row, whose blocks cross the ends of rows.
class FlatRows final : public RowDecoder {
 public:
  FlatRows(std::vector<uint8_t> packed, std::vector<float> table, std::vector<float> scales,
           size_t in, size_t block, DType type)
      : packed_(std::move(packed)),
        table_(std::move(table)),
        scales_(std::move(scales)),
        in_(in),
        block_(block),
        type_(type) {}
  void Decode(size_t row, size_t begin, std::span<float> to) const override {
    size_t at = row * in_ + begin;
    for (float& value : to) {
      const uint8_t byte = packed_[at / 2];
      const float level = table_[at % 2 == 0 ? byte >> 4 : byte & 15];
      value = RoundTo(level * scales_[at / block_], type_);
      ++at;
    }
  }

 private:
  std::vector<uint8_t> packed_;
  std::vector<float> table_, scales_;
  size_t in_, block_;
  DType type_;
};

class BitsAndBytesLayers final : public QuantizedLayers {
 public:
  explicit BitsAndBytesLayers(const FormatInput& input)
      : QuantizedLayers(input.options), file_(*input.tensors) {
    for (const std::string_view suffix : kStateSuffixes) {
      for (const std::string& name : ModulesWith(file_, suffix)) {
        At(name, [&] { AddFourBits(name, name + std::string(suffix)); });
      }
    }
    for (const std::string& name : ModulesWith(file_, ".SCB")) {
      At(name, [&] { AddEightBits(name); });
    }
    if (layers_.empty()) {
      ThrowExpected("modules with a quant_state or SCB", "none",
                    "a file saved without its states cannot be read back");
    }
    description_.name = "bitsandbytes";
    description_.variant = states_.empty() ? "int8" : layers_.front().type;
    Sort();
  }

 protected:
  QuantizedWeight ReadWhole(const StoredLayer& stored) const override {
    const auto found = states_.find(stored.name);
    return found == states_.end() ? ReadEightBits(stored) : ReadFourBits(stored, found->second);
  }

 private:
  void AddFourBits(const std::string& name, const std::string& state_tensor) {
    const State state = StateFrom(file_.Get(state_tensor));
    const size_t count = state.out * state.in;
    const TensorView& weight = file_.Get(name + ".weight");
    // Other storage types hold the same bytes.
    if (weight.bytes.size() != (count + 1) / 2) {
      ThrowBadInput(weight.name, StrCat((count + 1) / 2, " bytes of codes"),
                    StrCat(weight.bytes.size()));
    }
    const size_t blocks = (count + state.block - 1) / state.block;
    const DType type = state.is_nested ? DType::kU8 : DType::kF32;
    TensorOf(file_, name + ".weight.absmax", {type}, {blocks});
    TensorOf(file_, name + ".weight.quant_map", {DType::kF32}, {16});
    if (state.is_nested) {
      const size_t nested = (blocks + state.nested_block - 1) / state.nested_block;
      TensorOf(file_, name + ".weight.nested_absmax", {DType::kF32}, {nested});
      TensorOf(file_, name + ".weight.nested_quant_map", {DType::kF32}, {256});
    }

    const std::string state_suffix = state_tensor.substr(name.size());
    StoredLayer layer =
        LayerOf(file_, name, state.out, state.in,
                {".weight", ".weight.absmax", ".weight.quant_map", ".weight.nested_absmax",
                 ".weight.nested_quant_map", state_suffix});
    layer.type =
        StrCat(state.type.substr(0, 20), "-g", state.block, state.is_nested ? "-nested" : "");
    layer.value_type = state.value_type;
    layer.is_in_blocks = state.in % state.block != 0;
    states_.emplace(name, state);
    layers_.push_back(std::move(layer));
  }

  void AddEightBits(const std::string& name) {
    const TensorView& weight = MatrixOf(file_, name + ".weight", {DType::kI8});
    TensorOf(file_, name + ".SCB", {DType::kF32}, {weight.shape[0]});
    StoredLayer layer = LayerOf(file_, name, weight.shape[0], weight.shape[1],
                                {".weight", ".SCB", ".weight_format", ".weight.weight_format"});
    layer.type = "int8-channel-sym";
    layer.value_type = DType::kF32;
    layers_.push_back(std::move(layer));
  }

  // The maximum of each block; a nested one is a code of another table.
  std::vector<float> BlockScales(const std::string& name, const State& state) const {
    const TensorView& absmax = file_.Get(name + ".weight.absmax");
    if (!state.is_nested) return FloatsOf(absmax);
    const std::vector<float> map = FloatsOf(file_.Get(name + ".weight.nested_quant_map"));
    const std::vector<float> outer = FloatsOf(file_.Get(name + ".weight.nested_absmax"));
    std::vector<float> scales;
    for (const uint8_t code : ElementsOf<uint8_t>(absmax)) {
      const float inner = map[code] * outer[scales.size() / state.nested_block];
      scales.push_back(inner + state.nested_offset);
    }
    return scales;
  }

  QuantizedWeight ReadFourBits(const StoredLayer& stored, const State& state) const {
    const TensorView& weight = file_.Get(stored.name + ".weight");
    std::vector<uint8_t> packed(weight.bytes.size());
    std::memcpy(packed.data(), weight.bytes.data(), packed.size());
    std::vector<float> table = FloatsOf(file_.Get(stored.name + ".weight.quant_map"));
    std::vector<float> scales = BlockScales(stored.name, state);

    // Blocks that cross the ends of rows are on no grid.
    if (state.in % state.block != 0) {
      const DType type = options_.float32_weights ? DType::kF32 : state.value_type;
      RowBlocks blocks{state.out, state.in, stored.type, stored.bytes, nullptr};
      blocks.decoder = std::make_shared<FlatRows>(std::move(packed), std::move(table),
                                                  std::move(scales), state.in, state.block, type);
      return blocks;
    }

    QuantizedLinear layer;
    layer.out_features = state.out;
    layer.in_features = state.in;
    layer.scheme.type = NumberType::kTable;
    layer.scheme.bits = 4;
    layer.scheme.granularity = Granularity::kGroup;
    layer.scheme.group_size = static_cast<int>(state.block);
    layer.scheme.zero_point = ZeroPointKind::kNone;
    layer.scheme.scale_type = DType::kF32;
    layer.table = std::move(table);
    layer.scales = std::move(scales);
    layer.value_form.type = state.value_type;
    layer.codes.resize(state.out * state.in);
    for (size_t i = 0; i < layer.codes.size(); ++i) {
      layer.codes[i] = i % 2 == 0 ? packed[i / 2] >> 4 : packed[i / 2] & 15;
    }
    At(stored.name, [&] { layer.Validate(); });
    return layer;
  }

  // A row's codes times SCB, and the product times 1/127, each rounded to float32.
  QuantizedWeight ReadEightBits(const StoredLayer& stored) const {
    QuantizedLinear layer;
    layer.out_features = stored.out;
    layer.in_features = stored.in;
    layer.scheme.bits = 8;
    layer.scheme.zero_point = ZeroPointKind::kNone;
    layer.scheme.scale_type = DType::kF32;
    layer.scales = FloatsOf(file_.Get(stored.name + ".SCB"));
    layer.value_form.factor = 1.0f / 127.0f;
    layer.codes = ElementsOf<uint8_t>(file_.Get(stored.name + ".weight"));
    for (uint8_t& code : layer.codes) code ^= 0x80;  // 128 above the number
    At(stored.name, [&] { layer.Validate(); });
    return layer;
  }

  const TensorFile& file_;
  std::map<std::string, State, std::less<>> states_;
};

bool Recognises(const FormatInput& input) {
  const Json& quantization = *input.quantization;
  const auto method = quantization.find("quant_method");
  if (method != quantization.end()) return *method == "bitsandbytes";
  // Its first form named no method.
  return quantization.contains("load_in_4bit") || quantization.contains("load_in_8bit");
}

std::unique_ptr<QuantizedLayers> Open(const FormatInput& input) {
  return std::make_unique<BitsAndBytesLayers>(input);
}

}  // namespace

Format BitsAndBytesFormat() {
  return {"bitsandbytes", "NF4 and FP4, nested or not, and int8 rows", Recognises, Open};
}

}  // namespace qualm
