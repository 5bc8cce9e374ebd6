// The weights of compressed-tensors: packed and plain integers, 8-bit floats, and the 4-, 6- and
// 8-bit floats with small groups. Source: compressed-tensors' compressors, for facts.
#include <algorithm>
#include <cmath>

#include "artefact/codebook.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "formats/compressed_tensors_layers.h"
#include "formats/format_tensors.h"

namespace qualm {
namespace {

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

// Values [ceil(out/rows), groups] as [out, groups].
std::vector<float> RowsOfBlocks(std::vector<float> values, size_t groups, size_t rows, size_t out) {
  if (rows == 1) return values;
  std::vector<float> all(out * groups);
  for (size_t r = 0; r < out; ++r) {
    std::copy_n(values.begin() + static_cast<ptrdiff_t>(r / rows * groups), groups,
                all.begin() + static_cast<ptrdiff_t>(r * groups));
  }
  return all;
}

// Scales that are single bytes.
std::vector<float> PowersOfTwo(const TensorView& tensor) {
  std::vector<float> scales;
  for (const uint8_t byte : ElementsOf<uint8_t>(tensor)) {
    scales.push_back(DecodeByteScale(NumberType::kMxfp4, byte));
  }
  return scales;
}

std::vector<float> E4m3Numbers(const TensorView& tensor) {
  std::vector<float> scales;
  for (const uint8_t byte : ElementsOf<uint8_t>(tensor)) {
    scales.push_back(DecodeByteScale(NumberType::kNvfp4, byte));
  }
  return scales;
}

// The values of e2m1 times 1/global, each rounded to float32.
void SetScaledTable(float global, QuantizedLinear& layer) {
  const float reciprocal = 1.0f / global;
  layer.scheme.type = NumberType::kTable;
  layer.scheme.scale_type = DType::kBF16;  // which holds every e4m3 number
  for (size_t code = 0; code < 16; ++code) {
    const float value = Codebook::Of(NumberType::kNvfp4).Value(static_cast<uint8_t>(code));
    layer.table.push_back(value * reciprocal);
  }
}

}  // namespace

QuantizedWeight CompressedTensorsLayers::ReadWhole(const StoredLayer& stored) const {
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

// Sets granularity, group size, scales [out, groups] or [1]; a block's scale is each of its
// rows'. Returns the shape of the stored scales.
std::vector<size_t> CompressedTensorsLayers::SetScales(
    const Module& module, QuantizedLinear& layer, std::vector<float> (*read)(const TensorView&),
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
  // AutoRound's scales of channels have one dimension.
  const TensorView& stored = file_.Get(name);
  const bool is_flat = groups == 1 && rows == 1 && stored.shape.size() == 1;
  const TensorView& scales =
      TensorOf(file_, name, types, is_flat ? std::vector<size_t>{module.out} : shape);
  layer.scales = RowsOfBlocks(read(scales), groups, rows, module.out);
  return shape;
}

// The group of each column, of old files that keep the order of columns ("actorder": "group").
void CompressedTensorsLayers::ReadColumnGroups(const Module& module, QuantizedLinear& layer) const {
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
void CompressedTensorsLayers::ReadPacked(const Module& module, QuantizedLinear& layer) const {
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
void CompressedTensorsLayers::SetZeros(const Module& module, std::vector<float> zeros,
                                       size_t groups, QuantizedLinear& layer) const {
  const TensorArgs& args = WeightsOf(module);
  const size_t rows = args.strategy == "block" ? args.block[0] : 1;
  layer.zeros = RowsOfBlocks(std::move(zeros), groups, rows, module.out);
}

// Signed bytes.
void CompressedTensorsLayers::ReadPlain(const Module& module, QuantizedLinear& layer) const {
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

void CompressedTensorsLayers::ReadFp8(const Module& module, QuantizedLinear& layer) const {
  layer.scheme.type = NumberType::kFp8E4m3;
  layer.scheme.bits = 8;
  layer.scheme.zero_point = ZeroPointKind::kNone;
  layer.scheme.scale_type = file_.Get(module.name + ".weight_scale").type;
  SetScales(module, layer, FloatsOf, {DType::kF32, DType::kF16, DType::kBF16});
  if (config_.weight_type && !options_.float32_weights) {
    layer.scheme.scale_type = *config_.weight_type;
    for (float& scale : layer.scales) scale = RoundTo(scale, *config_.weight_type);
  }
  layer.codes = ElementsOf<uint8_t>(file_.Get(module.name + ".weight"));
}

// 4 and 6 bits packed in bytes, and bytes, with a byte as the scale of a group.
void CompressedTensorsLayers::ReadSmallFloats(const Module& module, QuantizedLinear& layer) const {
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
  const std::vector<uint8_t> bytes = ElementsOf<uint8_t>(file_.Get(module.name + ".weight_packed"));
  layer.codes.resize(module.out * module.in);
  const size_t width = PackedRowBytes(module.in, bits);
  for (size_t r = 0; r < module.out; ++r) {
    UnpackCodes(std::span(bytes).subspan(r * width, width), bits,
                std::span(layer.codes).subspan(r * module.in, module.in));
  }
}

void CompressedTensorsLayers::SetGroups(const Module& module, QuantizedLinear& layer) const {
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

}  // namespace qualm
