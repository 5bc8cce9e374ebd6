// Decodes the integer and byte-array encodings of Parquet pages. Every loop is bounded by a count
// that was charged to the budget or by the bytes that are left.
#include "data/parquet_encodings.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

// Takes integers off the front of a page.
class ByteReader {
 public:
  ByteReader(std::string_view bytes, std::string_view place) : bytes_(bytes), place_(place) {}

  std::string_view rest() const { return bytes_; }

  std::string_view Take(uint64_t size) {
    if (size > bytes_.size()) {
      ThrowBadInput(place_, StrCat("a page with ", size, " more bytes"),
                    StrCat(bytes_.size(), " bytes at its end"));
    }
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }

  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(Take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    ThrowBadInput(place_, "integers of at most 64 bits", "a longer one");
  }

  uint64_t ZigZag() {
    const uint64_t value = Varint();
    return (value >> 1) ^ (~(value & 1) + 1);
  }

 private:
  std::string_view bytes_, place_;
};

// `width` bits from bit `at` on, the lowest first. Requires: they are inside `bytes`.
uint64_t BitsAt(std::string_view bytes, uint64_t at, int width) {
  uint64_t value = 0;
  int filled = 0;
  while (filled < width) {
    const uint64_t bit = at + static_cast<uint64_t>(filled);
    const auto byte = static_cast<uint8_t>(bytes[bit / 8]);
    const int offset = static_cast<int>(bit % 8);
    value |= static_cast<uint64_t>(byte >> offset) << filled;
    filled += 8 - offset;
  }
  return width == 64 ? value : value & ((uint64_t{1} << width) - 1);
}

void RequireWidth(int width, int most, std::string_view place) {
  if (width < 0 || width > most) {
    ThrowBadInput(place, StrCat("integers of at most ", most, " bits"), StrCat(width, " bits"));
  }
}

// One block of a delta encoding: the smallest difference, a width for every miniblock, then those.
// Appends until `total` values are there.
void ReadDeltaBlock(ByteReader& reader, uint64_t miniblocks, uint64_t miniblock_values,
                    uint64_t total, std::vector<uint64_t>& values, std::string_view place) {
  const uint64_t least = reader.ZigZag();
  const std::string_view widths = reader.Take(miniblocks);
  for (size_t m = 0; m < miniblocks && values.size() < total; ++m) {
    const int width = static_cast<uint8_t>(widths[m]);
    RequireWidth(width, 64, place);

    // A last miniblock may be cut after the values that are needed.
    const uint64_t wanted = std::min<uint64_t>(miniblock_values, total - values.size());
    const uint64_t whole = miniblock_values / 8 * static_cast<uint64_t>(width);
    const uint64_t needed = (wanted * static_cast<uint64_t>(width) + 7) / 8;
    const uint64_t stored = std::min<uint64_t>(whole, reader.rest().size());
    const std::string_view packed = reader.Take(std::max(needed, stored));
    for (uint64_t i = 0; i < wanted; ++i) {
      const uint64_t delta = BitsAt(packed, i * static_cast<uint64_t>(width), width);
      values.push_back(values.back() + least + delta);
    }
  }
}

}  // namespace

int BitsFor(uint32_t most) {
  int bits = 0;
  for (; most > 0; most >>= 1) ++bits;
  return bits;
}

std::vector<uint32_t> ReadHybrid(std::string_view bytes, int width, size_t count, Budget& budget,
                                 std::string_view place) {
  RequireWidth(width, 32, place);
  budget.Charge(count, sizeof(uint32_t));
  if (width == 0) return std::vector<uint32_t>(count, 0);

  // Runs of both kinds follow each other until the page has all of its values.
  std::vector<uint32_t> values;
  values.reserve(count);
  ByteReader reader(bytes, place);
  while (values.size() < count) {
    const uint64_t head = reader.Varint();
    const uint64_t number = head >> 1, left = count - values.size();
    if (number == 0) ThrowBadInput(place, StrCat(left, " more levels or indexes"), "an empty run");
    if ((head & 1) == 0) {  // one value, many times
      uint32_t value = 0;
      const std::string_view stored = reader.Take(static_cast<uint64_t>(width + 7) / 8);
      std::memcpy(&value, stored.data(), stored.size());
      values.insert(values.end(), std::min(number, left), value);
      continue;
    }

    // Groups of eight, packed; the last group is filled up.
    const uint64_t wanted = number > left / 8 ? left : number * 8;
    const uint64_t groups = std::min(number, (left + 7) / 8);
    const std::string_view packed = reader.Take(groups * static_cast<uint64_t>(width));
    for (uint64_t i = 0; i < wanted; ++i) {
      values.push_back(
          static_cast<uint32_t>(BitsAt(packed, i * static_cast<uint64_t>(width), width)));
    }
  }
  return values;
}

