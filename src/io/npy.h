// NumPy .npy files, versions 1 to 3, little-endian, C or Fortran order, 1-D and 2-D.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "tensor/matrix.h"

namespace qualm {

// Reads float types f2, f4 and f8 only. A 1-D file becomes one row. ParseNpy is public for fuzzing;
// `bytes` is the whole file.
Matrix ParseNpy(std::span<const std::byte> bytes, std::string_view place);
Matrix ReadNpy(const std::filesystem::path& path);

// Writes float32, or bytes for WriteNpyBytes, in C order.
void WriteNpy(const std::filesystem::path& path, Span2D<const float> values);
void WriteNpyVector(const std::filesystem::path& path, std::span<const float> values);
void WriteNpyBytes(const std::filesystem::path& path, Span2D<const uint8_t> values);

}  // namespace qualm
