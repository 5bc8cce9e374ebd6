// Reads the pages of a column chunk: a dictionary, then data pages of version 1 or 2, each with
// repetition levels, definition levels and values. What is damaged is an error; what another reader
// could read but this one cannot (a codec, an encoding) makes the column unreadable instead, since
// nobody may need it.
#include "data/parquet_column.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "data/codecs.h"
#include "data/parquet_encodings.h"
#include "tensor/dtype.h"

namespace qualm {
namespace {

constexpr int64_t kMostPageBytes = int64_t{1} << 30;

enum PageType { kDataPage = 0, kDictionaryPage = 2, kDataPage2 = 3 };
enum Encoding {
  kPlain = 0,
  kPlainDictionary = 2,
  kRle = 3,
  kBitPacked = 4,
  kDeltaBinaryPacked = 5,
  kDeltaLengthByteArray = 6,
  kDeltaByteArray = 7,
  kRleDictionary = 8,
  kByteStreamSplit = 9
};

// Thrown inside this file only, where a column cannot be read although it is not damaged.
struct Unsupported {
  std::string reason;
};

Codec CodecOf(int64_t codec) {
  constexpr int64_t kLzo = 3;
  constexpr Codec kCodecs[] = {Codec::kNone,   Codec::kSnappy,    Codec::kGzip, Codec::kNone,
                               Codec::kBrotli, Codec::kLz4Hadoop, Codec::kZstd, Codec::kLz4Block};
  if (codec == kLzo) {
    throw Unsupported{
        "a column compressed by LZO; none, snappy, gzip, brotli, zstd and lz4 are read"};
  }
  if (codec < 0 || codec >= static_cast<int64_t>(std::size(kCodecs))) {
    throw Unsupported{StrCat("a column compressed by the unknown codec ", codec)};
  }
  return kCodecs[codec];
}

std::string_view EncodingName(int64_t encoding) {
  constexpr std::string_view kNames[] = {
      "PLAIN",          "GROUP_VAR_INT",       "PLAIN_DICTIONARY",        "RLE",
      "BIT_PACKED",     "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY",
      "RLE_DICTIONARY", "BYTE_STREAM_SPLIT"};
  const bool is_known = encoding >= 0 && encoding < static_cast<int64_t>(std::size(kNames));
  return is_known ? kNames[encoding] : "of an unknown number";
}

std::string_view TypeName(ParquetType type) {
  constexpr std::string_view kNames[] = {"BOOLEAN", "INT32",  "INT64",      "INT96",
                                         "FLOAT",   "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"};
  return kNames[static_cast<size_t>(type)];
}

template <typename T>
T Load(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

// Bytes of a value in the plain layout; 0 for byte arrays, which say their own, and for booleans.
size_t WidthOf(const ParquetLeaf& leaf) {
  constexpr size_t kWidths[] = {0, 4, 8, 12, 4, 8, 0};
  return leaf.type == ParquetType::kFixedBytes ? leaf.width
                                               : kWidths[static_cast<size_t>(leaf.type)];
}

std::string BigEndian(std::string_view bytes) { return {bytes.rbegin(), bytes.rend()}; }

// Nanoseconds of the day, then a day number of the Julian calendar.
std::string Int96Text(std::string_view bytes) {
  constexpr int64_t kJulianDayOfEpoch = 2440588;
  const int64_t days = int64_t{Load<uint32_t>(bytes.substr(8))} - kJulianDayOfEpoch;
  return StrCat(DateText(days), " ", TimeText(Load<int64_t>(bytes), TimeUnit::kNano));
}

Json IntegerValue(const ParquetLeaf& leaf, std::string_view bytes) {
  const bool is_wide = leaf.type == ParquetType::kInt64;
  const int64_t value = is_wide ? Load<int64_t>(bytes) : Load<int32_t>(bytes);
  switch (leaf.meaning) {
    case ParquetMeaning::kUnsigned:
      return is_wide ? Json(static_cast<uint64_t>(value)) : Json(Load<uint32_t>(bytes));

    // An unscaled integer, and counts since an epoch.
    case ParquetMeaning::kDecimal:
      return DecimalValue(BigEndian(bytes), leaf.scale);
    case ParquetMeaning::kDate:
      return DateText(value);
    case ParquetMeaning::kTime:
      return TimeText(value, leaf.unit);
    case ParquetMeaning::kTimestamp:
      return TimestampText(value, leaf.unit, leaf.is_utc);
    default:
      return value;
  }
}

Json FixedBytesValue(const ParquetLeaf& leaf, std::string_view bytes) {
  switch (leaf.meaning) {
    case ParquetMeaning::kDecimal:
      return DecimalValue(bytes, leaf.scale);
    case ParquetMeaning::kHalf:
      return ToFloat(Half{Load<uint16_t>(bytes)});
    case ParquetMeaning::kUuid:
      return UuidText(bytes);

    // Three numbers of four bytes.
    case ParquetMeaning::kInterval:
      return StrCat(Load<uint32_t>(bytes), " months ", Load<uint32_t>(bytes.substr(4)), " days ",
                    Load<uint32_t>(bytes.substr(8)), " milliseconds");
    default:
      return BytesValue(bytes);
  }
}

// A value of any type but boolean from its bytes in the plain layout.
Json ValueOf(const ParquetLeaf& leaf, std::string_view bytes) {
  if (leaf.meaning == ParquetMeaning::kNull) return nullptr;
  switch (leaf.type) {
    case ParquetType::kInt32:
    case ParquetType::kInt64:
      return IntegerValue(leaf, bytes);
    case ParquetType::kInt96:
      return Int96Text(bytes);
    case ParquetType::kFloat:
      return Load<float>(bytes);
    case ParquetType::kDouble:
      return Load<double>(bytes);

    // Bytes may be a number, an identifier or a text.
    case ParquetType::kFixedBytes:
      return FixedBytesValue(leaf, bytes);
    default:
      return leaf.meaning == ParquetMeaning::kDecimal ? DecimalValue(bytes, leaf.scale)
                                                      : BytesValue(bytes);
  }
}

class ColumnReader {
 public:
  ColumnReader(std::string_view pages, const ThriftValue& chunk, const ParquetLeaf& leaf,
               Budget& budget, std::string_view place)
      : pages_(pages), chunk_(chunk), leaf_(leaf), budget_(budget), place_(place) {}

  ParquetCells Run() {
    try {
      ReadPages();
    } catch (Unsupported& unsupported) {
      cells_ = {};
      cells_.unreadable = std::move(unsupported.reason);
    }
    return std::move(cells_);
  }

 private:
  void ReadPages() {
    constexpr int kFilePath = 1, kMeta = 3, kCryptoMetadata = 8;
    if (!leaf_.unreadable.empty()) throw Unsupported{leaf_.unreadable};
    if (chunk_.Find(kCryptoMetadata) != nullptr) throw Unsupported{"an encrypted column"};
    if (chunk_.Find(kFilePath) != nullptr) {
      throw Unsupported{StrCat("a column in another file, ", chunk_.Bytes(kFilePath, place_))};
    }

    // A chunk of an empty row group has no pages.
    const ThriftValue& meta = chunk_.Struct(kMeta, place_);
    const int64_t total = meta.Int(5, place_);
    if (total < 0) ThrowBadInput(place_, "a number of values", StrCat(total));
    if (total == 0) return;
    codec_ = CodecOf(meta.Int(4, place_));

    // A dictionary comes first; some writers give 0 where there is none.
    int64_t begin = meta.Int(9, place_);
    const int64_t dictionary = meta.Int(11, 0, place_);
    if (dictionary > 0) begin = std::min(begin, dictionary);
    if (begin < 4 || static_cast<uint64_t>(begin) >= pages_.size()) {
      ThrowBadInput(place_, StrCat("pages inside the ", pages_.size(), " bytes of the file"),
                    StrCat("pages at ", begin));
    }

    // The number of cells says where the last page ends.
    std::string_view rest = pages_.substr(static_cast<size_t>(begin));
    while (cells_.count < static_cast<uint64_t>(total)) ReadPage(rest);
  }

  size_t SizeOf(int64_t size, std::string_view what) const {
    if (size < 0 || size > kMostPageBytes) {
      ThrowBadInput(place_, StrCat(what, " of at most 1 GiB"), StrCat(size, " bytes"));
    }
    return static_cast<size_t>(size);
  }

  size_t CountOf(int64_t count) const {
    constexpr int64_t kMostCells = int64_t{1} << 40;  // the budget is the real bound
    if (count < 0 || count > kMostCells) {
      ThrowBadInput(place_, "a page's number of values", StrCat(count));
    }
    return static_cast<size_t>(count);
  }

  void ReadPage(std::string_view& rest) {
    Budget header_budget(0, place_);  // the tree is gone after this page
    const ThriftValue header = ReadThriftStruct(rest, place_, header_budget);
    const size_t unpacked = SizeOf(header.Int(2, place_), "a page");
    const size_t packed = SizeOf(header.Int(3, place_), "a page");
    if (packed > rest.size()) {
      ThrowBadInput(place_, StrCat("a page of ", packed, " bytes"),
                    StrCat(rest.size(), " bytes before the file's end"));
    }
    const std::string_view body = rest.substr(0, packed);
    rest.remove_prefix(packed);

    switch (header.Int(1, place_)) {
      case kDictionaryPage: {
        const size_t count = CountOf(header.Struct(7, place_).Int(1, place_));
        const std::string bytes = Unpack(codec_, body, unpacked, budget_, place_);
        dictionary_ = ReadPlain(bytes, count);

        dictionary_bytes_ = 0;
        for (const Json& value : dictionary_) {
          dictionary_bytes_ = std::max(dictionary_bytes_, TextBytes(value));
        }
        break;
      }
      case kDataPage:
        ReadPage1(header.Struct(5, place_), Unpack(codec_, body, unpacked, budget_, place_));
        break;
      case kDataPage2:
        ReadPage2(header.Struct(8, place_), body, unpacked);
        break;
      default:
        break;  // an index page
    }
  }

  void ReadPage1(const ThriftValue& about, std::string_view bytes) {
    const size_t count = CountOf(about.Int(1, place_));
    const auto levels = [&](uint32_t most, int64_t encoding) -> std::vector<uint32_t> {
      if (most == 0) return {};

      // Runs have their size in front of them; the older packed levels have none.
      const int width = BitsFor(most);
      size_t size = 0;
      if (encoding == kBitPacked) {
        size = (count * static_cast<size_t>(width) + 7) / 8;
      } else if (bytes.size() >= 4) {
        size = Load<uint32_t>(bytes);
        bytes.remove_prefix(4);
      }
      if (size > bytes.size()) {
        ThrowBadInput(place_, StrCat(size, " bytes of levels"), StrCat(bytes.size(), " bytes"));
      }

      const std::string_view stored = bytes.substr(0, size);
      bytes.remove_prefix(size);
      return encoding == kBitPacked ? ReadBitPacked(stored, width, count, budget_, place_)
                                    : ReadHybrid(stored, width, count, budget_, place_);
    };

    const std::vector<uint32_t> repetition =
        levels(leaf_.most_repetition, about.Int(4, kRle, place_));
    const std::vector<uint32_t> definition =
        levels(leaf_.most_definition, about.Int(3, kRle, place_));
    Append(count, repetition, definition, bytes, about.Int(2, place_));
  }

  // Levels are not compressed here, and have no size in front.
  void ReadPage2(const ThriftValue& about, std::string_view body, size_t unpacked) {
    const size_t count = CountOf(about.Int(1, place_));
    const size_t definition_bytes = SizeOf(about.Int(5, place_), "levels");
    const size_t repetition_bytes = SizeOf(about.Int(6, place_), "levels");
    const size_t level_bytes = definition_bytes + repetition_bytes;
    if (level_bytes > body.size() || level_bytes > unpacked) {
      ThrowBadInput(place_, StrCat("levels inside the ", body.size(), " bytes of a page"),
                    StrCat(level_bytes, " bytes"));
    }

    // Repetition levels come first.
    const auto levels = [&](std::string_view stored, uint32_t most) -> std::vector<uint32_t> {
      if (most == 0) return {};
      return ReadHybrid(stored, BitsFor(most), count, budget_, place_);
    };
    const std::vector<uint32_t> repetition =
        levels(body.substr(0, repetition_bytes), leaf_.most_repetition);
    const std::vector<uint32_t> definition =
        levels(body.substr(repetition_bytes, definition_bytes), leaf_.most_definition);

    // The values follow the levels, compressed unless the page says otherwise.
    const bool is_packed = about.Int(7, 1, place_) != 0;
    const std::string bytes = Unpack(is_packed ? codec_ : Codec::kNone, body.substr(level_bytes),
                                     unpacked - level_bytes, budget_, place_);
    Append(count, repetition, definition, bytes, about.Int(4, place_));
  }

  void Append(size_t count, const std::vector<uint32_t>& repetition,
              const std::vector<uint32_t>& definition, std::string_view bytes, int64_t encoding) {
    const size_t values =
        leaf_.most_definition == 0
            ? count
            : static_cast<size_t>(std::ranges::count(definition, leaf_.most_definition));

    // Pages only part a column; its cells are one sequence.
    cells_.count += count;
    cells_.repetition.insert(cells_.repetition.end(), repetition.begin(), repetition.end());
    cells_.definition.insert(cells_.definition.end(), definition.begin(), definition.end());
    std::vector<Json> decoded = Decode(bytes, encoding, values);
    cells_.values.insert(cells_.values.end(), std::make_move_iterator(decoded.begin()),
                         std::make_move_iterator(decoded.end()));
  }

  [[noreturn]] void ThrowUnsupported(int64_t encoding) const {
    throw Unsupported{StrCat("a column of type ", TypeName(leaf_.type), " with encoding ",
                             EncodingName(encoding), ", which is not read")};
  }

  std::vector<Json> Decode(std::string_view bytes, int64_t encoding, size_t count) {
    const bool is_text = leaf_.type == ParquetType::kByteArray;
    const bool is_bytes = is_text || leaf_.type == ParquetType::kFixedBytes;

    // An encoding is for some types only; that of the delta encodings becomes the plain layout.
    switch (encoding) {
      case kPlain:
        return ReadPlain(bytes, count);
      case kPlainDictionary:
      case kRleDictionary:
        return ReadIndexes(bytes, count);
      case kRle:
        if (leaf_.type == ParquetType::kBoolean) return ReadRleBooleans(bytes, count);
        break;
      case kDeltaBinaryPacked:
        if (leaf_.type == ParquetType::kInt32 || leaf_.type == ParquetType::kInt64) {
          return ReadPlain(PlainIntegers(ReadDeltas(bytes, count, budget_, place_)), count);
        }
        break;

      // Texts by their lengths, or by what they share with the one before.
      case kDeltaLengthByteArray:
        if (is_text) return Values(ReadDeltaLengthTexts(bytes, count, budget_, place_));
        break;
      case kDeltaByteArray:
        if (is_bytes) return Values(ReadDeltaTexts(bytes, count, budget_, place_));
        break;
      case kByteStreamSplit:
        if (WidthOf(leaf_) > 0) {
          return ReadPlain(ReadSplitStreams(bytes, WidthOf(leaf_), count, budget_, place_), count);
        }
        break;
      default:
        break;
    }
    ThrowUnsupported(encoding);
  }

  // Integers in the plain layout, which they would have without the delta encoding.
  std::string PlainIntegers(const std::vector<uint64_t>& integers) {
    const size_t width = WidthOf(leaf_);
    budget_.Charge(integers.size(), width);
    std::string plain(integers.size() * width, '\0');
    for (size_t i = 0; i < integers.size(); ++i) {
      std::memcpy(plain.data() + i * width, &integers[i], width);
    }
    return plain;
  }

  template <typename Text>
  std::vector<Json> Values(const std::vector<Text>& texts) {
    budget_.Charge(texts.size(), kValueBytes);
    std::vector<Json> values;
    values.reserve(texts.size());
    for (const Text& text : texts) values.push_back(Charged(text));
    return values;
  }

  Json Charged(std::string_view bytes) {
    if (leaf_.type == ParquetType::kFixedBytes && bytes.size() != leaf_.width) {
      ThrowBadInput(place_, StrCat("values of ", leaf_.width, " bytes"), StrCat(bytes.size()));
    }
    Json value = ValueOf(leaf_, bytes);
    budget_.Charge(TextBytes(value));
    return value;
  }

  // Bytes that a value takes in addition to kValueBytes.
  static uint64_t TextBytes(const Json& value) {
    constexpr uint64_t kStringBytes = 32;
    if (value.is_string()) return kStringBytes + value.get_ref<const std::string&>().size();
    return value.is_binary() ? kStringBytes + value.get_binary().size() : 0;
  }

  std::vector<Json> ReadPlain(std::string_view bytes, size_t count) {
    budget_.Charge(count, kValueBytes);

    // Booleans are bits.
    if (leaf_.type == ParquetType::kBoolean) {
      RequireBytes(bytes, (count + 7) / 8, count);
      std::vector<Json> values;
      values.reserve(count);
      for (size_t i = 0; i < count; ++i) {
        values.emplace_back((static_cast<uint8_t>(bytes[i / 8]) >> (i % 8) & 1) != 0);
      }
      return values;
    }

    // Byte arrays have their size in front of them, all other values the width of their type.
    std::vector<Json> values;
    const bool is_text = leaf_.type == ParquetType::kByteArray;
    for (size_t i = 0; i < count; ++i) {
      size_t width = WidthOf(leaf_);
      if (is_text) {
        RequireBytes(bytes, sizeof(uint32_t), count);
        width = Load<uint32_t>(bytes);
        bytes.remove_prefix(sizeof(uint32_t));
      }
      RequireBytes(bytes, width, count);
      values.push_back(Charged(bytes.substr(0, width)));
      bytes.remove_prefix(width);
    }
    return values;
  }

  void RequireBytes(std::string_view bytes, size_t needed, size_t count) const {
    if (bytes.size() >= needed) return;
    ThrowBadInput(place_, StrCat("a page with ", count, " values"),
                  StrCat(bytes.size(), " bytes where the next value has ", needed));
  }

  std::vector<Json> ReadIndexes(std::string_view bytes, size_t count) {
    if (count == 0) return {};
    RequireBytes(bytes, 1, count);
    const int width = static_cast<uint8_t>(bytes[0]);
    budget_.Charge(count, kValueBytes);
    std::vector<Json> values;
    values.reserve(count);

    // Every use of a text is a copy of it.
    for (uint32_t index : ReadHybrid(bytes.substr(1), width, count, budget_, place_)) {
      if (index >= dictionary_.size()) {
        ThrowBadInput(place_, StrCat("an index below ", dictionary_.size()), StrCat(index));
      }
      if (dictionary_bytes_ > 0) budget_.Charge(TextBytes(dictionary_[index]));
      values.push_back(dictionary_[index]);
    }
    return values;
  }

  std::vector<Json> ReadRleBooleans(std::string_view bytes, size_t count) {
    RequireBytes(bytes, count == 0 ? 0 : sizeof(uint32_t), count);
    budget_.Charge(count, kValueBytes);
    std::vector<Json> values;
    values.reserve(count);

    // The size in front of the runs is that of the page.
    const std::string_view runs = bytes.substr(std::min(bytes.size(), sizeof(uint32_t)));
    for (uint32_t bit : ReadHybrid(runs, 1, count, budget_, place_)) values.emplace_back(bit != 0);
    return values;
  }

  std::string_view pages_;
  const ThriftValue& chunk_;
  const ParquetLeaf& leaf_;
  Budget& budget_;
  std::string_view place_;
  Codec codec_ = Codec::kNone;
  std::vector<Json> dictionary_;
  uint64_t dictionary_bytes_ = 0;  // of its longest text; 0: values of no text
  ParquetCells cells_;
};

}  // namespace

ParquetCells ReadParquetColumn(std::string_view pages, const ThriftValue& chunk,
                               const ParquetLeaf& leaf, Budget& budget, std::string_view place) {
  return ColumnReader(pages, chunk, leaf, budget, place).Run();
}

}  // namespace qualm
