// Reads GGUF files. The header is a chain of counts and lengths, so nothing is allocated before the
// bytes that a count promises are known to be there.
#include "io/gguf.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <limits>

#include "base/error_place.h"
#include "base/strings.h"
#include "io/file_kind.h"

namespace qualm {
namespace {

// Numbers are used as they are in the file, without swapping bytes.
static_assert(std::endian::native == std::endian::little);

namespace fs = std::filesystem;
using Type = GgufValue::Type;

constexpr uint64_t kMostEntries = 1 << 20;   // of metadata, and tensors of one file
constexpr uint64_t kLongestKey = 65535;      // bytes, as the format says
constexpr uint64_t kLongestTensorName = 64;  // bytes
constexpr uint32_t kMostDimensions = 4;      // of ggml's tensors
constexpr uint32_t kArrayNumber = 9;         // what stands for an array in place of a type
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kLargestAlignment = 1 << 20;
constexpr uint64_t kMostShards = 99999;  // as many as five digits count

struct TypeInfo {
  Type type;
  std::string_view name;
  size_t bytes;  // of a number
};
constexpr TypeInfo kValueTypes[] = {
    {Type::kU8, "U8", 1},   {Type::kI8, "I8", 1},     {Type::kU16, "U16", 2},
    {Type::kI16, "I16", 2}, {Type::kU32, "U32", 4},   {Type::kI32, "I32", 4},
    {Type::kF32, "F32", 4}, {Type::kBool, "bool", 1}, {Type::kText, "text", 0},
    {Type::kU64, "U64", 8}, {Type::kI64, "I64", 8},   {Type::kF64, "F64", 8},
};

const TypeInfo* FindType(uint32_t number) {
  const auto* found = std::ranges::find(kValueTypes, Type{number}, &TypeInfo::type);
  return found == std::end(kValueTypes) ? nullptr : found;
}

template <typename T>
T Load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

// A name from the file, for messages: short, and without bytes that a terminal would act on.
std::string Quoted(std::string_view name) {
  std::string text;
  for (const char c : name.substr(0, 80)) text += c < ' ' || c > '~' ? '?' : c;
  return StrCat("'", text, name.size() > 80 ? "...'" : "'");
}

// Walks over the header; whoever asks for more than the file has gets an error.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t position() const { return position_; }
  size_t left() const { return bytes_.size() - position_; }

  std::span<const std::byte> Take(uint64_t count, std::string_view what) {
    if (count > left()) {
      ThrowExpected(StrCat(count, " bytes of ", what, " at offset ", position_),
                    StrCat(left(), " bytes to the end of the file"), "the file may be truncated");
    }
    const auto taken = bytes_.subspan(position_, count);
    position_ += taken.size();
    return taken;
  }

  template <typename T>
  T Number(std::string_view what) {
    return Load<T>(Take(sizeof(T), what).data());
  }

