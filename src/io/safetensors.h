// safetensors: an 8-byte little-endian header length, a JSON header, raw little-endian tensors.
// Files are untrusted: every offset, shape and type is checked before use.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "io/mapped_file.h"
#include "tensor/dtype.h"
#include "tensor/matrix.h"

namespace qualm {

// One tensor inside a mapped file; the bytes live as long as its TensorFile.
struct TensorView {
  std::string name;
  DType type = DType::kF32;
  std::vector<size_t> shape;  // product·SizeOf(type) == bytes.size()
  std::span<const std::byte> bytes;

  size_t elements() const { return bytes.size() / SizeOf(type); }
  // As a weight matrix: 2-D float tensors only; throws bad input naming the tensor otherwise.
  WeightView AsWeight() const;
  // As a vector of floats: 1-D float tensors only.
  std::vector<float> AsFloats() const;
};

// Parses a header over `file_bytes` (the whole file). The tensors come in the order of their data,
// which they must tile: overlaps, holes and bytes after the last tensor are errors. `place` is used
// in errors. Metadata ("__metadata__", string to string) is added to `*metadata` if given. Tensors
// of the format's types that DType lacks (F8_E4M3, U16, C64, ...) are left out; their names and
// types are added to `*unread` if given. Public for fuzzing.
std::vector<TensorView> ParseSafetensors(std::span<const std::byte> file_bytes,
                                         std::string_view place,
                                         std::map<std::string, std::string>* metadata = nullptr,
                                         std::map<std::string, std::string>* unread = nullptr);

// The tensors of one model.safetensors, or of the shards that model.safetensors.index.json names,
// or of one file (or index) given by path. A folder's model.safetensors wins over its index.
class TensorFile {
 public:
  static TensorFile Open(const std::filesystem::path& file_or_folder);

  const std::vector<TensorView>& tensors() const { return tensors_; }  // sorted by name
  // Null if absent. A tensor of a type that is not read stops nobody until it is asked for: then it
  // is bad input that names the type.
  const TensorView* Find(std::string_view name) const;
  // The same; throws bad input naming the nearest existing name if it is absent.
  const TensorView& Get(std::string_view name) const;
  // The metadata of all files together; where they differ, the first file by name wins.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::vector<std::filesystem::path>& files() const { return paths_; }
  const std::filesystem::path& index() const { return index_; }  // empty: one file without an index
  uint64_t file_bytes() const;
  // Names and types of the tensors whose type is not read.
  const std::map<std::string, std::string>& unread_types() const { return unread_; }
  // Drops the tensor's pages from resident memory.
  void Release(const TensorView& tensor) const;

 private:
  void MapAll();
  void SortByName();  // an error if two files hold the same name
  size_t IndexOf(const TensorView& tensor) const;
  const std::filesystem::path& FileOf(const TensorView& tensor) const;

  std::vector<std::unique_ptr<MappedFile>> files_;
  std::vector<std::filesystem::path> paths_;
  std::filesystem::path index_;
  std::vector<TensorView> tensors_;
  std::vector<size_t> file_of_tensor_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, std::string> unread_;  // name, type
};

// A tensor to be written; the bytes must live until the write is done.
struct TensorToWrite {
  std::string name;
  DType type = DType::kF32;
  std::vector<size_t> shape;
  std::span<const std::byte> bytes;
};

// The part of a file that precedes the tensors' bytes. Writers use it to stream tensors that do not
// fit into memory; they write the tensors in the given order afterwards. Only name, type and shape
// are read.
std::string SafetensorsHeader(std::span<const TensorToWrite> tensors,
                              const std::map<std::string, std::string>& metadata = {});

// Writes one file (under a temporary name, then renamed), byte-identical for equal input. The
// header is padded with spaces so that the data begins at a multiple of 64 bytes. The tensors
// follow in the given order without holes, as the format demands, so their alignment depends on the
// sizes before them. Requires: distinct names in UTF-8, none of them "__metadata__"; bytes that fit
// shape and type.
void WriteSafetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace qualm
