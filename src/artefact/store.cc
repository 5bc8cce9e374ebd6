// Writes quantized layers as tensors and reads them back: packed codes, scales in their stored
// type, and everything that a layer may have in addition. The reader asks for each tensor with the
// type and shape that the record implies, so a file that disagrees is refused. Layout:
// docs/formats/artefact.md.
#include "artefact/store.h"

#include <algorithm>
#include <cstring>

#include "artefact/codebook.h"
#include "base/error_place.h"
#include "base/strings.h"

namespace qualm {
namespace {

// A larger record is damaged; up to this, no size in this file can overflow.
constexpr size_t kLargestFeatures = size_t{1} << 28;

// Packs rows of `count` values of `bits` each; every row starts at a new byte.
std::vector<std::byte> PackRows(std::span<const uint8_t> values, size_t rows, size_t count,
                                int bits) {
  size_t row_bytes = PackedRowBytes(count, bits);
  std::vector<std::byte> packed(rows * row_bytes);
  for (size_t r = 0; r < rows; ++r) {
    PackCodes(values.subspan(r * count, count), bits,
              {reinterpret_cast<uint8_t*>(packed.data()) + r * row_bytes, row_bytes});
  }
  return packed;
}

std::span<const uint8_t> AsBytes(const TensorView& tensor) {
  return {reinterpret_cast<const uint8_t*>(tensor.bytes.data()), tensor.bytes.size()};
}

// The vector's memory as bytes, which is what the file stores.
template <typename T>
std::vector<std::byte> RawBytes(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

template <typename T>
std::vector<T> FromRawBytes(const TensorView& tensor) {
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), values.size() * sizeof(T));
  return values;
}

// How a row's bits are laid out if groups have different widths: codes follow one another without
// gaps, as in PackCodes.
struct RowLayout {
  size_t row_bytes = 0;
  std::vector<uint8_t> bits_of_column;  // [in]
};

RowLayout MixedLayout(const QuantizedLinear& layer) {
  RowLayout layout;
  size_t total_bits = 0;
  for (size_t column = 0; column < layer.in_features; ++column) {
    int bits = layer.BitsOfGroup(layer.GroupOfColumn(column));
    layout.bits_of_column.push_back(static_cast<uint8_t>(bits));
    total_bits += static_cast<size_t>(bits);
  }
  layout.row_bytes = (total_bits + 7) / 8;
  return layout;
}

// Bit by bit, because a code may have any width and cross a byte.
std::vector<std::byte> PackMixed(const QuantizedLinear& layer, const RowLayout& layout) {
  std::vector<std::byte> packed(layer.out_features * layout.row_bytes);
  for (size_t r = 0; r < layer.out_features; ++r) {
    std::byte* row = packed.data() + r * layout.row_bytes;
    size_t at = 0;
    for (size_t c = 0; c < layer.in_features; ++c) {
      unsigned code = layer.codes[r * layer.in_features + c];
      for (int i = 0; i < layout.bits_of_column[c]; ++i, ++at) {
        row[at / 8] |= static_cast<std::byte>((code >> i & 1u) << at % 8);
      }
    }
  }
  return packed;
}

// The inverse of PackMixed.
void UnpackMixed(std::span<const uint8_t> packed, const RowLayout& layout, QuantizedLinear& layer) {
  layer.codes.assign(layer.out_features * layer.in_features, 0);
  for (size_t r = 0; r < layer.out_features; ++r) {
    const uint8_t* row = packed.data() + r * layout.row_bytes;
    size_t at = 0;
    for (size_t c = 0; c < layer.in_features; ++c) {
      unsigned code = 0;
      for (int i = 0; i < layout.bits_of_column[c]; ++i, ++at) {
        code |= (row[at / 8] >> at % 8 & 1u) << i;
      }
      layer.codes[r * layer.in_features + c] = static_cast<uint8_t>(code);
    }
  }
}

// The bits of a stored zero point: wide enough for the widest group.
int ZeroBits(const QuantizedLinear& layer) {
  if (layer.scheme.granularity == Granularity::kTensor) return 8;
  int bits = 0;
  for (size_t g = 0; g < layer.group_count(); ++g) bits = std::max(bits, layer.BitsOfGroup(g));
  return bits;
}

}  // namespace