  // A length of 64 bits and as many bytes.
  std::string_view Text(std::string_view what) {
    const auto length = Number<uint64_t>(what);
    const auto bytes = Take(length, what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  // A count of entries that take at least `least_bytes` each.
  uint64_t Count(uint64_t least_bytes, uint64_t most, std::string_view what) {
    const auto count = Number<uint64_t>(what);
    CheckCount(count, least_bytes, most, what);
    return count;
  }

  void CheckCount(uint64_t count, uint64_t least_bytes, uint64_t most,
                  std::string_view what) const {
    if (count <= most && count <= left() / least_bytes) return;
    ThrowExpected(StrCat("at most ", std::min<uint64_t>(most, left() / least_bytes), " ", what,
                         ", which the rest of the file could hold"),
                  StrCat(count), "the file may be damaged");
  }

 private:
  std::span<const std::byte> bytes_;
  size_t position_ = 0;
};

// Other kinds of files, and the versions that are not read.
uint32_t ReadVersion(Reader& reader, std::span<const std::byte> file_bytes) {
  const std::string_view front(reinterpret_cast<const char*>(file_bytes.data()),
                               std::min<size_t>(file_bytes.size(), 64));
  if (IsGitLfsPointer(front)) {
    ThrowExpected("a GGUF file", "a git-lfs pointer to it", "get the file by git lfs pull");
  }
  if (!IsGguf(front))
    ThrowExpected("a GGUF file, which begins with GGUF", Quoted(front.substr(0, 4)));

  reader.Take(4, "the magic number");
  const auto version = reader.Number<uint32_t>("the version");
  if (version == 2 || version == 3) return version;
  // Version 3 with its bytes reversed is a file for machines of the other byte order.
  const bool is_big_endian = version != 0 && (version & 0xffff) == 0;
  ThrowExpected("GGUF of version 2 or 3, little-endian",
                is_big_endian ? "a big-endian file" : StrCat("version ", version));
}

GgufValue ReadValue(Reader& reader) {
  GgufValue value;
  auto number = reader.Number<uint32_t>("a value's type");
  if (number == kArrayNumber) {
    value.is_array = true;
    number = reader.Number<uint32_t>("an array's type");
    if (number == kArrayNumber) ThrowExpected("an array of numbers or texts", "an array of arrays");
  }
  const TypeInfo* info = FindType(number);
  if (info == nullptr) ThrowExpected("a type of GGUF, 0 to 12", StrCat(number));
  value.type = info->type;

  // A text takes at least its length's 8 bytes.
  const bool is_text = value.type == Type::kText;
  if (value.is_array) {
    value.count = reader.Count(is_text ? 8 : info->bytes, std::numeric_limits<uint64_t>::max(),
                               "elements of an array");
  }
  if (is_text) {
    value.texts.reserve(value.count);
    for (size_t i = 0; i < value.count; ++i) value.texts.push_back(reader.Text("a text"));
  } else {
    value.numbers = reader.Take(value.count * info->bytes, "numbers");
  }
  return value;
}

void ReadMetadata(Reader& reader, uint64_t entries, GgufContents& contents) {
  for (uint64_t i = 0; i < entries; ++i) {
    const std::string_view key = reader.Text("a key");
    if (key.empty() || key.size() > kLongestKey || !IsValidUtf8(key)) {
      ThrowExpected(StrCat("keys of 1 to ", kLongestKey, " bytes in UTF-8"), Quoted(key));
    }
    GgufValue value =
        At([&] { return StrCat("key ", Quoted(key)); }, [&] { return ReadValue(reader); });
    if (!contents.metadata.emplace(key, std::move(value)).second) {
      ThrowExpected("every key once", StrCat(Quoted(key), " twice"));
    }
  }
}

// Name, shape and type; what the file says of the offset goes to `offset`.
GgufTensor ReadTensor(Reader& reader, uint64_t& offset) {
  GgufTensor tensor;
  const std::string_view name = reader.Text("a tensor's name");
  if (name.empty() || name.size() > kLongestTensorName || !IsValidUtf8(name)) {
    ThrowExpected(StrCat("tensor names of 1 to ", kLongestTensorName, " bytes in UTF-8"),
                  Quoted(name));
  }
  tensor.name = name;

  At([&] { return StrCat("tensor ", Quoted(name)); },
     [&] {
       const auto dimensions = reader.Number<uint32_t>("the number of dimensions");
       if (dimensions > kMostDimensions) {
         ThrowExpected(StrCat("at most ", kMostDimensions, " dimensions"), StrCat(dimensions));
       }
       for (uint32_t i = 0; i < dimensions; ++i) {
         tensor.shape.push_back(reader.Number<uint64_t>("a dimension"));
       }
       std::ranges::reverse(tensor.shape);

       const auto number = reader.Number<uint32_t>("a tensor's type");
       const GgmlTypeInfo* info = FindGgmlType(number);
       if (info == nullptr) {
         ThrowExpected(
             "a type of ggml that is read", StrCat("type number ", number),
             "types that ggml has removed and those of its intermediate results are not read");
       }
       tensor.type = info->type;
       offset = reader.Number<uint64_t>("a tensor's offset");
     });
  return tensor;
}

// The bytes that shape and type ask for.
uint64_t ByteSize(const GgufTensor& tensor) {
  const GgmlTypeInfo& info = InfoOf(tensor.type);
  uint64_t elements = 1;
  for (const size_t extent : tensor.shape) {
    if (extent == 0 || __builtin_mul_overflow(elements, extent, &elements)) {
      ThrowExpected("dimensions of 1 and more whose product fits 64 bits", StrCat(extent));
    }
  }
  if (tensor.row_elements() % info.block_elements != 0) {
    ThrowExpected(
        StrCat("rows of a multiple of ", info.block_elements, " elements for type ", info.name),
        StrCat(tensor.row_elements()));
  }
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(elements / info.block_elements, info.block_bytes, &bytes)) {
    ThrowExpected("a size that fits 64 bits", StrCat(elements, " elements"));
  }
  return bytes;
}

uint64_t ReadAlignment(const GgufContents& contents) {
  const auto found = contents.metadata.find("general.alignment");
  if (found == contents.metadata.end()) return kDefaultAlignment;
  const GgufValue& value = found->second;
  const int64_t alignment = !value.is_array && value.IsInteger() ? value.Integer(0) : 0;
  const bool is_power = alignment > 0 && (alignment & (alignment - 1)) == 0;
  if (!is_power || static_cast<uint64_t>(alignment) > kLargestAlignment) {
    ThrowBadInput("key 'general.alignment'", StrCat("a power of two up to ", kLargestAlignment),
                  value.IsInteger() ? StrCat(alignment) : DescribeType(value));
  }
  return static_cast<uint64_t>(alignment);
}

// Gives every tensor its bytes in `data`.
void PlaceTensors(std::span<const std::byte> data, std::span<const uint64_t> offsets,
                  uint64_t alignment, std::vector<GgufTensor>& tensors) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    At([&] { return StrCat("tensor ", Quoted(tensors[i].name)); },
       [&] {
         const uint64_t bytes = ByteSize(tensors[i]);
         const uint64_t offset = offsets[i];
         if (offset % alignment != 0) {
           ThrowExpected(StrCat("an offset that is a multiple of ", alignment), StrCat(offset));
         }
         if (offset > data.size() || bytes > data.size() - offset) {
           ThrowExpected(StrCat("data within the ", data.size(), " bytes after the header"),
                         StrCat(bytes, " bytes from offset ", offset), "the file may be truncated");
         }
         tensors[i].bytes = data.subspan(offset, bytes);
       });
  }
}

