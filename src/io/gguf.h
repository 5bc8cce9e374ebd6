// GGUF, the files of llama.cpp: typed metadata (keys and values) and tensors in ggml's types.
// Versions 2 and 3, little-endian, in one file or split over several. Files are untrusted: every
// count, length, offset and type is checked before use.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/ggml_types.h"
#include "io/mapped_file.h"

namespace qualm {

// A value of the metadata; it looks into the bytes of its file.
struct GgufValue {
  // The numbers are those in the files.
  enum class Type : uint32_t {
    kU8 = 0,
    kI8 = 1,
    kU16 = 2,
    kI16 = 3,
    kU32 = 4,
    kI32 = 5,
    kF32 = 6,
    kBool = 7,
    kText = 8,
    kU64 = 10,
    kI64 = 11,
    kF64 = 12,
  };
  Type type = Type::kU8;                // of an array: of its elements
  bool is_array = false;                // arrays of arrays are not read
  size_t count = 1;                     // elements
  std::span<const std::byte> numbers;   // of all types but texts, little-endian
  std::vector<std::string_view> texts;  // of type kText; any bytes

  bool IsInteger() const;
  // Element `i`. Requires: a type that is not kText, i < count; for Integer IsInteger().
  double Number(size_t i) const;
  int64_t Integer(size_t i) const;  // 2^63 and more become the largest int64_t
};

// "an array of U32", for messages.
std::string DescribeType(const GgufValue& value);

struct GgufTensor {
  std::string name;
  GgmlType type = GgmlType::kF32;
  std::vector<size_t> shape;         // outermost first: [out, in] or [experts, out, in]
  std::span<const std::byte> bytes;  // rows one after the other, each a whole number of blocks
  size_t file = 0;                   // the number of its file

  size_t row_elements() const { return shape.empty() ? 1 : shape.back(); }
  size_t row_bytes() const;
  size_t rows() const { return bytes.size() / row_bytes(); }
};

// What one file says.
struct GgufContents {
  uint32_t version = 0;
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<GgufTensor> tensors;  // in the order of the file
};

// Parses the whole file `file_bytes`, which must outlive the result. Errors have no place. Tensors
// may not overlap; holes between them are allowed. Public for fuzzing.
GgufContents ParseGguf(std::span<const std::byte> file_bytes);

// Whether there is a file at `path` that begins as GGUF does.
bool IsGgufFile(const std::filesystem::path& path);

// A model's file, or the files of a split model as if they were one.
class GgufFile {
 public:
  // Of a split model, `path` is any of its files (NAME-00002-of-00004.gguf); the others must lie
  // next to it.
  static GgufFile Open(const std::filesystem::path& path);
  // One file in memory; the bytes must outlive the result. `place` is used in messages.
  static GgufFile FromBytes(std::span<const std::byte> bytes, std::string place);

  // For messages: the path, of a split model that of the first file.
  const std::string& place() const { return place_; }
  const std::vector<std::filesystem::path>& files() const { return files_; }
  // Null if absent.
  const GgufValue* Find(std::string_view key) const;
  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }

  // Typed access. A value of another type is bad input that names the key, as is a missing key
  // without a fallback. Numbers may have any type whose value fits.
  uint64_t Unsigned(std::string_view key) const;
  uint64_t Unsigned(std::string_view key, uint64_t fallback) const;
  double Number(std::string_view key) const;
  double Number(std::string_view key, double fallback) const;
  bool Bool(std::string_view key, bool fallback) const;
  std::string Text(std::string_view key) const;
  std::string Text(std::string_view key, std::string_view fallback) const;
  // Arrays; empty if the key is missing.
  std::vector<std::string_view> Texts(std::string_view key) const;
  std::vector<int64_t> Integers(std::string_view key) const;
  std::vector<double> Numbers(std::string_view key) const;

  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // sorted by name
  const GgufTensor* FindTensor(std::string_view name) const;           // null if absent
  // Drops the tensor's pages from resident memory.
  void Release(const GgufTensor& tensor) const;

 private:
  void AddShard(GgufContents contents);
  void SortByName();
  [[noreturn]] void Refuse(std::string_view key, std::string_view expected,
                           std::string_view got) const;
  const GgufValue& Get(std::string_view key) const;

  std::string place_;
  std::vector<std::filesystem::path> files_;
  std::vector<std::unique_ptr<MappedFile>> mapped_;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::vector<GgufTensor> tensors_;
};

}  // namespace qualm
