// Names and checks of schemes. Each kind of value has one table of spellings, which serves both
// directions; Validate refuses every combination that the grid cannot represent.
#include "artefact/scheme.h"

#include <array>
#include <string>
#include <vector>

#include "base/error_place.h"
#include "base/strings.h"

namespace qualm {
namespace {

// A larger group is a mistake: no layer has that many inputs.
constexpr int kLargestGroup = 1 << 20;

// Integers and tables have a choice; all other types define their width.
int BitsOfType(NumberType type, int bits_of_integer) {
  switch (type) {
    case NumberType::kInteger:
    case NumberType::kTable:
      return bits_of_integer;
    case NumberType::kFp8E4m3:
    case NumberType::kFp8E4m3Ieee:
    case NumberType::kFp8E5m2:
      return 8;
    case NumberType::kNf4:
    case NumberType::kMxfp4:
    case NumberType::kNvfp4:
      return 4;
  }
  QUALM_CHECK(false);
  return 0;
}

// Scales that are quantized themselves.
void ValidateSecondLevel(const Scheme& scheme) {
  const SecondLevel& second = *scheme.second_level;
  // Each field by itself, then the combination with the granularity.
  if (second.bits < 1 || second.bits > 8) {
    ThrowExpected("second_level bits in 1..8", StrCat(second.bits));
  }
  if (second.group_rows < 1 || second.group_rows > kLargestGroup) {
    ThrowExpected(StrCat("second_level group_rows in 1..", kLargestGroup),
                  StrCat(second.group_rows));
  }

  if (scheme.granularity == Granularity::kTensor) {
    ThrowExpected("granularity channel or group with second_level", "tensor",
                  "one scale per tensor is not worth quantizing");
  }
}

// Checks types that define their own values (codebook.h).
void ValidateFormat(const Scheme& scheme) {
  if (!scheme.is_symmetric() || scheme.second_level) {
    ThrowExpected(StrCat("no zero points and no second level with type ", NameOf(scheme.type)),
                  scheme.second_level ? "second_level" : NameOf(scheme.zero_point),
                  "its values are symmetric, or not, by themselves");
  }

  // Microscaling formats fix the size of their groups.
  const int size = GroupSizeOfFormat(scheme.type);
  if (size == 0) return;
  if (scheme.granularity == Granularity::kGroup && scheme.group_size == size) return;
  ThrowExpected(StrCat("groups of ", size, " with type ", NameOf(scheme.type)),
                scheme.granularity == Granularity::kGroup ? StrCat(scheme.group_size)
                                                          : NameOf(scheme.granularity),
                "the format is defined so");
}

}  // namespace

int GroupSizeOfFormat(NumberType type) {
  if (type == NumberType::kMxfp4) return 32;
  if (type == NumberType::kNvfp4) return 16;
  return 0;
}

int BitsOfFormat(NumberType type) {
  QUALM_CHECK(type != NumberType::kInteger);
  return BitsOfType(type, 0);
}

Scheme SchemeOfFormat(NumberType type) {
  Scheme scheme;
  scheme.type = type;
  scheme.bits = BitsOfFormat(type);
  scheme.zero_point = ZeroPointKind::kNone;
  // 64 is QLoRA's group size; the format itself fixes none.
  scheme.group_size = type == NumberType::kNf4 ? 64 : GroupSizeOfFormat(type);
  if (scheme.group_size > 0) scheme.granularity = Granularity::kGroup;
  return scheme;
}

size_t Scheme::GroupSize(size_t in_features) const {
  return granularity == Granularity::kGroup ? static_cast<size_t>(group_size) : in_features;
}

size_t Scheme::GroupCount(size_t in_features) const {
  if (granularity != Granularity::kGroup) return 1;
  const auto size = static_cast<size_t>(group_size);
  return in_features / size + (in_features % size != 0 ? 1 : 0);
}

void Scheme::Validate() const {
  // Widths first: the other checks use them.
  if (bits < 1 || bits > 8) ThrowExpected("bits in 1..8", StrCat(bits));
  if (int needed = BitsOfType(type, bits); needed != bits) {
    ThrowExpected(StrCat("bits ", needed, " with type ", NameOf(type)), StrCat(bits));
  }

  // A group size belongs to groups, and to nothing else.
  if (granularity == Granularity::kGroup && (group_size < 1 || group_size > kLargestGroup)) {
    ThrowExpected(StrCat("group_size in 1..", kLargestGroup), StrCat(group_size),
                  "128, 64 and 32 are usual");
  }
  if (granularity != Granularity::kGroup && group_size != 0) {
    ThrowExpected("no group_size", StrCat(group_size),
                  StrCat("granularity is ", NameOf(granularity)));
  }

  // Scales are stored as floats.
  if (scale_type != DType::kF16 && scale_type != DType::kBF16 && scale_type != DType::kF32) {
    ThrowExpected("scale_type F16, BF16 or F32", qualm::NameOf(scale_type));
  }

  // Combinations: what a type implies, and a convention that needs at least two bits.
  if (type != NumberType::kInteger) ValidateFormat(*this);
  if (is_symmetric() && bits == 1 && symmetric_convention != SymmetricConvention::kGptq) {
    ThrowExpected("at least 2 bits",
                  StrCat("1 bit with symmetric_convention ", NameOf(symmetric_convention)),
                  "its scale would be a division by zero");
  }
  if (second_level) ValidateSecondLevel(*this);
}

std::string Scheme::ShortName() const {
  std::string name(NameOf(type));
  if (type == NumberType::kInteger || type == NumberType::kTable) name += StrCat(bits);
  name += granularity == Granularity::kGroup ? StrCat("-g", group_size)
                                             : StrCat("-", NameOf(granularity));

  // Symmetric integers say so, because a scheme of integers is asymmetric by default.
  switch (zero_point) {
    case ZeroPointKind::kNone:
      if (type == NumberType::kInteger) name += "-sym";
      break;
    case ZeroPointKind::kInteger:
      name += "-asym";
      break;
    case ZeroPointKind::kFloat:
      name += "-float-zero";
      break;
    case ZeroPointKind::kOffset:
      name += "-offset";
      break;
  }
  if (second_level) name += StrCat("-second", second_level->bits, "x", second_level->group_rows);
  return name;
}

EnumNames NamesOfEnum(NumberType) {
  static constexpr std::array<std::string_view, 8> kNames = {
      "int", "nf4", "fp8_e4m3", "fp8_e4m3_ieee", "fp8_e5m2", "mxfp4", "nvfp4", "table"};
  return {"number type", kNames};
}

EnumNames NamesOfEnum(Granularity) {
  static constexpr std::array<std::string_view, 4> kNames = {"tensor", "channel", "group", "token"};
  return {"granularity", kNames};
}

EnumNames NamesOfEnum(ZeroPointKind) {
  static constexpr std::array<std::string_view, 4> kNames = {"none", "integer", "float", "offset"};
  return {"zero_point", kNames};
}

EnumNames NamesOfEnum(SymmetricConvention) {
  static constexpr std::array<std::string_view, 4> kNames = {"gptq", "mi_absmax", "signed",
                                                             "full_range"};
  return {"symmetric_convention", kNames};
}

EnumNames NamesOfEnum(DType) {
  static const std::array<std::string_view, kDTypeCount> kNames = [] {
    std::array<std::string_view, kDTypeCount> names;
    for (size_t i = 0; i < names.size(); ++i) names[i] = NameOf(static_cast<DType>(i));
    return names;
  }();
  return {"type", kNames};
}

std::string_view NameOf(NumberType type) { return NameOfEnum(type); }
std::string_view NameOf(Granularity granularity) { return NameOfEnum(granularity); }
std::string_view NameOf(ZeroPointKind kind) { return NameOfEnum(kind); }
std::string_view NameOf(SymmetricConvention convention) { return NameOfEnum(convention); }

}  // namespace qualm