void CheckOverlaps(std::span<const GgufTensor> tensors) {
  std::vector<const GgufTensor*> by_position;
  for (const GgufTensor& tensor : tensors) by_position.push_back(&tensor);
  std::ranges::sort(by_position, {}, [](const GgufTensor* t) { return t->bytes.data(); });
  for (size_t i = 1; i < by_position.size(); ++i) {
    const GgufTensor &before = *by_position[i - 1], &tensor = *by_position[i];
    if (before.bytes.data() + before.bytes.size() <= tensor.bytes.data()) continue;
    ThrowBadInput(StrCat("tensor ", Quoted(tensor.name)), "data that no other tensor has",
                  StrCat("an overlap with tensor ", Quoted(before.name)));
  }
}

// What a file says of the set that it belongs to; a count of 0: it is not part of one.
struct ShardNumbers {
  uint64_t number = 0, count = 0, tensors = 0;
};

ShardNumbers SplitOf(const GgufContents& contents) {
  const auto read = [&](std::string_view key) -> uint64_t {
    const auto found = contents.metadata.find(key);
    if (found == contents.metadata.end()) return 0;
    const GgufValue& value = found->second;
    if (value.is_array || !value.IsInteger() || value.Integer(0) < 0) {
      ThrowBadInput(StrCat("key '", key, "'"), "a number of 0 or more", DescribeType(value));
    }
    return static_cast<uint64_t>(value.Integer(0));
  };
  return {read("split.no"), read("split.count"), read("split.tensors.count")};
}

