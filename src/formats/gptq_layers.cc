// Reads modules in GPTQ's packing. Sources: AutoGPTQ's qlinear_cuda_old.py, GPTQModel's
// qlinear/__init__.py and planar_packing.py, for facts.
//
// Codes of Wᵀ are packed down the inputs, zero points along the outputs, from the lowest bit of a
// word on; a code may lie in two words. The first version stores zero points less one. A zero
// point of 0 has no good form there, and the libraries differ in how they read what they wrote:
// hence GptqZeros, and the notes about words in which zero points were lost.
#include "formats/gptq_layers.h"

#include <algorithm>
#include <cmath>

#include "base/error_place.h"
#include "base/strings.h"
#include "formats/format_tensors.h"

namespace qualm {
namespace {

// The widths of the planes of a planar code, lowest bits first (GPTQModel, gptq_planar.md).
std::vector<int> PlanesOf(int bits) {
  switch (bits) {
    case 3:
      return {2, 1};
    case 5:
      return {4, 1};
    case 6:
      return {4, 2};
    case 7:
      return {4, 2, 1};
    default:
      return {bits};
  }
}

// Code `i` of a string of codes, 32 of which take `bits` words: one string of bits, or one for each
// plane.
class CodeString {
 public:
  CodeString(const uint32_t* words, size_t stride, int bits, bool is_planar)
      : words_(words), stride_(stride), bits_(bits) {
    if (is_planar) planes_ = PlanesOf(bits);
  }
  uint32_t operator[](size_t i) const {
    if (planes_.size() < 2) return BitString(words_, stride_, bits_)[i];

    // Planes of 32 codes follow one another.
    const uint32_t* block = words_ + i / 32 * static_cast<size_t>(bits_) * stride_;
    uint32_t code = 0;
    int shift = 0;
    for (const int width : planes_) {
      code |= BitString(block, stride_, width)[i % 32] << shift;
      shift += width;
      block += static_cast<size_t>(width) * stride_;
    }
    return code;
  }

