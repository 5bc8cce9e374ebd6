// Decompresses a block of known size by one of the codecs that columnar files use. Each function
// fills the whole output or reports failure; the one public function charges the budget and turns a
// failure into an error.
#include "data/codecs.h"

#include <brotli/decode.h>
#include <lz4.h>
#include <lz4frame.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>

namespace qualm {
namespace {

constexpr uint64_t kMostBlockBytes = uint64_t{1} << 30;

bool UnpackSnappy(std::string_view packed, std::string& out) {
  size_t length = 0;
  return snappy::GetUncompressedLength(packed.data(), packed.size(), &length) &&
         length == out.size() && snappy::RawUncompress(packed.data(), packed.size(), out.data());
}

bool UnpackGzip(std::string_view packed, std::string& out) {
  z_stream stream{};
  constexpr int kGzipOrZlib = 15 + 32;
  if (inflateInit2(&stream, kGzipOrZlib) != Z_OK) return false;
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);

  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());

  // A writer may have appended one gzip member to another.
  int result = inflate(&stream, Z_FINISH);
  while (result == Z_STREAM_END && stream.avail_out > 0 && stream.avail_in > 0) {
    if (inflateReset(&stream) != Z_OK) return false;
    result = inflate(&stream, Z_FINISH);
  }
  return result == Z_STREAM_END && stream.avail_out == 0;
}

bool UnpackBrotli(std::string_view packed, std::string& out) {
  size_t size = out.size();
  return BrotliDecoderDecompress(packed.size(), reinterpret_cast<const uint8_t*>(packed.data()),
                                 &size, reinterpret_cast<uint8_t*>(out.data())) ==
             BROTLI_DECODER_RESULT_SUCCESS &&
         size == out.size();
}

bool UnpackZstd(std::string_view packed, std::string& out) {
  return ZSTD_decompress(out.data(), out.size(), packed.data(), packed.size()) == out.size();
}

bool UnpackLz4Block(std::string_view packed, char* out, size_t size) {
  return LZ4_decompress_safe(packed.data(), out, static_cast<int>(packed.size()),
                             static_cast<int>(size)) == static_cast<int>(size);
}

bool UnpackLz4Frame(std::string_view packed, std::string& out) {
  LZ4F_dctx* context = nullptr;
  if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION))) return false;
  const std::unique_ptr<LZ4F_dctx, LZ4F_errorCode_t (*)(LZ4F_dctx*)> end(
      context, LZ4F_freeDecompressionContext);

  // Each step takes some of the input and fills some of the output; without either it is stuck.
  size_t taken = 0, filled = 0;
  while (true) {
    size_t in = packed.size() - taken, room = out.size() - filled;
    const size_t result =
        LZ4F_decompress(context, out.data() + filled, &room, packed.data() + taken, &in, nullptr);
    if (LZ4F_isError(result)) return false;
    taken += in;
    filled += room;
    if (result == 0) return filled == out.size();
    if (in == 0 && room == 0) return false;
  }
}

uint32_t BigEndian(const char* at) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(at[i]);
  return value;
}

// Hadoop's framing: unpacked size, packed size, block, again and again.
bool UnpackHadoopBlocks(std::string_view packed, std::string& out) {
  size_t filled = 0;
  while (packed.size() >= 8) {
    const size_t size = BigEndian(packed.data()), block = BigEndian(packed.data() + 4);
    packed.remove_prefix(8);
    if (block > packed.size() || size > out.size() - filled) return false;
    if (!UnpackLz4Block(packed.substr(0, block), out.data() + filled, size)) return false;
    packed.remove_prefix(block);
    filled += size;
  }
  return packed.empty() && filled == out.size();
}

// Writers disagreed on what Parquet's first LZ4 codec is; the bytes tell.
bool UnpackLz4Hadoop(std::string_view packed, std::string& out) {
  constexpr std::string_view kFrameMagic = "\x04\x22\x4d\x18";
  if (packed.starts_with(kFrameMagic)) return UnpackLz4Frame(packed, out);
  return UnpackHadoopBlocks(packed, out) || UnpackLz4Block(packed, out.data(), out.size());
}

bool UnpackInto(Codec codec, std::string_view packed, std::string& out) {
  switch (codec) {
    case Codec::kNone:
      if (packed.size() != out.size()) return false;
      std::memcpy(out.data(), packed.data(), packed.size());
      return true;
    case Codec::kSnappy:
      return UnpackSnappy(packed, out);
    case Codec::kGzip:
      return UnpackGzip(packed, out);
    case Codec::kBrotli:
      return UnpackBrotli(packed, out);
    case Codec::kZstd:
      return UnpackZstd(packed, out);

    // Three framings of one codec.
    case Codec::kLz4Block:
      return UnpackLz4Block(packed, out.data(), out.size());
    case Codec::kLz4Hadoop:
      return UnpackLz4Hadoop(packed, out);
    case Codec::kLz4Frame:
      return UnpackLz4Frame(packed, out);
  }
  return false;
}

}  // namespace

std::string_view NameOf(Codec codec) {
  constexpr std::string_view kNames[] = {"none", "snappy", "gzip", "brotli",
                                         "zstd", "lz4",    "lz4",  "lz4"};
  return kNames[static_cast<size_t>(codec)];
}

std::string Unpack(Codec codec, std::string_view packed, uint64_t size, Budget& budget,
                   std::string_view place) {
  if (size > kMostBlockBytes || packed.size() > kMostBlockBytes) {
    ThrowBadInput(place, "a block of at most 1 GiB",
                  StrCat(std::max<uint64_t>(size, packed.size()), " bytes"));
  }

  budget.Charge(size);
  std::string out(size, '\0');
  // Some writers store no bytes at all for an empty block.
  const bool is_empty = size == 0 && packed.empty();
  if (!is_empty && !UnpackInto(codec, packed, out)) {
    ThrowBadInput(place, StrCat(size, " bytes, compressed by ", NameOf(codec)),
                  "damaged compressed data");
  }
  return out;
}

}  // namespace qualm