// "NAME-00002-of-00004.gguf" without what follows NAME; empty if the file is not called so.
std::string NameBeforeNumber(const fs::path& path, uint64_t number, uint64_t count) {
  char ending[40];
  std::snprintf(ending, sizeof(ending), "-%05u-of-%05u.gguf", static_cast<unsigned>(number + 1),
                static_cast<unsigned>(count));
  const std::string name = path.filename().string();
  if (!name.ends_with(ending)) return {};
  return name.substr(0, name.size() - std::string_view(ending).size());
}

fs::path ShardPath(const fs::path& folder, std::string_view name, uint64_t number, uint64_t count) {
  char ending[40];
  std::snprintf(ending, sizeof(ending), "-%05u-of-%05u.gguf", static_cast<unsigned>(number + 1),
                static_cast<unsigned>(count));
  return folder / StrCat(name, ending);
}

}  // namespace

bool GgufValue::IsInteger() const {
  return type != Type::kF32 && type != Type::kF64 && type != Type::kBool && type != Type::kText;
}

double GgufValue::Number(size_t i) const {
  QUALM_CHECK(type != Type::kText && i < count);
  if (type == Type::kF32) return static_cast<double>(Load<float>(numbers.data() + 4 * i));
  if (type == Type::kF64) return Load<double>(numbers.data() + 8 * i);
  if (type == Type::kU64) return static_cast<double>(Load<uint64_t>(numbers.data() + 8 * i));
  if (type == Type::kBool) return numbers[i] == std::byte{0} ? 0 : 1;
  return static_cast<double>(Integer(i));
}

int64_t GgufValue::Integer(size_t i) const {
  QUALM_CHECK(IsInteger() && i < count);
  switch (type) {
    case Type::kU8:
      return Load<uint8_t>(numbers.data() + i);
    case Type::kI8:
      return Load<int8_t>(numbers.data() + i);
    case Type::kU16:
      return Load<uint16_t>(numbers.data() + 2 * i);
    case Type::kI16:
      return Load<int16_t>(numbers.data() + 2 * i);
    case Type::kU32:
      return Load<uint32_t>(numbers.data() + 4 * i);
    case Type::kI32:
      return Load<int32_t>(numbers.data() + 4 * i);
    case Type::kI64:
      return Load<int64_t>(numbers.data() + 8 * i);
    default:
      break;
  }
  constexpr uint64_t kLargest = std::numeric_limits<int64_t>::max();
  return static_cast<int64_t>(std::min(kLargest, Load<uint64_t>(numbers.data() + 8 * i)));
}

std::string DescribeType(const GgufValue& value) {
  const std::string_view name = FindType(static_cast<uint32_t>(value.type))->name;
  return StrCat(value.is_array ? "an array of " : "a value of type ", name);
}

size_t GgufTensor::row_bytes() const {
  const GgmlTypeInfo& info = InfoOf(type);
  return row_elements() / info.block_elements * info.block_bytes;
}

