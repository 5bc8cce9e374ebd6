// Codes of 1 to 8 bits packed without gaps, the first code in the lowest bits of the first byte, as
// files hold them. Declared in quantized_linear.h.
#include <cstdint>
#include <span>

#include "artefact/packed_linear.h"
#include "artefact/quantized_linear.h"
#include "base/error.h"

namespace qualm {

size_t PackedRowBytes(size_t count, int bits) {
  // The product count·bits could overflow, so it is never formed.
  const auto width = static_cast<size_t>(bits);
  return count / 8 * width + (count % 8 * width + 7) / 8;
}

void PackCodes(std::span<const uint8_t> codes, int bits, std::span<uint8_t> packed) {
  QUALM_CHECK(bits >= 1 && bits <= 8 && packed.size() == PackedRowBytes(codes.size(), bits));
  uint32_t waiting = 0;  // bits that are not yet written, the lowest first
  int count = 0;
  size_t at = 0;

  // A code joins above the bits that wait; whole bytes leave at the bottom.
  for (uint8_t code : codes) {
    QUALM_DCHECK(code >> bits == 0);
    waiting |= uint32_t{code} << count;
    count += bits;
    if (count >= 8) {
      packed[at++] = static_cast<uint8_t>(waiting & 0xffu);
      waiting >>= 8;
      count -= 8;
    }
  }

  // The last byte may be filled in part.
  if (count > 0) packed[at] = static_cast<uint8_t>(waiting);
}

void UnpackCodes(std::span<const uint8_t> packed, int bits, std::span<uint8_t> codes) {
  QUALM_CHECK(bits >= 1 && bits <= 8 && packed.size() == PackedRowBytes(codes.size(), bits));
  const uint32_t mask = (1u << bits) - 1;
  uint32_t waiting = 0;  // bits that are read but not yet used
  int count = 0;
  size_t at = 0;

  // At most one byte has to be read for a code.
  for (uint8_t& code : codes) {
    if (count < bits) {
      waiting |= uint32_t{packed[at++]} << count;
      count += 8;
    }
    code = static_cast<uint8_t>(waiting & mask);
    waiting >>= bits;
    count -= bits;
  }
}

QuantizedLinear PackedLinear::Unpacked() const {
  QuantizedLinear unpacked = layer;
  const size_t in = layer.in_features, row_bytes = PackedRowBytes(in, layer.scheme.bits);
  unpacked.codes.resize(layer.out_features * in);
  for (size_t row = 0; row < layer.out_features; ++row) {
    UnpackCodes(codes.subspan(row * row_bytes, row_bytes), layer.scheme.bits,
                std::span(unpacked.codes).subspan(row * in, in));
  }
  return unpacked;
}

}  // namespace qualm
