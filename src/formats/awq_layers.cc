// Reads AutoAWQ's packings. Sources: AutoAWQ's gemm.py, gemv.py, gemv_fast.py and
// packing_utils.py, for facts. All have codes of 4 bits; zero points are stored as they are.
#include "formats/awq_layers.h"

#include <algorithm>
#include <array>

#include "base/error_place.h"
#include "base/strings.h"
#include "formats/format_tensors.h"

namespace qualm {
namespace {

constexpr int kBits = 4;
constexpr size_t kCodes = 8;  // of a word
// "gemm": nibble i of a word is the code of output kOrder[i] of eight.
constexpr std::array<size_t, kCodes> kOrder = {0, 2, 4, 6, 1, 3, 5, 7};

uint8_t Nibble(uint32_t word, size_t i) { return static_cast<uint8_t>(word >> 4 * i & 15u); }

// "gemv_fast" moves the codes of 32 inputs twice: pairs of four eights are put side by side, and in
// each eight the even ones come before the odd ones. The input whose code is at `position`.
size_t InputAt(size_t position) {
  const size_t of_eight = position % 8;
  const size_t paired = position / 8 * 8 + of_eight % 4 * 2 + of_eight / 4;
  return paired % 8 / 2 * 8 + paired / 8 * 2 + paired % 2;
}

}  // namespace

AwqLayers::AwqLayers(const FormatInput& input, FormatDescription description, AwqVersion version,
                     const GroupSizeOf& group_size)
    : QuantizedLayers(input.options), file_(*input.tensors), version_(version) {
  description_ = std::move(description);
  for (const std::string& name : ModulesWith(file_, ".qweight")) {
    const std::optional<int64_t> of_module = group_size(name);
    if (!of_module) {
      ThrowBadInput(name, "tensors of a float layer, as the description says",
                    "packed ones (.qweight)");
    }
    Module module = At(name, [&] { return Open(name, *of_module); });
    StoredLayer layer =
        LayerOf(file_, name, module.out, module.in, {".qweight", ".scales", ".qzeros"});
    layer.type = module.groups == 1 ? "int4-channel" : StrCat("int4-g", module.group_size);
    layer.value_type = file_.Get(name + ".scales").type;
    modules_.emplace(name, module);
    layers_.push_back(std::move(layer));
  }
  if (layers_.empty()) ThrowExpected("modules with .qweight tensors", "none");
  Sort();
}

// Sizes follow from the codes; scales and zero points must fit them.
AwqLayers::Module AwqLayers::Open(const std::string& name, int64_t group_size) const {
  Module module;
  const DType word = version_ == AwqVersion::kGemvFast ? DType::kI16 : DType::kI32;
  const TensorView& weight = MatrixOf(file_, name + ".qweight", {word});
  switch (version_) {
    case AwqVersion::kGemm:
      module.in = weight.shape[0];
      module.out = weight.shape[1] * kCodes;
      break;
    case AwqVersion::kGemv:
      module.out = weight.shape[0];
      module.in = weight.shape[1] * kCodes;
      break;
    case AwqVersion::kGemvFast:
      module.out = weight.shape[0] * 4;
      module.in = weight.shape[1];
      if (module.in % 64 != 0) ThrowExpected("inputs in blocks of 64", StrCat(module.in));
      break;
  }

  if (group_size != -1 && group_size < 1) {
    ThrowExpected("a group_size above 0, or -1", StrCat(group_size));
  }
  module.group_size = group_size == -1 ? module.in : static_cast<size_t>(group_size);
  if (module.in % module.group_size != 0) {
    ThrowExpected(StrCat("groups that divide ", module.in, " inputs"), StrCat(group_size));
  }
  module.groups = module.in / module.group_size;

  // The other two versions fill the groups up to whole words.
  const TensorView& scales = MatrixOf(file_, name + ".scales", {DType::kF16, DType::kBF16});
  const bool fits = version_ == AwqVersion::kGemm
                        ? scales.shape == std::vector<size_t>{module.groups, module.out}
                    : version_ == AwqVersion::kGemv
                        ? scales.shape[0] == module.out && scales.shape[1] >= module.groups
                        : scales.shape[1] == module.out && scales.shape[0] >= module.groups;
  if (!fits) {
    ThrowBadInput(scales.name,
                  StrCat("scales of ", module.groups, " groups and ", module.out, " outputs"),
                  TypeAndShape(scales), "group_size is not this module's");
  }

  const std::string zeros = name + ".qzeros";
  if (version_ == AwqVersion::kGemvFast) {
    TensorOf(file_, zeros, {scales.type}, scales.shape);
  } else if (version_ == AwqVersion::kGemv) {
    if (scales.shape[1] % kCodes != 0) {
      ThrowBadInput(scales.name, "scales of whole words of zero points", TypeAndShape(scales));
    }
    TensorOf(file_, zeros, {DType::kI32}, {module.out, scales.shape[1] / kCodes});
  } else if (file_.Find(zeros) != nullptr) {
    TensorOf(file_, zeros, {DType::kI32}, {module.groups, module.out / kCodes});
  }
  return module;
}

QuantizedWeight AwqLayers::ReadWhole(const StoredLayer& stored) const {
  const Module& module = modules_.find(stored.name)->second;
  QuantizedLinear layer;
  layer.out_features = module.out;
  layer.in_features = module.in;
  layer.scheme.bits = kBits;
  layer.scheme.granularity = module.groups == 1 ? Granularity::kChannel : Granularity::kGroup;
  layer.scheme.group_size = module.groups == 1 ? 0 : static_cast<int>(module.group_size);
  layer.scheme.scale_type = stored.value_type;
  layer.value_form.type = stored.value_type;
  layer.codes.resize(module.out * module.in);
  layer.scales.resize(module.out * module.groups);
  layer.zeros.resize(module.out * module.groups);
  switch (version_) {
    case AwqVersion::kGemm:
      ReadGemm(stored.name, module, layer);
      break;
    case AwqVersion::kGemv:
      ReadGemv(stored.name, module, layer);
      break;
    case AwqVersion::kGemvFast:
      ReadGemvFast(stored.name, module, layer);
      break;
  }

  // Zero points in the middle everywhere need not be kept.
  if (layer.scheme.zero_point == ZeroPointKind::kInteger &&
      std::ranges::all_of(layer.zeros, [](float zero) { return zero == 8; })) {
    layer.scheme.zero_point = ZeroPointKind::kNone;
    layer.zeros.clear();
  }
  At(stored.name, [&] { layer.Validate(); });
  return layer;
}

// Words hold eight neighbouring outputs of one input (or group).
void AwqLayers::ReadGemm(const std::string& name, const Module& module,
                         QuantizedLinear& layer) const {
  const size_t width = module.out / kCodes;
  const std::vector<uint32_t> words = ElementsOf<uint32_t>(file_.Get(name + ".qweight"));
  for (size_t w = 0; w < width; ++w) {
    for (size_t c = 0; c < module.in; ++c) {
      const uint32_t word = words[c * width + w];
      for (size_t i = 0; i < kCodes; ++i) {
        layer.codes[(w * kCodes + kOrder[i]) * module.in + c] = Nibble(word, i);
      }
    }
  }

  layer.scheme.zero_point = ZeroPointKind::kInteger;
  const std::vector<float> scales = FloatsOf(file_.Get(name + ".scales"));
  const TensorView* zeros = file_.Find(name + ".qzeros");
  const std::vector<uint32_t> packed =
      zeros != nullptr ? ElementsOf<uint32_t>(*zeros)
                       : std::vector<uint32_t>(module.groups * width, 0x88888888u);
  for (size_t g = 0; g < module.groups; ++g) {
    for (size_t o = 0; o < module.out; ++o) {
      layer.scales[o * module.groups + g] = scales[g * module.out + o];
    }
    for (size_t w = 0; w < width; ++w) {
      for (size_t i = 0; i < kCodes; ++i) {
        layer.zeros[(w * kCodes + kOrder[i]) * module.groups + g] =
            Nibble(packed[g * width + w], i);
      }
    }
  }
}

// Words hold eight neighbouring inputs (or groups) of one output.
void AwqLayers::ReadGemv(const std::string& name, const Module& module,
                         QuantizedLinear& layer) const {
  const size_t width = module.in / kCodes;
  const std::vector<uint32_t> words = ElementsOf<uint32_t>(file_.Get(name + ".qweight"));
  for (size_t o = 0; o < module.out; ++o) {
    for (size_t c = 0; c < module.in; ++c) {
      layer.codes[o * module.in + c] = Nibble(words[o * width + c / kCodes], c % kCodes);
    }
  }

  layer.scheme.zero_point = ZeroPointKind::kInteger;
  const TensorView& tensor = file_.Get(name + ".scales");
  const size_t stored = tensor.shape[1];
  const std::vector<float> scales = FloatsOf(tensor);
  const std::vector<uint32_t> zeros = ElementsOf<uint32_t>(file_.Get(name + ".qzeros"));
  for (size_t o = 0; o < module.out; ++o) {
    for (size_t g = 0; g < module.groups; ++g) {
      layer.scales[o * module.groups + g] = scales[o * stored + g];
      layer.zeros[o * module.groups + g] =
          Nibble(zeros[o * (stored / kCodes) + g / kCodes], g % kCodes);
    }
  }
}

// Four outputs by 64 inputs are a block of 64 words of 16 bits; zero points are stored as the
// offsets −zero·scale.
void AwqLayers::ReadGemvFast(const std::string& name, const Module& module,
                             QuantizedLinear& layer) const {
  const std::vector<uint16_t> words = ElementsOf<uint16_t>(file_.Get(name + ".qweight"));
  for (size_t o = 0; o < module.out; ++o) {
    const uint16_t* row = words.data() + o / 4 * module.in;
    for (size_t position = 0; position < module.in; ++position) {
      const size_t nibble = o % 4 * 64 + position % 64;
      const uint16_t word = row[position / 64 * 64 + nibble / 4];
      const size_t input = position / 32 * 32 + InputAt(position % 32);
      layer.codes[o * module.in + input] = Nibble(word, nibble % 4);
    }
  }

  layer.scheme.zero_point = ZeroPointKind::kOffset;
  const std::vector<float> scales = FloatsOf(file_.Get(name + ".scales"));
  const std::vector<float> offsets = FloatsOf(file_.Get(name + ".qzeros"));
  for (size_t g = 0; g < module.groups; ++g) {
    for (size_t o = 0; o < module.out; ++o) {
      layer.scales[o * module.groups + g] = scales[g * module.out + o];
      layer.zeros[o * module.groups + g] = offsets[g * module.out + o];
    }
  }
}

}  // namespace qualm