 private:
  const uint32_t* words_;
  size_t stride_;
  int bits_;
  std::vector<int> planes_;
};

std::string TypeName(const GptqSettings& settings, size_t groups, size_t group_size) {
  std::string name = StrCat("int", settings.bits);
  name += groups == 1 ? "-channel" : StrCat("-g", group_size);
  name += settings.is_symmetric ? "-sym" : "-asym";
  return name;
}

// All fields of a width to one value: 0x77777777 for 4 bits and 7.
uint32_t Repeated(uint32_t field, int bits) {
  uint32_t word = 0;
  for (int at = 0; at + bits <= 32; at += bits) word |= field << at;
  return word;
}

}  // namespace

GptqLayers::GptqLayers(const FormatInput& input, FormatDescription description,
                       const GptqPacking& packing, const SettingsOf& settings)
    : QuantizedLayers(input.options), file_(*input.tensors), packing_(packing) {
  description_ = std::move(description);
  for (const std::string& name : ModulesWith(file_, ".qweight")) {
    const std::optional<GptqSettings> of_module = settings(name);
    if (!of_module) {
      ThrowBadInput(name, "tensors of a float layer, as the description says",
                    "packed ones (.qweight)");
    }
    Module module = At(name, [&] { return Open(name, *of_module); });

    StoredLayer layer =
        LayerOf(file_, name, module.out, module.in, {".qweight", ".qzeros", ".scales", ".g_idx"});
    layer.type = TypeName(*of_module, module.groups, module.group_size);
    layer.value_type = file_.Get(name + ".scales").type;
    CheckVersion(module, layer);
    LookForLostZeros(module, layer);

    modules_.emplace(name, std::move(module));
    layers_.push_back(std::move(layer));
  }
  if (layers_.empty()) ThrowExpected("modules with .qweight tensors", "none");
  Sort();
}

// Sizes follow from the tensors; the settings must fit them.
GptqLayers::Module GptqLayers::Open(const std::string& name, const GptqSettings& settings) {
  Module module;
  module.name = name;
  module.settings = settings;
  const TensorView& weight = MatrixOf(file_, name + ".qweight", {DType::kI32});
  const size_t words = weight.shape[0];
  module.out = weight.shape[1];
  const auto bits = static_cast<size_t>(settings.bits);
  module.in = words * 32 / bits;
  if (words % (settings.bits == 2 || settings.bits == 4 || settings.bits == 8 ? 1 : bits) != 0) {
    ThrowExpected(StrCat("rows of ", settings.bits, "-bit codes: a multiple of ", settings.bits),
                  StrCat(words), "the number of bits is not this module's");
  }

  // Groups: as many as there are rows of scales.
  const TensorView& scales =
      MatrixOf(file_, name + ".scales", {DType::kF16, DType::kBF16, DType::kF32});
  module.groups = scales.shape[0];
  if (settings.group_size != -1 && settings.group_size < 1) {
    ThrowExpected("a group_size above 0, or -1", StrCat(settings.group_size));
  }
  module.group_size =
      settings.group_size == -1
          ? module.in
          : std::min(module.in, static_cast<size_t>(std::min<int64_t>(
                                    settings.group_size, static_cast<int64_t>(module.in))));
  const size_t expected = (module.in + module.group_size - 1) / module.group_size;
  if (scales.shape[1] != module.out || module.groups != expected) {
    ThrowExpected(
        StrCat("scales [", expected, ", ", module.out, "] with groups of ", module.group_size),
        TypeAndShape(scales), "bits or group_size are not this module's");
  }

  TensorOf(file_, name + ".qzeros", {DType::kI32},
           {module.groups, WordsOf(module.out, settings.bits)});
  if (file_.Find(name + ".g_idx") != nullptr) {
    TensorOf(file_, name + ".g_idx", {DType::kI32}, {module.in});
  }

  module.is_v2 = packing_.is_v2;
  module.zeros = ZerosReading(settings);
  return module;
}

// As the library that wrote the file reads it.
GptqZeros GptqLayers::ZerosReading(const GptqSettings& settings) const {
  const bool is_odd = settings.bits != 2 && settings.bits != 4 && settings.bits != 8;
  if (packing_.zeros != GptqZeros::kAuto) {
    // Fields that cross words have no reading by words.
    return is_odd && packing_.zeros == GptqZeros::kWord ? GptqZeros::kUnmasked : packing_.zeros;
  }
  if (packing_.writer_is_gptqmodel && !is_odd) return GptqZeros::kWord;
  return settings.has_act_order || is_odd ? GptqZeros::kUnmasked : GptqZeros::kMasked;
}

// Symmetric files have one zero point, the middle, so they tell which version they are; some files
// name the wrong one.
void GptqLayers::CheckVersion(Module& module, StoredLayer& layer) {
  const int bits = module.settings.bits;
  if (!module.settings.is_symmetric || packing_.is_planar) return;
  const uint32_t middle = 1u << (bits - 1);
  bool all_v1 = true, all_v2 = true;
  for (size_t group = 0; group < module.groups && (all_v1 || all_v2); ++group) {
    for (const uint32_t zero : StoredZeros(module, group)) {
      all_v1 = all_v1 && zero == middle - 1;
      all_v2 = all_v2 && zero == middle;
    }
  }

  const bool contradicts = module.is_v2 ? all_v1 : all_v2;
  if (!contradicts) return;
  module.is_v2 = all_v2;
  layer.notes.push_back(StrCat("its zero points are those of version ", all_v2 ? 2 : 1,
                               ", the file says ", all_v2 ? 1 : 2, "; read as they are stored"));
  description_.warnings.push_back(StrCat(layer.name, ": ", layer.notes.back()));
}

// A zero point of 0 is stored as all ones. AutoGPTQ writes them over all higher fields of the
// word, so what was there is lost.
void GptqLayers::LookForLostZeros(const Module& module, StoredLayer& layer) {
  if (module.is_v2) return;
  const int bits = module.settings.bits;
  const auto ones = static_cast<uint32_t>((1u << bits) - 1);
  // The fields that one writing of all ones reaches: a word, or 32 codes where codes cross words.
  const bool has_whole_codes = 32 % bits == 0;
  const size_t reach = has_whole_codes ? static_cast<size_t>(32 / bits) : 32;

  size_t fields = 0;
  std::vector<std::string> words;
  for (size_t group = 0; group < module.groups; ++group) {
    const std::vector<uint32_t> zeros = StoredZeros(module, group);
    for (size_t first = 0; first < zeros.size(); first += reach) {
      const size_t end = std::min(zeros.size(), first + reach);
      size_t run = 0;  // of all ones, up to the top
      for (size_t i = first; i < end; ++i) {
        const bool is_ones = zeros[i] == ones;
        fields += is_ones ? 1 : 0;
        run = is_ones ? run + 1 : 0;
      }
      if (run > 1) words.push_back(StrCat("[", group, ", ", first / reach, "]"));
    }
  }
  if (fields == 0) return;

  layer.notes.push_back(StrCat(fields, " stored zero points are all ones, read as ",
                               NameOfEnum(module.zeros), " (--gptq-zeros)"));
  description_.is_ambiguous = true;
  description_.warnings.push_back(StrCat(layer.name, ": ", layer.notes.back()));
  if (words.empty() || packing_.writer_is_gptqmodel) return;

  // The list may be long; the count is not cut.
  constexpr size_t kShown = 8;
  const size_t count = words.size();
  if (count > kShown) words.resize(kShown);
  layer.notes.push_back(StrCat("in ", count, " words of qzeros the zero points are all ones up to ",
                               "the top, at ", Join(words, ", "), count > kShown ? ", ..." : "",
                               ": lost; quantize again from the float model"));
  description_.warnings.push_back(StrCat(layer.name, ": ", layer.notes.back()));
}

// The fields of one group, [out].
std::vector<uint32_t> GptqLayers::StoredZeros(const Module& module, size_t group) const {
  const int bits = module.settings.bits;
  const size_t width = WordsOf(module.out, bits);
  const TensorView& tensor = file_.Get(module.name + ".qzeros");
  std::vector<uint32_t> words(width + 1);  // a window may look one word beyond the last
  std::memcpy(words.data(), tensor.bytes.data() + group * width * sizeof(uint32_t),
              width * sizeof(uint32_t));

  const CodeString codes(words.data(), 1, bits, packing_.is_planar);
  std::vector<uint32_t> zeros(module.out);
  for (size_t o = 0; o < module.out; ++o) zeros[o] = codes[o];
  return zeros;
}

// Zero points of all groups, [groups, out].
std::vector<float> GptqLayers::Zeros(const Module& module) const {
  const int bits = module.settings.bits;
  const uint32_t mask = (1u << bits) - 1;
  std::vector<float> zeros;
  zeros.reserve(module.groups * module.out);

  if (!module.is_v2 && module.zeros == GptqZeros::kWord && 32 % bits == 0) {
    // One is added to every field of a word at once, so that a field of all ones carries.
    const std::vector<uint32_t> words = ElementsOf<uint32_t>(file_.Get(module.name + ".qzeros"));
    const size_t width = WordsOf(module.out, bits);
    for (size_t group = 0; group < module.groups; ++group) {
      for (size_t o = 0; o < module.out; ++o) {
        const size_t at = o * static_cast<size_t>(bits);
        const uint32_t word = words[group * width + at / 32] + Repeated(1, bits);
        zeros.push_back(static_cast<float>(word >> at % 32 & mask));
      }
    }
    return zeros;
  }

  const uint32_t added = module.is_v2 ? 0 : 1;
  for (size_t group = 0; group < module.groups; ++group) {
    for (const uint32_t stored : StoredZeros(module, group)) {
      const uint32_t zero = stored + added;
      zeros.push_back(static_cast<float>(module.zeros == GptqZeros::kMasked ? zero & mask : zero));
    }
  }
  return zeros;
}

// Empty if the groups follow one another.
std::vector<uint32_t> GptqLayers::GroupsOfColumns(const Module& module) const {
  const TensorView* tensor = file_.Find(module.name + ".g_idx");
  if (tensor == nullptr) return {};
  std::vector<uint32_t> groups = ElementsOf<uint32_t>(*tensor);
  bool is_trivial = true;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (groups[i] >= module.groups) {
      ThrowBadInput(tensor->name, StrCat("groups below ", module.groups),
                    StrCat(static_cast<int32_t>(groups[i])), StrCat("at column ", i));
    }
    is_trivial = is_trivial && groups[i] == i / module.group_size;
  }
  return is_trivial ? std::vector<uint32_t>{} : groups;
}