GgufContents ParseGguf(std::span<const std::byte> file_bytes) {
  Reader reader(file_bytes);
  GgufContents contents;
  contents.version = ReadVersion(reader, file_bytes);

  // The smallest tensor entry has a name of one byte and no dimension, the smallest key one byte.
  const uint64_t tensors = reader.Count(25, kMostEntries, "tensors");
  const uint64_t entries = reader.Count(14, kMostEntries, "keys");
  ReadMetadata(reader, entries, contents);
  const uint64_t alignment = ReadAlignment(contents);

  std::vector<uint64_t> offsets(tensors);
  for (uint64_t i = 0; i < tensors; ++i) {
    contents.tensors.push_back(ReadTensor(reader, offsets[i]));
  }

  // The data begins at the next multiple of the alignment, which a file without data may lack.
  const uint64_t header = reader.position();
  const uint64_t begin =
      std::min<uint64_t>(file_bytes.size(), (header + alignment - 1) / alignment * alignment);
  PlaceTensors(file_bytes.subspan(begin), offsets, alignment, contents.tensors);
  CheckOverlaps(contents.tensors);
  return contents;
}

void GgufFile::AddShard(GgufContents contents) {
  const size_t file = mapped_.empty() ? 0 : mapped_.size() - 1;
  for (GgufTensor& tensor : contents.tensors) {
    tensor.file = file;
    tensors_.push_back(std::move(tensor));
  }
  // The first file has the model's metadata; the others have little more than their number.
  if (file == 0) metadata_ = std::move(contents.metadata);
}

void GgufFile::SortByName() {
  std::ranges::sort(tensors_, {}, &GgufTensor::name);
  const auto twice = std::ranges::adjacent_find(tensors_, {}, &GgufTensor::name);
  if (twice == tensors_.end()) return;
  ThrowBadInput(place_, "every tensor once", StrCat("tensor ", Quoted(twice->name), " twice"));
}

GgufFile GgufFile::FromBytes(std::span<const std::byte> bytes, std::string place) {
  GgufFile file;
  file.place_ = std::move(place);
  At(file.place_, [&] {
    GgufContents contents = ParseGguf(bytes);
    if (SplitOf(contents).count > 1) ThrowExpected("a whole model", "one file of a split model");
    file.AddShard(std::move(contents));
  });
  file.SortByName();
  return file;
}

GgufFile GgufFile::Open(const fs::path& path) {
  GgufFile file;
  const auto map = [&](const fs::path& shard) {
    file.files_.push_back(shard);
    file.mapped_.push_back(std::make_unique<MappedFile>(shard));
    return At(shard.string(), [&] { return ParseGguf(file.mapped_.back()->bytes()); });
  };

  // The file itself says whether it is one of several.
  ShardNumbers split;
  {
    const MappedFile mapped(path);
    split = At(path.string(), [&] { return SplitOf(ParseGguf(mapped.bytes())); });
  }
  if (split.count <= 1) {
    file.place_ = path.string();
    file.AddShard(map(path));
    file.SortByName();
    return file;
  }

  // The names of the others follow from its own.
  if (split.count > kMostShards || split.number >= split.count) {
    ThrowBadInput(path.string(), StrCat("split.no below split.count, up to ", kMostShards),
                  StrCat(split.number, " and ", split.count));
  }
  const std::string name = NameBeforeNumber(path, split.number, split.count);
  if (name.empty()) {
    const fs::path wanted = ShardPath("", "NAME", split.number, split.count);
    ThrowBadInput(path.string(), StrCat("the name ", wanted.string(), " of a split model's file"),
                  path.filename().string(), "the names of the other files follow from it");
  }
  for (uint64_t number = 0; number < split.count; ++number) {
    const fs::path shard = ShardPath(path.parent_path(), name, number, split.count);
    if (!fs::exists(shard)) {
      ThrowBadInput(path.string(), StrCat("all ", split.count, " files of the split model"),
                    StrCat("no file ", shard.string()));
    }
    GgufContents contents = map(shard);
    const ShardNumbers own = At(shard.string(), [&] { return SplitOf(contents); });
    if (own.number != number || own.count != split.count) {
      ThrowBadInput(shard.string(), StrCat("split.no ", number, " of ", split.count, " files"),
                    StrCat("split.no ", own.number, " of ", own.count));
    }
    file.AddShard(std::move(contents));
  }
  file.place_ = file.files_.front().string();
  file.SortByName();
  const uint64_t promised = file.Unsigned("split.tensors.count", file.tensors_.size());
  if (promised != file.tensors_.size()) {
    file.Refuse("split.tensors.count", StrCat(file.tensors_.size(), ", the tensors of all files"),
                StrCat(promised));
  }
  return file;
}