std::vector<uint32_t> ReadBitPacked(std::string_view bytes, int width, size_t count, Budget& budget,
                                    std::string_view place) {
  RequireWidth(width, 32, place);
  budget.Charge(count, sizeof(uint32_t));
  if ((bytes.size() * 8) / static_cast<size_t>(std::max(width, 1)) < count && width > 0) {
    ThrowBadInput(place, StrCat(count, " levels"), StrCat(bytes.size(), " bytes"));
  }

  // Value after value, bit after bit.
  std::vector<uint32_t> values(count, 0);
  size_t bit = 0;
  for (uint32_t& value : values) {
    for (int i = 0; i < width; ++i, ++bit) {
      value = value << 1 | (static_cast<uint8_t>(bytes[bit / 8]) >> (7 - bit % 8) & 1u);
    }
  }
  return values;
}

std::vector<uint64_t> ReadDeltas(std::string_view& bytes, size_t count, Budget& budget,
                                 std::string_view place) {
  ByteReader reader(bytes, place);
  const uint64_t block_values = reader.Varint(), miniblocks = reader.Varint();
  const uint64_t total = reader.Varint();
  const uint64_t first = reader.ZigZag();

  // A miniblock has a multiple of eight values, so that it ends with a byte.
  const bool is_shape = miniblocks > 0 && block_values % miniblocks == 0 && block_values > 0 &&
                        block_values <= (uint64_t{1} << 32) && block_values / miniblocks % 8 == 0;
  if (!is_shape) {
    ThrowBadInput(place, "delta blocks of miniblocks of 8, 16, 24, ... values",
                  StrCat(block_values, " values in ", miniblocks, " miniblocks"));
  }
  if (total < count) ThrowBadInput(place, StrCat(count, " values"), StrCat(total));

  // The header says how many values follow, so they are charged before any is read.
  budget.Charge(total, sizeof(uint64_t));
  std::vector<uint64_t> values;
  values.reserve(total);
  if (total > 0) values.push_back(first);
  while (values.size() < total) {
    ReadDeltaBlock(reader, miniblocks, block_values / miniblocks, total, values, place);
  }

  bytes = reader.rest();
  return values;
}

std::vector<std::string_view> ReadDeltaLengthTexts(std::string_view bytes, size_t count,
                                                   Budget& budget, std::string_view place) {
  const std::vector<uint64_t> sizes = ReadDeltas(bytes, count, budget, place);
  budget.Charge(count, sizeof(std::string_view));
  ByteReader reader(bytes, place);
  std::vector<std::string_view> texts;
  texts.reserve(count);
  for (size_t i = 0; i < count; ++i) texts.push_back(reader.Take(sizes[i]));
  return texts;
}

std::vector<std::string> ReadDeltaTexts(std::string_view bytes, size_t count, Budget& budget,
                                        std::string_view place) {
  const std::vector<uint64_t> shared = ReadDeltas(bytes, count, budget, place);
  const std::vector<std::string_view> ends = ReadDeltaLengthTexts(bytes, count, budget, place);
  std::vector<std::string> texts;
  for (size_t i = 0; i < count; ++i) {
    const std::string_view before = i == 0 ? std::string_view() : texts.back();
    if (shared[i] > before.size()) {
      ThrowBadInput(place, StrCat("at most ", before.size(), " bytes of the text before"),
                    StrCat(shared[i]));
    }

    // A text may be long although it takes no bytes: it shares all of its beginning.
    budget.Charge(sizeof(std::string) + shared[i] + ends[i].size());
    texts.push_back(StrCat(before.substr(0, shared[i]), ends[i]));
  }
  return texts;
}

std::string ReadSplitStreams(std::string_view bytes, size_t width, size_t count, Budget& budget,
                             std::string_view place) {
  if (width == 0 || bytes.size() / width < count) {
    ThrowBadInput(place, StrCat(count, " values of ", width, " bytes"),
                  StrCat(bytes.size(), " bytes"));
  }
  budget.Charge(count, width);
  std::string plain(count * width, '\0');
  for (size_t k = 0; k < width; ++k) {
    for (size_t i = 0; i < count; ++i) plain[i * width + k] = bytes[k * count + i];
  }
  return plain;
}

}  // namespace qualm