QuantizedWeight GptqLayers::ReadWhole(const StoredLayer& stored) const {
  const Module& module = modules_.find(stored.name)->second;
  const int bits = module.settings.bits;
  QuantizedLinear layer;
  layer.out_features = module.out;
  layer.in_features = module.in;
  layer.scheme.bits = bits;
  layer.scheme.granularity = module.groups == 1 ? Granularity::kChannel : Granularity::kGroup;
  layer.scheme.group_size = module.groups == 1 ? 0 : static_cast<int>(module.group_size);
  layer.scheme.scale_type = stored.value_type;
  layer.value_form.type = stored.value_type;
  layer.value_form.drops_zero_sign = packing_.drops_zero_sign;
  layer.g_idx = GroupsOfColumns(module);

  // Words are read once, a row of the layer is written at stride.
  const std::vector<uint32_t> words = ElementsOf<uint32_t>(file_.Get(module.name + ".qweight"));
  layer.codes.resize(module.out * module.in);
  constexpr size_t kBlock = 64;  // outputs whose words share cache lines
  for (size_t first = 0; first < module.out; first += kBlock) {
    for (size_t o = first; o < std::min(module.out, first + kBlock); ++o) {
      const CodeString codes(words.data() + o, module.out, bits, packing_.is_planar);
      uint8_t* to = layer.codes.data() + o * module.in;
      for (size_t i = 0; i < module.in; ++i) to[i] = static_cast<uint8_t>(codes[i]);
    }
  }

  // Both constants are stored group by group.
  const std::vector<float> scales = FloatsOf(file_.Get(module.name + ".scales"));
  const std::vector<float> zeros = Zeros(module);
  const auto transposed = [&](const std::vector<float>& from) {
    std::vector<float> to(from.size());
    for (size_t o = 0; o < module.out; ++o) {
      for (size_t g = 0; g < module.groups; ++g) {
        to[o * module.groups + g] = from[g * module.out + o];
      }
    }
    return to;
  };
  layer.scales = transposed(scales);

  // The narrowest kind of zero point that holds them all; one beyond the codes is a float.
  const auto middle = static_cast<float>(1u << (bits - 1));
  const auto largest = static_cast<float>((1u << bits) - 1);
  if (std::ranges::all_of(zeros, [&](float zero) { return zero == middle; })) {
    layer.scheme.zero_point = ZeroPointKind::kNone;
  } else {
    const bool are_codes = std::ranges::all_of(zeros, [&](float z) { return z <= largest; });
    layer.scheme.zero_point = are_codes ? ZeroPointKind::kInteger : ZeroPointKind::kFloat;
    layer.zeros = transposed(zeros);
  }
  At(stored.name, [&] { layer.Validate(); });
  return layer;
}

}  // namespace qualm