const GgufValue* GgufFile::Find(std::string_view key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

void GgufFile::Refuse(std::string_view key, std::string_view expected, std::string_view got) const {
  ThrowBadInput(StrCat(place_, ": key '", key, "'"), expected, got);
}

const GgufValue& GgufFile::Get(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) ThrowBadInput(place_, StrCat("the key '", key, "'"), "none");
  return *value;
}

uint64_t GgufFile::Unsigned(std::string_view key) const {
  const GgufValue& value = Get(key);
  if (value.is_array || !value.IsInteger()) Refuse(key, "an integer", DescribeType(value));
  const int64_t number = value.Integer(0);
  if (number < 0) Refuse(key, "0 or more", StrCat(number));
  return static_cast<uint64_t>(number);
}

uint64_t GgufFile::Unsigned(std::string_view key, uint64_t fallback) const {
  return Find(key) == nullptr ? fallback : Unsigned(key);
}

double GgufFile::Number(std::string_view key) const {
  const GgufValue& value = Get(key);
  if (value.is_array || value.type == Type::kText || value.type == Type::kBool) {
    Refuse(key, "a number", DescribeType(value));
  }
  return value.Number(0);
}

double GgufFile::Number(std::string_view key, double fallback) const {
  return Find(key) == nullptr ? fallback : Number(key);
}

bool GgufFile::Bool(std::string_view key, bool fallback) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return fallback;
  if (value->is_array || value->type != Type::kBool) Refuse(key, "a bool", DescribeType(*value));
  return value->Number(0) != 0;
}

std::string GgufFile::Text(std::string_view key) const {
  const GgufValue& value = Get(key);
  if (value.is_array || value.type != Type::kText) Refuse(key, "a text", DescribeType(value));
  return std::string(value.texts[0]);
}

std::string GgufFile::Text(std::string_view key, std::string_view fallback) const {
  return Find(key) == nullptr ? std::string(fallback) : Text(key);
}

std::vector<std::string_view> GgufFile::Texts(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return {};
  if (!value->is_array || value->type != Type::kText) {
    Refuse(key, "an array of texts", DescribeType(*value));
  }
  return value->texts;
}

std::vector<int64_t> GgufFile::Integers(std::string_view key) const {
  const GgufValue* value = Find(key);
  std::vector<int64_t> integers;
  if (value == nullptr) return integers;
  if (!value->is_array || !value->IsInteger()) {
    Refuse(key, "an array of integers", DescribeType(*value));
  }
  for (size_t i = 0; i < value->count; ++i) integers.push_back(value->Integer(i));
  return integers;
}

std::vector<double> GgufFile::Numbers(std::string_view key) const {
  const GgufValue* value = Find(key);
  std::vector<double> numbers;
  if (value == nullptr) return numbers;
  if (!value->is_array || value->type == Type::kText) {
    Refuse(key, "an array of numbers", DescribeType(*value));
  }
  for (size_t i = 0; i < value->count; ++i) numbers.push_back(value->Number(i));
  return numbers;
}

const GgufTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto found = std::ranges::lower_bound(tensors_, name, {}, &GgufTensor::name);
  return found == tensors_.end() || found->name != name ? nullptr : &*found;
}

void GgufFile::Release(const GgufTensor& tensor) const {
  if (tensor.file < mapped_.size()) mapped_[tensor.file]->Release(tensor.bytes);
}

bool IsGgufFile(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return false;
  const MappedFile file(path);
  const auto front = file.bytes().first(std::min<size_t>(4, file.bytes().size()));
  return IsGguf({reinterpret_cast<const char*>(front.data()), front.size()});
}

}  // namespace qualm
