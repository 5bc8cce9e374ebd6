// Reads and writes safetensors files. A header is trusted in nothing:
// types, shapes, offsets and the tiling of the data are checked before a view is made. Views point
// into the mapped files.
#include "io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error_place.h"
#include "base/strings.h"
#include "io/file_kind.h"
#include "io/json.h"

namespace qualm {
namespace {

// Tensors are used as they are in the file, without swapping bytes.
static_assert(std::endian::native == std::endian::little);

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation
constexpr size_t kDataAlignment = 64;              // of the data's begin, for vector loads

// "[2, 3]", for messages.
std::string ShapeText(std::span<const size_t> shape) {
  std::vector<std::string> parts;
  for (size_t extent : shape) parts.push_back(StrCat(extent));
  return StrCat("[", Join(parts, ", "), "]");
}

// "tensor 'a.b'"; a hostile name is cut short.
std::string TensorPlace(std::string_view name) {
  return name.size() <= 200 ? StrCat("tensor '", name, "'")
                            : StrCat("tensor '", name.substr(0, 200), "...'");
}

// A shape or a pair of offsets: an array of integers in [0, 2^64).
std::vector<size_t> ReadSizes(const Json& value, std::string_view what) {
  constexpr size_t kMostDimensions = 32;
  // A long list would make long messages, and no tensor has that many dimensions.
  if (!value.is_array() || value.size() > kMostDimensions) {
    ThrowExpected(StrCat(what, " to be a short list of non-negative integers"),
                  value.is_array() ? StrCat(value.size(), " elements") : value.type_name());
  }
  std::vector<size_t> sizes;
  for (const Json& element : value) {
    if (!element.is_number_unsigned()) {
      ThrowExpected(StrCat(what, " to hold non-negative integers"),
                    element.is_number() ? element.dump() : element.type_name());
    }
    sizes.push_back(element.get<size_t>());
  }
  return sizes;
}

// Types of the format that nothing here computes with, and the bits of an element.
struct UnreadType {
  std::string_view name;
  size_t bits;
};
constexpr UnreadType kUnreadTypes[] = {
    {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4}, {"C64", 64},
};

// The type by its name in the header, and the bits of an element.
struct StoredType {
  std::optional<DType> type;  // empty: one that is not read
  std::string name;
  size_t bits = 0;
};

StoredType ReadType(const Json& entry) {
  const std::string name = GetString(entry, "dtype", kNoPlace);
  if (const auto type = DTypeFromName(name)) return {type, name, 8 * SizeOf(*type)};

  const auto* unread = std::ranges::find(kUnreadTypes, name, &UnreadType::name);
  if (unread == std::end(kUnreadTypes)) {
    ThrowExpected(StrCat("dtype ", kReadTypes), StrCat("'", name.substr(0, 40), "'"));
  }
  return {std::nullopt, name, unread->bits};
}

// Elements times bits, as bytes; the product may not overflow.
size_t ByteSizeOfBits(std::span<const size_t> shape, size_t element_bits) {
  size_t bits = element_bits;
  for (size_t extent : shape) {
    if (__builtin_mul_overflow(bits, extent, &bits)) {
      ThrowExpected("a shape whose size fits 64 bits", ShapeText(shape));
    }
  }
  return bits / 8 + (bits % 8 != 0 ? 1 : 0);
}

size_t ByteSize(std::span<const size_t> shape, DType type) {
  return ByteSizeOfBits(shape, 8 * SizeOf(type));
}

// Checks one entry of the header and gives a view of its bytes, whose type means nothing if
// `stored` has none. `data` is what follows the header.
TensorView ReadEntry(const std::string& name, const Json& entry, std::span<const std::byte> data,
                     StoredType& stored) {
  static const std::vector<std::string> kKeys = {"dtype", "shape", "data_offsets"};
  RequireKnownKeys(entry, kKeys, kNoPlace);

  TensorView tensor;
  tensor.name = name;
  stored = ReadType(entry);
  tensor.type = stored.type.value_or(DType::kU8);
  for (const char* key : {"shape", "data_offsets"}) {
    if (!entry.contains(key)) ThrowExpected(StrCat("the key '", key, "'"), "none");
  }
  tensor.shape = ReadSizes(entry["shape"], "shape");
  const std::vector<size_t> offsets = ReadSizes(entry["data_offsets"], "data_offsets");
  if (offsets.size() != 2) {
    ThrowExpected("two data_offsets", StrCat(offsets.size()));
  }

  // The bytes must exist and must be as many as shape and type say.
  const size_t begin = offsets[0], end = offsets[1];
  if (begin > end) {
    ThrowExpected("data_offsets that begin before they end", StrCat(begin, " to ", end));
  }
  if (end > data.size()) {
    ThrowExpected(StrCat("data_offsets within the ", data.size(), " bytes of data"),
                  StrCat(begin, " to ", end), "the file may be truncated");
  }

  const size_t bytes = ByteSizeOfBits(tensor.shape, stored.bits);
  if (end - begin != bytes) {
    ThrowExpected(StrCat(bytes, " bytes for shape ", ShapeText(tensor.shape), " of ", stored.name),
                  StrCat(end - begin, " bytes"));
  }

  tensor.bytes = data.subspan(begin, bytes);
  return tensor;
}

// Checks that the tensors tile the data: no overlap, no hole, nothing after the last one. Sorts
// them by position.
void CheckTiling(std::vector<TensorView>& tensors, std::span<const std::byte> data) {
  auto begin_of = [&](const TensorView& t) {
    return static_cast<size_t>(t.bytes.data() - data.data());
  };
  std::ranges::stable_sort(tensors, [&](const TensorView& a, const TensorView& b) {
    return std::pair(begin_of(a), a.bytes.size()) < std::pair(begin_of(b), b.bytes.size());
  });

  // Each tensor must begin where the one before it ended.
  size_t end = 0;
  for (const TensorView& tensor : tensors) {
    const size_t begin = begin_of(tensor);
    if (begin != end) {
      ThrowBadInput(TensorPlace(tensor.name), StrCat("data to begin at offset ", end),
                    StrCat("offset ", begin),
                    begin < end ? "it overlaps another tensor" : "there is a hole before it");
    }
    end = begin + tensor.bytes.size();
  }

  // Bytes that belong to no tensor may be a truncated header or hidden content.
  if (end != data.size()) {
    ThrowExpected(StrCat(end, " bytes of data, as the header says"), StrCat(data.size(), " bytes"));
  }
}

// Metadata maps texts to texts.
void ReadMetadata(const Json& value, std::map<std::string, std::string>& metadata) {
  if (!value.is_object()) ThrowExpected("a JSON object", value.type_name());
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      ThrowExpected(StrCat("the value of '", key.substr(0, 200), "' to be a text"),
                    text.type_name());
    }
    metadata.emplace(key, text.get<std::string>());
  }
}