void TensorBatch::Add(std::string name, DType type, std::vector<size_t> shape,
                      std::vector<std::byte> bytes) {
  owned_.push_back(std::move(bytes));
  tensors_.push_back({std::move(name), type, std::move(shape), owned_.back()});
}

void TensorBatch::AddFloats(std::string name, DType type, std::vector<size_t> shape,
                            std::span<const float> values) {
  std::vector<std::byte> bytes(values.size() * SizeOf(type));
  ConvertFromFloat(values.data(), type, bytes.data(), values.size());
  Add(std::move(name), type, std::move(shape), std::move(bytes));
}

void TensorBatch::AddView(const TensorView& view) {
  tensors_.push_back({view.name, view.type, view.shape, view.bytes});
}

void TensorBatch::AddQuantized(const std::string& name, const QuantizedLinear& layer) {
  size_t out = layer.out_features, in = layer.in_features, groups = layer.group_count();
  const Scheme& scheme = layer.scheme;
  size_t scale_rows = scheme.granularity == Granularity::kTensor ? 1 : out;
  // Codes: one width for the layer, or a width for each group in a tensor next to them.
  if (layer.bits_per_group.empty()) {
    Add(name + ".codes", DType::kU8, {out, PackedRowBytes(in, scheme.bits)},
        PackRows(layer.codes, out, in, scheme.bits));
  } else {
    RowLayout layout = MixedLayout(layer);
    Add(name + ".codes", DType::kU8, {out, layout.row_bytes}, PackMixed(layer, layout));
    Add(name + ".bits", DType::kU8, {groups}, RawBytes(layer.bits_per_group));
  }

  // Scales and zero points may be quantized themselves; then they are three tensors.
  auto second_level = [&](const std::string& what, const SecondLevelValues& values) {
    size_t blocks = values.scales.size() / groups;
    Add(name + what + ".codes", DType::kU8,
        {out, PackedRowBytes(groups, scheme.second_level->bits)},
        PackRows(values.codes, out, groups, scheme.second_level->bits));
    AddFloats(name + what + ".scale", scheme.scale_type, {blocks, groups}, values.scales);
    AddFloats(name + what + ".zero", scheme.scale_type, {blocks, groups}, values.zeros);
  };

  if (layer.second_level_scales) {
    second_level(".scales", *layer.second_level_scales);
  } else if (HasByteScales(scheme.type)) {
    std::vector<uint8_t> bytes;
    for (float scale : layer.scales) bytes.push_back(EncodeByteScale(scheme.type, scale));
    Add(name + ".scales", DType::kU8, {scale_rows, groups}, RawBytes(bytes));
  } else {
    AddFloats(name + ".scales", scheme.scale_type, {scale_rows, groups}, layer.scales);
  }

  // The scale of the tensor, which byte scales are relative to.
  if (scheme.type == NumberType::kNvfp4) {
    AddFloats(name + ".tensor_scale", DType::kF32, {1}, {&layer.tensor_scale, 1});
  }

  // Zero points have the same forms. Whole numbers are packed like codes.
  if (layer.second_level_zeros) {
    second_level(".zeros", *layer.second_level_zeros);
  } else if (scheme.zero_point == ZeroPointKind::kInteger) {
    std::vector<uint8_t> zeros(layer.zeros.size());
    std::ranges::transform(layer.zeros, zeros.begin(), [](float z) { return uint8_t(z); });
    int bits = ZeroBits(layer);
    Add(name + ".zeros", DType::kU8, {scale_rows, PackedRowBytes(groups, bits)},
        PackRows(zeros, scale_rows, groups, bits));
  } else if (scheme.zero_point != ZeroPointKind::kNone) {
    AddFloats(name + ".zeros", scheme.scale_type, {scale_rows, groups}, layer.zeros);
  }

  // The values of the codes, where the layer has its own.
  if (!layer.table.empty()) {
    AddFloats(name + ".table", DType::kF32, {layer.table.size()}, layer.table);
  }
  // The permutation of columns.
  if (!layer.g_idx.empty()) Add(name + ".g_idx", DType::kI32, {in}, RawBytes(layer.g_idx));
  // What some methods keep in higher precision.
  if (layer.outliers) {
    const Outliers& o = *layer.outliers;
    Add(name + ".outliers.row_start", DType::kI32, {out + 1}, RawBytes(o.row_start));
    Add(name + ".outliers.column", DType::kI32, {o.column.size()}, RawBytes(o.column));
    Add(name + ".outliers.value", DType::kF16, {o.value.size()}, RawBytes(o.value));
  }
  if (layer.float_columns) {
    const FloatColumns& f = *layer.float_columns;
    Add(name + ".float_columns.column", DType::kI32, {f.column.size()}, RawBytes(f.column));
    Add(name + ".float_columns.value", DType::kF16, {out, f.column.size()}, RawBytes(f.value));
  }

  // Seeds and sizes of transforms are in the record; only factors are tensors.
  for (size_t i = 0; i < layer.transforms.size(); ++i) {
    const std::vector<float>& factors = layer.transforms[i].factors;
    if (factors.empty()) continue;
    AddFloats(StrCat(name, ".transform.", i), DType::kF32, {factors.size()}, factors);
  }
}

