// Decompression of single blocks (pages of Parquet, buffers of Arrow) whose unpacked size is known.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "data/budget.h"

namespace qualm {

enum class Codec : uint8_t {
  kNone,
  kSnappy,
  kGzip,  // also zlib's framing, and several members in a row
  kBrotli,
  kZstd,
  kLz4Block,
  kLz4Hadoop,  // blocks after their big-endian sizes; also a frame or one bare block
  kLz4Frame,
};

std::string_view NameOf(Codec codec);

// `size` bytes, which are charged before they are allocated. Throws bad input at `place` for
// damaged data and for data of another size.
std::string Unpack(Codec codec, std::string_view packed, uint64_t size, Budget& budget,
                   std::string_view place);

}  // namespace qualm
