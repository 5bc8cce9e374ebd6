// The element types of ggml's files. Most of them are blocks: so many elements of a row share a few
// scales and take so many bytes together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace qualm {

// The numbers are those in the files.
enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ2_XXS = 16,
  kIQ2_XS = 17,
  kIQ3_XXS = 18,
  kIQ1_S = 19,
  kIQ4_NL = 20,
  kIQ3_S = 21,
  kIQ2_S = 22,
  kIQ4_XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kIQ1_M = 29,
  kBF16 = 30,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
  kMXFP4 = 39,
  kNVFP4 = 40,
  kQ1_0 = 41,
  kQ2_0 = 42,
};

struct GgmlTypeInfo {
  GgmlType type;
  std::string_view name;  // as ggml spells it
  size_t block_elements;  // in one row, which is a whole number of blocks
  size_t block_bytes;
};

std::span<const GgmlTypeInfo> AllGgmlTypes();
// Null for a number that stands for no type in the table.
const GgmlTypeInfo* FindGgmlType(uint32_t number);
const GgmlTypeInfo& InfoOf(GgmlType type);

}  // namespace qualm