namespace {

// Finds one layer's tensors in a file. Every type and shape is checked before the bytes are read.
class LayerReader {
 public:
  LayerReader(const TensorFile& tensors, const LayerRecord& record)
      : tensors_(tensors), record_(record) {}

  const TensorView* Find(const std::string& suffix) const {
    return tensors_.Find(record_.name + suffix);
  }

  const TensorView& Get(const std::string& suffix, DType type,
                        const std::vector<size_t>& shape) const {
    // The message names both shapes, the expected one and the one in the file.
    const TensorView& tensor = tensors_.Get(record_.name + suffix);
    if (tensor.type != type || tensor.shape != shape) {
      std::string want, got;
      for (size_t d : shape) want += StrCat(" ", d);
      for (size_t d : tensor.shape) got += StrCat(" ", d);
      ThrowBadInput(tensor.name, StrCat(NameOf(type), " of shape", want),
                    StrCat(NameOf(tensor.type), " of shape", got));
    }
    return tensor;
  }

  std::vector<float> Floats(const std::string& suffix, DType type,
                            const std::vector<size_t>& shape) const {
    const TensorView& tensor = Get(suffix, type, shape);
    std::vector<float> values(tensor.elements());
    ConvertToFloat(type, tensor.bytes.data(), values.data(), values.size());
    return values;
  }

  std::vector<uint8_t> Packed(const std::string& suffix, size_t rows, size_t count,
                              int bits) const {
    size_t row_bytes = PackedRowBytes(count, bits);
    std::span<const uint8_t> packed = AsBytes(Get(suffix, DType::kU8, {rows, row_bytes}));
    std::vector<uint8_t> values(rows * count);
    for (size_t r = 0; r < rows; ++r) {
      UnpackCodes(packed.subspan(r * row_bytes, row_bytes), bits,
                  std::span(values).subspan(r * count, count));
    }
    return values;
  }

