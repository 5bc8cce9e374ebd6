// Decodes blocks of 256 weights in ggml's order of operations. Source: ggml's ggml-quants.c, for
// facts.
#include "formats/ggml_codebooks.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "formats/ggml_grids.h"
#include "tensor/dtype.h"

namespace qualm {
namespace {

constexpr size_t kBlock = 256, kParts = 8, kPart = 32;
constexpr std::array<float, 3> kIq2Values = {8, 25, 43};
constexpr std::array<float, 8> kIq3XxsValues = {4, 12, 20, 28, 36, 44, 52, 62};
constexpr std::array<float, 8> kIq3SValues = {1, 3, 5, 7, 9, 11, 13, 15};
constexpr std::array<float, 3> kIq1Values = {-1, 0, 1};
constexpr float kIq1Delta = 0.125f;

using Bytes = const uint8_t*;

template <class Number>
Number NumberAt(Bytes at) {
  Number number = 0;
  std::memcpy(&number, at, sizeof(number));
  return number;
}

float HalfAt(Bytes at) { return ToFloat(Half{NumberAt<uint16_t>(at)}); }

// Seven signs and an eighth that makes their number even.
unsigned WithParity(unsigned signs) {
  signs &= 127;
  return signs | static_cast<unsigned>(std::popcount(signs) % 2) << 7;
}

// Eight values of a point (or `count` of one of three bits), each with its sign.
template <size_t kBits, size_t kCount, size_t kValues>
void Signed(uint16_t point, const std::array<float, kValues>& values, float scale, unsigned signs,
            float* to) {
  for (size_t j = 0; j < kCount; ++j) {
    const float value = scale * values[point >> kBits * j & ((1u << kBits) - 1)];
    to[j] = value * ((signs >> j & 1u) != 0 ? -1.0f : 1.0f);
  }
}

void Iq2Xxs(Bytes block, float* to) {
  const float d = HalfAt(block);
  for (size_t p = 0; p < kParts; ++p) {
    const Bytes points = block + 2 + 8 * p;
    const auto rest = NumberAt<uint32_t>(points + 4);
    const float scale = d * (0.5f + static_cast<float>(rest >> 28)) * 0.25f;
    for (size_t l = 0; l < 4; ++l) {
      Signed<2, 8>(kIq2XxsGrid[points[l]], kIq2Values, scale, WithParity(rest >> 7 * l),
                   to + kPart * p + 8 * l);
    }
  }
}

// The two scales of a part, from a byte.
std::array<float, 2> Iq2Scales(float d, uint8_t byte) {
  return {d * (0.5f + static_cast<float>(byte & 15)) * 0.25f,
          d * (0.5f + static_cast<float>(byte >> 4)) * 0.25f};
}

void Iq2Xs(Bytes block, float* to) {
  const float d = HalfAt(block);
  for (size_t p = 0; p < kParts; ++p) {
    const std::array<float, 2> scales = Iq2Scales(d, block[66 + p]);
    for (size_t l = 0; l < 4; ++l) {
      const auto word = NumberAt<uint16_t>(block + 2 + 8 * p + 2 * l);
      Signed<2, 8>(kIq2XsGrid[word & 511], kIq2Values, scales[l / 2], WithParity(word >> 9u),
                   to + kPart * p + 8 * l);
    }
  }
}

void Iq2S(Bytes block, float* to) {
  const float d = HalfAt(block);
  const Bytes points = block + 2, signs = block + 34, high = block + 66, scale_bytes = block + 74;
  for (size_t p = 0; p < kParts; ++p) {
    const std::array<float, 2> scales = Iq2Scales(d, scale_bytes[p]);
    for (size_t l = 0; l < 4; ++l) {
      const size_t index = points[4 * p + l] | (size_t{high[p]} << (8 - 2 * l) & 0x300);
      Signed<2, 8>(kIq2SGrid[index], kIq2Values, scales[l / 2], signs[4 * p + l],
                   to + kPart * p + 8 * l);
    }
  }
}

void Iq3Xxs(Bytes block, float* to) {
  const float d = HalfAt(block);
  for (size_t p = 0; p < kParts; ++p) {
    const auto rest = NumberAt<uint32_t>(block + 66 + 4 * p);
    const float scale = d * (0.5f + static_cast<float>(rest >> 28)) * 0.5f;
    for (size_t l = 0; l < 4; ++l) {
      const unsigned signs = WithParity(rest >> 7 * l);
      const Bytes points = block + 2 + 8 * p + 2 * l;
      float* at = to + kPart * p + 8 * l;
      Signed<3, 4>(kIq3XxsGrid[points[0]], kIq3XxsValues, scale, signs, at);
      Signed<3, 4>(kIq3XxsGrid[points[1]], kIq3XxsValues, scale, signs >> 4, at + 4);
    }
  }
}

void Iq3S(Bytes block, float* to) {
  const float d = HalfAt(block);
  const Bytes points = block + 2, high = block + 66, signs = block + 74, scales = block + 106;
  for (size_t p = 0; p < kParts; ++p) {
    const int nibble = scales[p / 2] >> 4 * (p % 2) & 15;
    const float scale = d * static_cast<float>(1 + 2 * nibble);
    for (size_t l = 0; l < 4; ++l) {
      const Bytes pair = points + 8 * p + 2 * l;
      const size_t first = pair[0] | (size_t{high[p]} << (8 - 2 * l) & 256);
      const size_t second = pair[1] | (size_t{high[p]} << (7 - 2 * l) & 256);
      const unsigned bits = signs[4 * p + l];
      float* at = to + kPart * p + 8 * l;
      Signed<3, 4>(kIq3SGrid[first], kIq3SValues, scale, bits, at);
      Signed<3, 4>(kIq3SGrid[second], kIq3SValues, scale, bits >> 4, at + 4);
    }
  }
}

// Eight of −1, 0 and 1, moved by an eighth.
void Ternary(uint16_t point, float scale, float delta, float* to) {
  for (size_t j = 0; j < 8; ++j) to[j] = scale * (kIq1Values[point >> 2 * j & 3] + delta);
}

void Iq1S(Bytes block, float* to) {
  const float d = HalfAt(block);
  for (size_t p = 0; p < kParts; ++p) {
    const auto high = NumberAt<uint16_t>(block + 34 + 2 * p);
    const float scale = d * static_cast<float>(2 * (high >> 12 & 7) + 1);
    const float delta = (high & 0x8000) != 0 ? -kIq1Delta : kIq1Delta;
    for (size_t l = 0; l < 4; ++l) {
      const size_t index = block[2 + 4 * p + l] | static_cast<size_t>(high >> 3 * l & 7) << 8;
      Ternary(kIq1Grid[index], scale, delta, to + kPart * p + 8 * l);
    }
  }
}

void Iq1M(Bytes block, float* to) {
  const Bytes points = block, high = block + 32;
  std::array<uint16_t, 4> scales{};
  std::memcpy(scales.data(), block + 48, sizeof(scales));
  // The scale of the block is spread over the top bits of the others.
  const auto bits = static_cast<uint16_t>(scales[0] >> 12 | (scales[1] >> 8 & 0x00f0) |
                                          (scales[2] >> 4 & 0x0f00) | (scales[3] & 0xf000));
  const float d = ToFloat(Half{bits});
  for (size_t p = 0; p < kParts; ++p) {
    for (size_t l = 0; l < 4; ++l) {
      const size_t shift = 6 * (p % 2) + 3 * (l / 2);
      const float scale = d * static_cast<float>(2 * (scales[p / 2] >> shift & 7) + 1);
      const unsigned nibble = high[2 * p + l / 2] >> 4 * (l % 2) & 15u;
      const size_t index = points[4 * p + l] | size_t{nibble & 7} << 8;
      const float delta = (nibble & 8) != 0 ? -kIq1Delta : kIq1Delta;
      Ternary(kIq1Grid[index], scale, delta, to + kPart * p + 8 * l);
    }
  }
}

struct CodebookType {
  uint32_t type;  // ggml's number
  size_t bytes;   // of a block
  void (*decode)(Bytes block, float* to);
};
constexpr CodebookType kTypes[] = {
    {16, 66, Iq2Xxs}, {17, 74, Iq2Xs}, {18, 98, Iq3Xxs}, {19, 50, Iq1S},
    {21, 110, Iq3S},  {22, 82, Iq2S},  {29, 56, Iq1M},
};

const CodebookType* FindType(uint32_t type) {
  const auto* found = std::ranges::find(kTypes, type, &CodebookType::type);
  return found == std::end(kTypes) ? nullptr : found;
}

class CodebookRows final : public RowDecoder {
 public:
  CodebookRows(const CodebookType& type, std::span<const std::byte> bytes, size_t in,
               std::function<size_t(size_t)> row_of)
      : type_(type),
        bytes_(bytes),
        row_bytes_(in / kBlock * type.bytes),
        row_of_(std::move(row_of)) {}
  void Decode(size_t row, size_t begin, std::span<float> to) const override {
    const auto* blocks =
        reinterpret_cast<const uint8_t*>(bytes_.data()) + row_of_(row) * row_bytes_;
    std::array<float, kBlock> values{};
    for (size_t done = 0; done < to.size();) {
      const size_t at = begin + done, inner = at % kBlock;
      const size_t count = std::min(to.size() - done, kBlock - inner);
      type_.decode(blocks + at / kBlock * type_.bytes, values.data());
      std::copy_n(values.begin() + static_cast<ptrdiff_t>(inner), count,
                  to.begin() + static_cast<ptrdiff_t>(done));
      done += count;
    }
  }

 private:
  CodebookType type_;
  std::span<const std::byte> bytes_;
  size_t row_bytes_;
  std::function<size_t(size_t)> row_of_;
};

}  // namespace

bool HasGgmlCodebook(uint32_t type) { return FindType(type) != nullptr; }

std::shared_ptr<const RowDecoder> GgmlCodebookRows(uint32_t type, std::span<const std::byte> bytes,
                                                   size_t in,
                                                   std::function<size_t(size_t)> row_of) {
  const CodebookType* found = FindType(type);
  QUALM_CHECK(found != nullptr && in % kBlock == 0);
  return std::make_shared<CodebookRows>(*found, bytes, in, std::move(row_of));
}

}  // namespace qualm