// Other files that are called model.safetensors, told by their first bytes.
void RefuseOtherKinds(std::span<const std::byte> file_bytes) {
  const std::string_view front(reinterpret_cast<const char*>(file_bytes.data()),
                               std::min<size_t>(file_bytes.size(), 64));
  if (IsGitLfsPointer(front)) {
    ThrowExpected("a safetensors file", "a git-lfs pointer to it", "get the file by git lfs pull");
  }
  if (IsGguf(front)) {
    ThrowExpected("a safetensors file", "a GGUF file",
                  "GGUF is not read; use the Hugging Face folder with safetensors");
  }
  // The length of a header may look like the front of a pickle; JSON follows it.
  const bool has_header = front.size() > 8 && front[8] == '{';
  if (IsPickle(front) && !has_header) {
    ThrowExpected("a safetensors file", "a pickle as torch.save writes it",
                  "load it in Python and save it by safetensors.torch.save_file");
  }
}

// Reads the header entry by entry: a view for each, in any order.
std::vector<TensorView> ReadEntries(const Json& header, std::span<const std::byte> data,
                                    std::map<std::string, std::string>* metadata,
                                    std::map<std::string, std::string>& unread) {
  std::vector<TensorView> tensors;
  for (const auto& item : header.items()) {
    const std::string& name = item.key();
    const Json& entry = item.value();
    if (name == "__metadata__") {
      std::map<std::string, std::string> found;
      At("__metadata__", [&] { ReadMetadata(entry, found); });
      if (metadata != nullptr) metadata->merge(found);
      continue;
    }

    StoredType stored;
    tensors.push_back(At([&] { return TensorPlace(name); },
                         [&] { return ReadEntry(name, entry, data, stored); }));
    if (!stored.type) unread.emplace(name, stored.name);
  }
  return tensors;
}

