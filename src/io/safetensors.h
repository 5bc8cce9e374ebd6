// safetensors: an 8-byte little-endian header length, a JSON header, raw little-endian tensors.
// Files are untrusted: every offset, shape and type is checked before use.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "tensor/dtype.h"
#include "tensor/matrix.h"

namespace qualm {

// The element types that are read, for messages.
inline constexpr std::string_view kReadTypes =
    "F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL, F8_E4M3, F8_E5M2, F8_E8M0, U16, U32 or U64";

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
// of the format's types that DType lacks (F4, C64, ...) are left out; their names and
// types are added to `*unread` if given. Public for fuzzing.
std::vector<TensorView> ParseSafetensors(std::span<const std::byte> file_bytes,
                                         std::string_view place,
                                         std::map<std::string, std::string>* metadata = nullptr,
                                         std::map<std::string, std::string>* unread = nullptr);

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
