// Takes codes and constants out of ggml's blocks, one function for each type. Source: ggml's
// ggml-common.h and ggml-quants.c, for facts. Scales of super-blocks are products of a float16 and
// a small integer, which float32 holds exactly, so that one rounding at the end is ggml's.
#include "formats/ggml_grid.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace qualm {
namespace {

// Where one block goes.
struct BlockOut {
  uint8_t* codes;
  float* scales;   // one for each group of the block
  float* offsets;  // likewise, where the type has them
};

using Bytes = const uint8_t*;

float HalfAt(Bytes at) {
  Half half{};
  std::memcpy(&half.bits, at, sizeof(half.bits));
  return ToFloat(half);
}

// Nibbles of 16 bytes: the low ones first, then the high ones.
void Nibbles(Bytes from, uint8_t* codes) {
  for (size_t j = 0; j < 16; ++j) {
    codes[j] = from[j] & 15;
    codes[j + 16] = from[j] >> 4;
  }
}

// The fifth bits of 32 codes.
void AddFifthBits(Bytes from, uint8_t* codes) {
  uint32_t bits = 0;
  std::memcpy(&bits, from, sizeof(bits));
  for (size_t j = 0; j < 32; ++j) codes[j] |= static_cast<uint8_t>((bits >> j & 1u) << 4);
}

void Q4_0(Bytes block, BlockOut to) {
  to.scales[0] = HalfAt(block);
  Nibbles(block + 2, to.codes);
}

void Q4_1(Bytes block, BlockOut to) {
  to.scales[0] = HalfAt(block);
  to.offsets[0] = HalfAt(block + 2);
  Nibbles(block + 4, to.codes);
}

void Q5_0(Bytes block, BlockOut to) {
  to.scales[0] = HalfAt(block);
  Nibbles(block + 6, to.codes);
  AddFifthBits(block + 2, to.codes);
}

void Q5_1(Bytes block, BlockOut to) {
  to.scales[0] = HalfAt(block);
  to.offsets[0] = HalfAt(block + 2);
  Nibbles(block + 8, to.codes);
  AddFifthBits(block + 4, to.codes);
}

// Signed bytes; codes are 128 higher.
void Q8_0(Bytes block, BlockOut to) {
  to.scales[0] = HalfAt(block);
  for (size_t j = 0; j < 32; ++j) to.codes[j] = block[2 + j] ^ 0x80;
}

// One bit: +1 or -1.
void Q1_0(Bytes block, BlockOut to) {
  to.scales[0] = HalfAt(block);
  for (size_t j = 0; j < 128; ++j) to.codes[j] = block[2 + j / 8] >> j % 8 & 1;
}

void Q2_0(Bytes block, BlockOut to) {
  to.scales[0] = HalfAt(block);
  for (size_t j = 0; j < 64; ++j) to.codes[j] = block[2 + j / 4] >> 2 * (j % 4) & 3;
}

// Two bits of 32 bytes at a time, for each half of a super-block.
void TwoBits(Bytes from, uint8_t* codes) {
  for (size_t e = 0; e < 256; ++e) {
    const size_t half = e / 128, shift = e % 128 / 32, l = e % 32;
    codes[e] = from[half * 32 + l] >> 2 * shift & 3;
  }
}

void Q2_K(Bytes block, BlockOut to) {
  const Bytes scales = block;
  const float d = HalfAt(block + 80), min = HalfAt(block + 82);
  for (size_t g = 0; g < 16; ++g) {
    to.scales[g] = d * static_cast<float>(scales[g] & 15);
    to.offsets[g] = -(min * static_cast<float>(scales[g] >> 4));
  }
  TwoBits(block + 16, to.codes);
}

void Q3_K(Bytes block, BlockOut to) {
  const Bytes high = block, scales = block + 96;
  const float d = HalfAt(block + 108);
  for (size_t g = 0; g < 16; ++g) {
    // Six bits: four of them are nibbles of the first eight bytes, two lie in the last four bytes.
    const int low = g < 8 ? scales[g] & 15 : scales[g - 8] >> 4;
    const int top = scales[8 + g % 4] >> 2 * (g / 4) & 3;
    to.scales[g] = d * static_cast<float>((low | top << 4) - 32);
  }

  TwoBits(block + 32, to.codes);
  for (size_t e = 0; e < 256; ++e) {
    const size_t bit = 4 * (e / 128) + e % 128 / 32;
    to.codes[e] |= static_cast<uint8_t>((high[e % 32] >> bit & 1) << 2);
  }
}

// Scales and minima of Q4_K and Q5_K: six bits each, for eight groups.
void SixBitPairs(Bytes from, float d, float min, BlockOut to) {
  for (size_t g = 0; g < 8; ++g) {
    int scale = from[g] & 63, offset = from[g + 4] & 63;
    if (g >= 4) {
      scale = (from[g + 4] & 15) | from[g - 4] >> 6 << 4;
      offset = from[g + 4] >> 4 | from[g] >> 6 << 4;
    }
    to.scales[g] = d * static_cast<float>(scale);
    to.offsets[g] = -(min * static_cast<float>(offset));
  }
}

// 64 codes share 32 bytes: low nibbles first.
void LongNibbles(Bytes from, uint8_t* codes) {
  for (size_t e = 0; e < 256; ++e) {
    const uint8_t byte = from[e / 64 * 32 + e % 32];
    codes[e] = e % 64 < 32 ? byte & 15 : byte >> 4;
  }
}

void Q4_K(Bytes block, BlockOut to) {
  SixBitPairs(block + 4, HalfAt(block), HalfAt(block + 2), to);
  LongNibbles(block + 16, to.codes);
}

void Q5_K(Bytes block, BlockOut to) {
  SixBitPairs(block + 4, HalfAt(block), HalfAt(block + 2), to);
  LongNibbles(block + 48, to.codes);
  for (size_t e = 0; e < 256; ++e) {
    to.codes[e] |= static_cast<uint8_t>((block[16 + e % 32] >> e / 32 & 1) << 4);
  }
}

void Q6_K(Bytes block, BlockOut to) {
  const Bytes low = block, high = block + 128, scales = block + 192;
  const float d = HalfAt(block + 208);
  for (size_t g = 0; g < 16; ++g) {
    to.scales[g] = d * static_cast<float>(static_cast<int8_t>(scales[g]));
  }
  for (size_t e = 0; e < 256; ++e) {
    const size_t half = e / 128, quarter = e % 128 / 32, l = e % 32;
    const uint8_t byte = low[half * 64 + quarter % 2 * 32 + l];
    const int bits = quarter < 2 ? byte & 15 : byte >> 4;
    const int top = high[half * 32 + l] >> 2 * quarter & 3;
    to.codes[e] = static_cast<uint8_t>(bits | top << 4);
  }
}

void Iq4Xs(Bytes block, BlockOut to) {
  const float d = HalfAt(block);
  const unsigned high = block[2] | unsigned{block[3]} << 8;
  for (size_t g = 0; g < 8; ++g) {
    const int low = block[4 + g / 2] >> 4 * (g % 2) & 15;
    const int scale = low | static_cast<int>(high >> 2 * g & 3) << 4;
    to.scales[g] = d * static_cast<float>(scale - 32);
    Nibbles(block + 8 + 16 * g, to.codes + 32 * g);
  }
}

// Ternary digits: the highest of byte·3ⁿ, so many bytes at a time.
void TernaryDigits(Bytes from, size_t bytes, size_t digits, uint8_t* codes) {
  unsigned power = 1;
  for (size_t n = 0; n < digits; ++n, power *= 3) {
    for (size_t m = 0; m < bytes; ++m) {
      const unsigned digit = (from[m] * power & 255u) * 3 >> 8;
      codes[n * bytes + m] = static_cast<uint8_t>(digit);
    }
  }
}

void Tq1_0(Bytes block, BlockOut to) {
  to.scales[0] = HalfAt(block + 52);
  TernaryDigits(block, 32, 5, to.codes);
  TernaryDigits(block + 32, 16, 5, to.codes + 160);
  TernaryDigits(block + 48, 4, 4, to.codes + 240);
}

void Tq2_0(Bytes block, BlockOut to) {
  to.scales[0] = HalfAt(block + 64);
  TwoBits(block, to.codes);
}

// The table has twice the values of e2m1, so the scale is half of 2^(e - 127).
void Mxfp4(Bytes block, BlockOut to) {
  to.scales[0] = std::ldexp(1.0f, int{block[0]} - 128);
  Nibbles(block + 1, to.codes);
}

// Scales are e4m3 numbers whose sign is not looked at. The byte 0x7f, NaN elsewhere, is 0; with the
// sign it counts on as 480.
float NvScale(uint8_t byte) {
  if (byte == 0x7f) return 0;
  const int exponent = byte >> 3 & 15, mantissa = byte & 7;
  return exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                       : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
}

void Nvfp4(Bytes block, BlockOut to) {
  for (size_t g = 0; g < 4; ++g) {
    to.scales[g] = 0.5f * NvScale(block[g]);
    for (size_t j = 0; j < 8; ++j) {
      to.codes[16 * g + j] = block[4 + 8 * g + j] & 15;
      to.codes[16 * g + j + 8] = block[4 + 8 * g + j] >> 4;
    }
  }
}

constexpr std::array<float, 16> kIq4Values = {-127, -104, -83, -65, -49, -35, -22, -10,
                                              1,    13,   25,  38,  53,  69,  89,  113};
// Twice e2m1; the negative zero is a zero.
constexpr std::array<float, 16> kFp4Values = {0, 1,  2,  3,  4,  6,  8,  12,
                                              0, -1, -2, -3, -4, -6, -8, -12};
constexpr std::array<float, 2> kSigns = {-1, 1};

// What a type's grid is, and how its blocks are read.
struct GridType {
  uint32_t type;  // ggml's number
  size_t elements, bytes;
  int bits, group;
  DType scale_type;
  ZeroPointKind zero;
  float whole_zero;  // of kInteger, the same everywhere
  std::span<const float> table;
  void (*read)(Bytes block, BlockOut to);
};

constexpr ZeroPointKind kMiddle = ZeroPointKind::kNone;
constexpr ZeroPointKind kOffset = ZeroPointKind::kOffset;
constexpr GridType kTypes[] = {
    {2, 32, 18, 4, 32, DType::kF16, kMiddle, 0, {}, Q4_0},
    {3, 32, 20, 4, 32, DType::kF16, kOffset, 0, {}, Q4_1},
    {6, 32, 22, 5, 32, DType::kF16, kMiddle, 0, {}, Q5_0},
    {7, 32, 24, 5, 32, DType::kF16, kOffset, 0, {}, Q5_1},
    {8, 32, 34, 8, 32, DType::kF16, kMiddle, 0, {}, Q8_0},
    {10, 256, 84, 2, 16, DType::kF32, kOffset, 0, {}, Q2_K},
    {11, 256, 110, 3, 16, DType::kF32, kMiddle, 0, {}, Q3_K},
    {12, 256, 144, 4, 32, DType::kF32, kOffset, 0, {}, Q4_K},
    {13, 256, 176, 5, 32, DType::kF32, kOffset, 0, {}, Q5_K},
    {14, 256, 210, 6, 16, DType::kF32, kMiddle, 0, {}, Q6_K},
    {20, 32, 18, 4, 32, DType::kF16, kMiddle, 0, kIq4Values, Q4_0},
    {23, 256, 136, 4, 32, DType::kF32, kMiddle, 0, kIq4Values, Iq4Xs},
    {34, 256, 54, 2, 256, DType::kF16, ZeroPointKind::kInteger, 1, {}, Tq1_0},
    {35, 256, 66, 2, 256, DType::kF16, ZeroPointKind::kInteger, 1, {}, Tq2_0},
    {39, 32, 17, 4, 32, DType::kBF16, kMiddle, 0, kFp4Values, Mxfp4},
    {40, 64, 36, 4, 16, DType::kBF16, kMiddle, 0, kFp4Values, Nvfp4},
    {41, 128, 18, 1, 128, DType::kF16, kMiddle, 0, kSigns, Q1_0},
    {42, 64, 18, 2, 64, DType::kF16, ZeroPointKind::kInteger, 1, {}, Q2_0},
};

const GridType* FindType(uint32_t type) {
  const auto* found = std::ranges::find(kTypes, type, &GridType::type);
  return found == std::end(kTypes) ? nullptr : found;
}

}  // namespace