 private:
  const TensorFile& tensors_;
  const LayerRecord& record_;
};

// The inverse of the second level in AddQuantized.
SecondLevelValues ReadSecondLevel(const LayerReader& read, const std::string& suffix,
                                  const QuantizedLinear& layer) {
  const SecondLevel& second = *layer.scheme.second_level;
  auto rows = static_cast<size_t>(second.group_rows);
  size_t groups = layer.group_count(), blocks = (layer.out_features + rows - 1) / rows;
  SecondLevelValues values;
  values.codes = read.Packed(suffix + ".codes", layer.out_features, groups, second.bits);
  values.scales = read.Floats(suffix + ".scale", layer.scheme.scale_type, {blocks, groups});
  values.zeros = read.Floats(suffix + ".zero", layer.scheme.scale_type, {blocks, groups});
  return values;
}

// Codes of one width as the file has them.
std::span<const uint8_t> PackedCodes(const LayerReader& read, const QuantizedLinear& layer) {
  const size_t row_bytes = PackedRowBytes(layer.in_features, layer.scheme.bits);
  return AsBytes(read.Get(".codes", DType::kU8, {layer.out_features, row_bytes}));
}

// The widths of groups that have their own.
void ReadBitsPerGroup(const LayerReader& read, QuantizedLinear& layer) {
  if (read.Find(".bits") == nullptr) return;
  layer.bits_per_group =
      FromRawBytes<uint8_t>(read.Get(".bits", DType::kU8, {layer.group_count()}));
  for (uint8_t bits : layer.bits_per_group) {
    if (bits < 1 || bits > 8) ThrowBadInput("bits per group", "1..8", StrCat(int{bits}));
  }
}

// Codes of one width, or of a width for each group.
void ReadCodes(const LayerReader& read, QuantizedLinear& layer) {
  size_t out = layer.out_features, in = layer.in_features;
  if (layer.bits_per_group.empty()) {
    layer.codes = read.Packed(".codes", out, in, layer.scheme.bits);
    return;
  }

  // Even with one bit per code, a row of the tensor bounds the inputs. This is checked before the
  // layout of a row is built from untrusted sizes.
  const TensorView* codes = read.Find(".codes");
  if (codes != nullptr && codes->shape.size() == 2 && in > 8 * codes->shape[1]) {
    ThrowBadInput(codes->name, StrCat("codes of ", in, " inputs"),
                  StrCat(codes->shape[1], " bytes a row"));
  }

  RowLayout layout = MixedLayout(layer);
  UnpackMixed(AsBytes(read.Get(".codes", DType::kU8, {out, layout.row_bytes})), layout, layer);
}

// Zero points that are not quantized themselves.
void ReadZeros(const LayerReader& read, size_t scale_rows, QuantizedLinear& layer) {
  const Scheme& scheme = layer.scheme;
  if (scheme.zero_point == ZeroPointKind::kInteger) {
    std::vector<uint8_t> zeros =
        read.Packed(".zeros", scale_rows, layer.group_count(), ZeroBits(layer));
    layer.zeros.assign(zeros.begin(), zeros.end());
  } else if (scheme.zero_point != ZeroPointKind::kNone) {
    layer.zeros = read.Floats(".zeros", scheme.scale_type, {scale_rows, layer.group_count()});
  }
}

// Outliers, if the layer has any.
void ReadOutliers(const LayerReader& read, QuantizedLinear& layer) {
  const TensorView* column = read.Find(".outliers.column");
  if (column == nullptr) return;
  size_t count = column->elements();
  Outliers outliers;
  outliers.row_start = FromRawBytes<uint32_t>(
      read.Get(".outliers.row_start", DType::kI32, {layer.out_features + 1}));
  outliers.column = FromRawBytes<uint32_t>(read.Get(".outliers.column", DType::kI32, {count}));
  outliers.value = FromRawBytes<Half>(read.Get(".outliers.value", DType::kF16, {count}));
  layer.outliers = std::move(outliers);
}

// Columns in higher precision, if the layer has any.
void ReadFloatColumns(const LayerReader& read, QuantizedLinear& layer) {
  const TensorView* column = read.Find(".float_columns.column");
  if (column == nullptr) return;
  const size_t count = column->elements();
  FloatColumns columns;
  columns.column = FromRawBytes<uint32_t>(read.Get(".float_columns.column", DType::kI32, {count}));
  columns.value = FromRawBytes<Half>(
      read.Get(".float_columns.value", DType::kF16, {layer.out_features, count}));
  layer.float_columns = std::move(columns);
}

}  // namespace