// The steps: the header's length, the header, a view for each entry, the tiling.
std::vector<TensorView> TensorsOf(std::span<const std::byte> file_bytes,
                                  std::map<std::string, std::string>* metadata,
                                  std::map<std::string, std::string>* unread) {
  RefuseOtherKinds(file_bytes);
  if (file_bytes.size() < kLengthBytes) {
    ThrowExpected("at least 8 bytes", StrCat(file_bytes.size()), "the file is truncated");
  }
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= std::to_integer<uint64_t>(file_bytes[i]) << (8 * i);
  }

  // Header lengths are compared before any sum is made of them, so nothing overflows.
  if (length > kMaxHeaderBytes) {
    ThrowExpected(StrCat("a header of at most ", kMaxHeaderBytes, " bytes"),
                  StrCat(length, " bytes"), "this may not be a safetensors file");
  }
  if (length > file_bytes.size() - kLengthBytes) {
    ThrowExpected(StrCat("a header of ", length, " bytes as the file says"),
                  StrCat(file_bytes.size() - kLengthBytes, " bytes"), "the file is truncated");
  }

  // Parse the header, then make a view for each entry.
  const auto* text = reinterpret_cast<const char*>(file_bytes.data()) + kLengthBytes;
  const Json header = ParseJson({text, static_cast<size_t>(length)}, "header");
  if (!header.is_object()) ThrowExpected("a JSON object as header", header.type_name());

  const auto data = file_bytes.subspan(kLengthBytes + static_cast<size_t>(length));
  std::map<std::string, std::string> not_read;
  std::vector<TensorView> tensors = ReadEntries(header, data, metadata, not_read);
  CheckTiling(tensors, data);

  // Tensors of other types count for the tiling alone.
  std::erase_if(tensors, [&](const TensorView& tensor) { return not_read.contains(tensor.name); });
  if (unread != nullptr) unread->merge(not_read);
  return tensors;
}

}  // namespace

WeightView TensorView::AsWeight() const {
  if (shape.size() != 2 || !IsFloat(type)) {
    ThrowBadInput(StrCat("tensor '", name, "'"), "a matrix of floats",
                  StrCat("shape ", ShapeText(shape), " of ", NameOf(type)));
  }
  return {bytes.data(), type, shape[0], shape[1]};
}

std::vector<float> TensorView::AsFloats() const {
  if (shape.size() != 1 || !IsFloat(type)) {
    ThrowBadInput(StrCat("tensor '", name, "'"), "a vector of floats",
                  StrCat("shape ", ShapeText(shape), " of ", NameOf(type)));
  }
  std::vector<float> values(shape[0]);
  ConvertToFloat(type, bytes.data(), values.data(), values.size());
  return values;
}

std::vector<TensorView> ParseSafetensors(std::span<const std::byte> file_bytes,
                                         std::string_view place,
                                         std::map<std::string, std::string>* metadata,
                                         std::map<std::string, std::string>* unread) {
  return At(place, [&] { return TensorsOf(file_bytes, metadata, unread); });
}

std::string SafetensorsHeader(std::span<const TensorToWrite> tensors,
                              const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  std::set<std::string> names;
  auto add = [&](const std::string& name, Json value) {
    QUALM_CHECK(names.insert(name).second && IsValidUtf8(name));
    // Not operator[]: it looks for an equal key one by one.
    header.get_ref<Json::object_t&>().emplace_back(name, std::move(value));
  };

  // Metadata comes first, as in the reference implementation.
  if (!metadata.empty()) add("__metadata__", Json(metadata));

  // Offsets follow from the order of the tensors.
  size_t end = 0;
  for (const TensorToWrite& tensor : tensors) {
    QUALM_CHECK(tensor.name != "__metadata__");
    const size_t begin = end;
    end += At(tensor.name, [&] { return ByteSize(tensor.shape, tensor.type); });
    add(tensor.name, Json{{"dtype", std::string(NameOf(tensor.type))},
                          {"shape", tensor.shape},
                          {"data_offsets", {begin, end}}});
  }

  // Spaces at the header's end move the data to a multiple of 64 bytes.
  std::string text = header.dump();
  const size_t unpadded = kLengthBytes + text.size();
  text.append((kDataAlignment - unpadded % kDataAlignment) % kDataAlignment, ' ');

  // The length of the padded header, little-endian.
  std::string length;
  for (size_t i = 0; i < kLengthBytes; ++i)
    length += static_cast<char>(text.size() >> (8 * i) & 0xff);
  return length + text;
}

void WriteSafetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                      const std::map<std::string, std::string>& metadata) {
  AtomicFile file(path);
  file.Write(SafetensorsHeader(tensors, metadata));
  for (const TensorToWrite& tensor : tensors) {
    QUALM_CHECK(tensor.bytes.size() == ByteSize(tensor.shape, tensor.type));
    file.Write(tensor.bytes.data(), tensor.bytes.size());
  }
  file.Commit();
}

}  // namespace qualm