bool HasGgmlGrid(uint32_t type) { return FindType(type) != nullptr; }

QuantizedLinear GridOfGgml(uint32_t type, std::span<const std::byte> bytes, size_t out, size_t in,
                           const std::function<size_t(size_t)>& row_of) {
  const GridType* grid = FindType(type);
  QUALM_CHECK(grid != nullptr && in % grid->elements == 0);
  const size_t blocks = in / grid->elements, row_bytes = blocks * grid->bytes;
  QUALM_CHECK(bytes.size() == out * row_bytes);

  QuantizedLinear layer;
  layer.out_features = out;
  layer.in_features = in;
  layer.scheme.type = grid->table.empty() ? NumberType::kInteger : NumberType::kTable;
  layer.scheme.bits = grid->bits;
  layer.scheme.granularity = Granularity::kGroup;
  layer.scheme.group_size = grid->group;
  layer.scheme.zero_point = grid->zero;
  layer.scheme.scale_type = grid->scale_type;
  layer.table.assign(grid->table.begin(), grid->table.end());

  // Row by row, block by block.
  const size_t groups = layer.group_count();
  const size_t groups_of_block = grid->elements / static_cast<size_t>(grid->group);
  layer.codes.resize(out * in);
  layer.scales.resize(out * groups);
  std::vector<float> offsets(out * groups);
  for (size_t r = 0; r < out; ++r) {
    const auto* row = reinterpret_cast<const uint8_t*>(bytes.data()) + row_of(r) * row_bytes;
    for (size_t b = 0; b < blocks; ++b) {
      const size_t group = r * groups + b * groups_of_block;
      grid->read(row + b * grid->bytes, {layer.codes.data() + r * in + b * grid->elements,
                                         layer.scales.data() + group, offsets.data() + group});
    }
  }

  if (grid->zero == ZeroPointKind::kOffset) layer.zeros = std::move(offsets);
  if (grid->zero == ZeroPointKind::kInteger) layer.zeros.assign(out * groups, grid->whole_zero);
  return layer;
}

}  // namespace qualm