namespace {

// Everything of a layer but its codes, not yet validated.
QuantizedLinear ReadAllButCodes(const LayerReader& read, const LayerRecord& record) {
  QuantizedLinear layer;
  layer.out_features = record.out_features;
  layer.in_features = record.in_features;
  layer.scheme = record.scheme;
  layer.tensor_scale_divides = record.tensor_scale_divides;
  layer.value_form = record.value_form;

  // The record comes from a file as well.
  const auto is_size = [](size_t n) { return n > 0 && n <= kLargestFeatures; };
  if (!is_size(layer.out_features) || !is_size(layer.in_features)) {
    ThrowBadInput(record.name, StrCat("a shape [out, in] of sizes in 1..", kLargestFeatures),
                  StrCat("[", layer.out_features, ", ", layer.in_features, "]"));
  }

  // A scheme per tensor has one row of scales.
  size_t scale_rows = layer.scheme.granularity == Granularity::kTensor ? 1 : layer.out_features;
  if (read.Find(".g_idx") != nullptr) {
    layer.g_idx = FromRawBytes<uint32_t>(read.Get(".g_idx", DType::kI32, {layer.in_features}));
    // Groups index scales below, so they are checked now and not only in Validate.
    for (uint32_t group : layer.g_idx) {
      if (group < layer.group_count()) continue;
      ThrowBadInput(record.name + ".g_idx", StrCat("groups below ", layer.group_count()),
                    StrCat(group));
    }
  }

  // The shape of the codes is checked before anything else of the layer is read, because it bounds
  // the sizes of the record by the size of the file.
  ReadBitsPerGroup(read, layer);
  if (layer.bits_per_group.empty()) (void)PackedCodes(read, layer);

  // Scales in one of their three forms.
  if (layer.scheme.second_level) {
    layer.second_level_scales = ReadSecondLevel(read, ".scales", layer);
  } else if (HasByteScales(layer.scheme.type)) {
    for (uint8_t byte :
         AsBytes(read.Get(".scales", DType::kU8, {scale_rows, layer.group_count()}))) {
      layer.scales.push_back(DecodeByteScale(layer.scheme.type, byte));
    }
  } else {
    layer.scales =
        read.Floats(".scales", layer.scheme.scale_type, {scale_rows, layer.group_count()});
  }

  if (layer.scheme.type == NumberType::kNvfp4) {
    layer.tensor_scale = read.Floats(".tensor_scale", DType::kF32, {1})[0];
  }
  if (layer.scheme.type == NumberType::kTable) {
    layer.table = read.Floats(".table", DType::kF32, {size_t{1} << layer.scheme.bits});
  }

  // Zero points may be quantized again like the scales, or be stored as they are.
  if (layer.scheme.second_level && read.Find(".zeros.codes") != nullptr) {
    layer.second_level_zeros = ReadSecondLevel(read, ".zeros", layer);
  } else {
    ReadZeros(read, scale_rows, layer);
  }

  // What else the layer may have; a missing tensor means that it has none.
  ReadOutliers(read, layer);
  ReadFloatColumns(read, layer);
  layer.transforms = record.transforms;
  layer.activations = record.activations;
  for (size_t i = 0; i < layer.transforms.size(); ++i) {
    std::string suffix = StrCat(".transform.", i);
    const TensorView* factors = read.Find(suffix);
    if (factors != nullptr) {
      layer.transforms[i].factors = read.Floats(suffix, DType::kF32, {factors->elements()});
    }
  }
  return layer;
}

}  // namespace

QuantizedLinear ReadQuantizedLinear(const TensorFile& tensors, const LayerRecord& record) {
  const LayerReader read(tensors, record);
  QuantizedLinear layer = ReadAllButCodes(read, record);
  ReadCodes(read, layer);
  At(record.name, [&] { layer.Validate(); });
  return layer;
}

std::optional<PackedLinear> ReadPackedLinear(const TensorFile& tensors, const LayerRecord& record) {
  const LayerReader read(tensors, record);
  PackedLinear packed{ReadAllButCodes(read, record), {}};
  const QuantizedLinear& layer = packed.layer;
  if (!layer.bits_per_group.empty()) return std::nullopt;

  packed.codes = PackedCodes(read, layer);
  At(record.name, [&] { packed.Validate(); });
  return packed;
}

LayerRecord RecordOf(const std::string& name, const QuantizedLinear& layer) {
  LayerRecord record;
  record.name = name;
  record.out_features = layer.out_features;
  record.in_features = layer.in_features;
  record.scheme = layer.scheme;
  record.transforms = layer.transforms;
  record.activations = layer.activations;
  record.tensor_scale_divides = layer.tensor_scale_divides;
  record.value_form = layer.value_form;
  // Factors are stored as tensors, not in the record.
  for (OnlineTransform& transform : record.transforms) transform.factors.clear();
  record.bits_per_weight = layer.BitsPerWeight();
  record.stored_bytes = layer.StoredBytes();
  return record;
}

}  // namespace qualm
