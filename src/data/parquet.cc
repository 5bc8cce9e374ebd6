#include "data/parquet.h"

#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/strings.h"
#include "data/thrift.h"

namespace qualm {
namespace {

constexpr uint64_t kMostPageBytes = uint64_t{1} << 30;

enum Type { kBoolean, kInt32, kInt64, kInt96, kFloat, kDouble, kByteArray, kFixed };

struct Column {
  std::vector<std::string> path;  // of the row's value
  std::string name;               // for messages
  int type = 0;
  uint32_t most_definition = 0;
  uint32_t most_repetition = 0;  // 0 or 1
  uint32_t list_definition = 0;  // from this level on the list has an element
  bool is_text = false;
};

// --- the schema

class SchemaReader {
 public:
  SchemaReader(const std::vector<ThriftValue>& elements, std::string_view place)
      : elements_(elements), place_(place) {}

  std::vector<Column> Run() {
    if (elements_.empty()) ThrowBadInput(place_, "a schema", "none");
    const int64_t children = elements_[0].Int(5, 0, place_);
    next_ = 1;
    for (int64_t i = 0; i < children; ++i) Read(Column(), false, 0);
    return std::move(columns_);
  }

 private:
  enum Repetition { kRequired, kOptional, kRepeated };

  // `above` holds what the groups around have added; names of a list's own levels are left out.
  void Read(Column above, bool is_list_level, int depth) {
    if (depth > 16 || next_ >= elements_.size())
      ThrowBadInput(place_, "a schema that ends", "none");
    const ThriftValue& element = elements_[next_++];
    const std::string name(element.Bytes(4, place_));
    above.name += (above.name.empty() ? "" : ".") + name;
    if (!is_list_level) above.path.push_back(name);
    const int64_t repetition = element.Int(3, kRequired, place_);
    if (repetition != kRequired) ++above.most_definition;
    if (repetition == kRepeated) {
      if (++above.most_repetition > 1) {
        ThrowBadInput(place_, "columns with at most one list", StrCat("lists in ", above.name));
      }
      above.list_definition = above.most_definition;
    }
    const int64_t children = element.Int(5, 0, place_);
    if (children > 0) {
      constexpr int64_t kListType = 3;
      // A LIST group has one repeated child, which holds the element.
      const bool is_list = element.Int(6, -1, place_) == kListType;
      for (int64_t i = 0; i < children; ++i) {
        Read(above, is_list || (repetition == kRepeated && is_list_level), depth + 1);
      }
      return;
    }
    above.type = static_cast<int>(element.Int(1, place_));
    const int64_t converted = element.Int(6, -1, place_);
    const ThriftValue* logical = element.Find(10);
    above.is_text = converted == 0 || converted == 4 || converted == 19 ||
                    (logical != nullptr && logical->Find(1) != nullptr) || above.type == kByteArray;
    columns_.push_back(std::move(above));
  }

  const std::vector<ThriftValue>& elements_;
  std::string_view place_;
  size_t next_ = 0;
  std::vector<Column> columns_;
};

// --- pages

std::string Unpacked(std::string_view packed, int64_t codec, uint64_t size,
                     std::string_view place) {
  if (size > kMostPageBytes) ThrowBadInput(place, "pages of at most 1 GiB", StrCat(size));
  std::string bytes(size, '\0');
  bool fits = false;
  if (codec == 0) {
    fits = packed.size() == size;
    bytes = packed;
  } else if (codec == 1) {
    size_t length = 0;
    fits = snappy::GetUncompressedLength(packed.data(), packed.size(), &length) && length == size &&
           snappy::RawUncompress(packed.data(), packed.size(), bytes.data());
  } else if (codec == 2) {
    z_stream stream{};
    if (inflateInit2(&stream, 15 + 32) == Z_OK) {  // 32: gzip or zlib
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
      stream.avail_in = static_cast<uInt>(packed.size());
      stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
      stream.avail_out = static_cast<uInt>(size);
      fits = inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.avail_out == 0;
      inflateEnd(&stream);
    }
  } else if (codec == 6) {
    fits = ZSTD_decompress(bytes.data(), size, packed.data(), packed.size()) == size;
  } else {
    ThrowBadInput(place, "codec none, snappy, gzip or zstd", StrCat("codec ", codec));
  }
  if (!fits) ThrowBadInput(place, StrCat("a page of ", size, " bytes"), "damaged compressed data");
  return bytes;
}

// Runs and bit-packed groups of small integers, the hybrid of levels and dictionary indexes.
std::vector<uint32_t> ReadHybrid(std::string_view bytes, int width, size_t count,
                                 std::string_view place) {
  std::vector<uint32_t> values;
  if (width == 0) return std::vector<uint32_t>(count, 0);
  if (width > 32) ThrowBadInput(place, "integers of at most 32 bits", StrCat(width));
  size_t at = 0;
  const auto refuse = [&] { ThrowBadInput(place, StrCat(count, " levels or indexes"), "the end"); };
  while (values.size() < count) {
    uint64_t head = 0;
    for (int shift = 0;; shift += 7) {
      if (at == bytes.size() || shift > 35) refuse();
      const auto byte = static_cast<uint8_t>(bytes[at++]);
      head |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    const uint64_t number = head >> 1;
    if ((head & 1) == 0) {  // one value, many times
      const auto size = static_cast<size_t>((width + 7) / 8);
      if (bytes.size() - at < size) refuse();
      uint32_t value = 0;
      std::memcpy(&value, bytes.data() + at, size);
      at += size;
      if (number == 0) refuse();
      values.insert(values.end(), std::min<uint64_t>(number, count - values.size()), value);
      continue;
    }
    if (number == 0 || number > (bytes.size() - at) / static_cast<size_t>(width)) refuse();
    uint64_t bit = 0;
    for (uint64_t i = 0; i < number * 8 && values.size() < count; ++i) {
      uint32_t value = 0;
      for (int b = 0; b < width; ++b, ++bit) {
        const auto byte = static_cast<uint8_t>(bytes[at + bit / 8]);
        value |= static_cast<uint32_t>(byte >> (bit % 8) & 1) << b;
      }
      values.push_back(value);
    }
    at += number * static_cast<size_t>(width);
  }
  return values;
}

int BitsFor(uint32_t most) {
  int bits = 0;
  for (; most > 0; most >>= 1) ++bits;
  return bits;
}

// Values one after the other, as they are.
std::vector<Json> ReadPlain(std::string_view bytes, const Column& column, size_t count,
                            std::string_view place) {
  std::vector<Json> values;
  const auto take = [&](size_t size) {
    if (bytes.size() < size) ThrowBadInput(place, StrCat(count, " values"), "the page's end");
    const std::string_view taken = bytes.substr(0, size);
    bytes.remove_prefix(size);
    return taken;
  };
  const auto number = [&]<typename T>(T) {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  };
  for (size_t i = 0; i < count; ++i) {
    switch (column.type) {
      case kBoolean:
        if (i / 8 >= bytes.size()) ThrowBadInput(place, StrCat(count, " bits"), "the page's end");
        values.emplace_back((static_cast<uint8_t>(bytes[i / 8]) >> (i % 8) & 1) != 0);
        break;
      case kInt32:
        values.emplace_back(number(int32_t{}));
        break;
      case kInt64:
        values.emplace_back(number(int64_t{}));
        break;
      case kFloat:
        values.emplace_back(number(float{}));
        break;
      case kDouble:
        values.emplace_back(number(double{}));
        break;
      case kByteArray: {
        const std::string_view text = take(number(uint32_t{}));
        if (!IsValidUtf8(text)) ThrowBadInput(place, "texts in UTF-8", "other bytes");
        values.emplace_back(text);
        break;
      }
      default:
        ThrowBadInput(place, "booleans, numbers or texts", StrCat("type ", column.type));
    }
  }
  return values;
}

// The values of one column chunk, put into its rows.
class ColumnReader {
 public:
  ColumnReader(std::string_view file, const ThriftValue& meta, const Column& column,
               std::string_view place)
      : file_(file), meta_(meta), column_(column), place_(StrCat(place, ": ", column.name)) {}

  void Run(std::span<Row> rows) {
    const int64_t codec = meta_.Int(4, place_);
    const auto total = static_cast<uint64_t>(meta_.Int(5, place_));
    int64_t begin = meta_.Int(9, place_);
    begin = std::min(begin, meta_.Int(11, begin, place_));
    if (begin < 4 || static_cast<uint64_t>(begin) >= file_.size()) {
      ThrowBadInput(place_, "pages inside the file", StrCat("at ", begin));
    }
    std::string_view rest = file_.substr(static_cast<size_t>(begin));
    uint64_t seen = 0;
    while (seen < total) seen += ReadPage(rest, codec, rows);
    if (row_ != rows.size()) ThrowBadInput(place_, StrCat(rows.size(), " rows"), StrCat(row_));
  }

 private:
  static size_t SizeOf(int64_t size, std::string_view place) {
    if (size < 0 || static_cast<uint64_t>(size) > kMostPageBytes) {
      ThrowBadInput(place, "a page's size", StrCat(size));
    }
    return static_cast<size_t>(size);
  }

  // How many values (levels) the page had.
  uint64_t ReadPage(std::string_view& rest, int64_t codec, std::span<Row> rows) {
    const ThriftValue header = ReadThriftStruct(rest, place_);
    const size_t unpacked = SizeOf(header.Int(2, place_), place_);
    const size_t packed = SizeOf(header.Int(3, place_), place_);
    if (packed > rest.size()) ThrowBadInput(place_, StrCat("a page of ", packed), "the file's end");
    const std::string_view body = rest.substr(0, packed);
    rest.remove_prefix(packed);
    const int64_t type = header.Int(1, place_);
    if (type == 2) {  // dictionary
      const ThriftValue& about = header.Struct(7, place_);
      const std::string bytes = Unpacked(body, codec, unpacked, place_);
      dictionary_ = ReadPlain(bytes, column_, CountOf(about.Int(1, place_), bytes), place_);
      return 0;
    }
    if (type == 0)
      return ReadPage1(header.Struct(5, place_), Unpacked(body, codec, unpacked, place_), rows);
    if (type == 3) return ReadPage2(header.Struct(8, place_), body, codec, unpacked, rows);
    return 0;  // an index page
  }

  // A page's number of values can not be more than its bits, but for runs: those are bounded by
  // the rows, which Put counts.
  size_t CountOf(int64_t count, std::string_view bytes) const {
    if (count < 0 || static_cast<uint64_t>(count) > 8 * bytes.size() + 8) {
      ThrowBadInput(place_, "a page's number of values", StrCat(count));
    }
    return static_cast<size_t>(count);
  }

  size_t LevelCount(int64_t count) const {
    // Runs store many values in a few bytes; a made-up number must not take the memory.
    if (count <= 0 || static_cast<uint64_t>(count) > 128 * file_.size())
      ThrowBadInput(place_, "a page's number of values", StrCat(count));
    return static_cast<size_t>(count);
  }

  uint64_t ReadPage1(const ThriftValue& about, std::string_view bytes, std::span<Row> rows) {
    const size_t count = LevelCount(about.Int(1, place_));
    const auto levels = [&](uint32_t most) {
      if (most == 0) return std::vector<uint32_t>(count, 0);
      uint32_t size = 0;
      if (bytes.size() < 4) ThrowBadInput(place_, "levels", "the page's end");
      std::memcpy(&size, bytes.data(), 4);
      if (size > bytes.size() - 4) ThrowBadInput(place_, "levels", "the page's end");
      std::vector<uint32_t> values =
          ReadHybrid(bytes.substr(4, size), BitsFor(most), count, place_);
      bytes.remove_prefix(4 + size);
      return values;
    };
    const std::vector<uint32_t> repetition = levels(column_.most_repetition);
    const std::vector<uint32_t> definition = levels(column_.most_definition);
    Put(repetition, definition, ValuesOf(bytes, about.Int(2, place_), definition), rows);
    return count;
  }

  uint64_t ReadPage2(const ThriftValue& about, std::string_view body, int64_t codec,
                     size_t unpacked, std::span<Row> rows) {
    const size_t count = LevelCount(about.Int(1, place_));
    const size_t definition_bytes = SizeOf(about.Int(5, place_), place_);
    const size_t repetition_bytes = SizeOf(about.Int(6, place_), place_);
    const size_t level_bytes = definition_bytes + repetition_bytes;
    if (level_bytes > body.size() || level_bytes > unpacked) {
      ThrowBadInput(place_, "levels inside the page", StrCat(level_bytes, " bytes"));
    }
    const std::vector<uint32_t> repetition = ReadHybrid(
        body.substr(0, repetition_bytes), BitsFor(column_.most_repetition), count, place_);
    const std::vector<uint32_t> definition =
        ReadHybrid(body.substr(repetition_bytes, definition_bytes),
                   BitsFor(column_.most_definition), count, place_);
    const bool is_packed = about.Int(7, 1, place_) != 0;
    const std::string bytes =
        Unpacked(body.substr(level_bytes), is_packed ? codec : 0, unpacked - level_bytes, place_);
    Put(repetition, definition, ValuesOf(bytes, about.Int(4, place_), definition), rows);
    return count;
  }

  std::vector<Json> ValuesOf(std::string_view bytes, int64_t encoding,
                             const std::vector<uint32_t>& definition) const {
    const auto count = static_cast<size_t>(std::ranges::count(definition, column_.most_definition));
    if (encoding == 0) return ReadPlain(bytes, column_, count, place_);
    if (encoding == 2 || encoding == 8) {  // indexes into the dictionary
      if (bytes.empty()) {
        if (count > 0) ThrowBadInput(place_, "indexes", "the page's end");
        return {};
      }
      const int width = static_cast<uint8_t>(bytes[0]);
      std::vector<Json> values;
      for (uint32_t index : ReadHybrid(bytes.substr(1), width, count, place_)) {
        if (index >= dictionary_.size()) {
          ThrowBadInput(place_, StrCat("an index below ", dictionary_.size()), StrCat(index));
        }
        values.push_back(dictionary_[index]);
      }
      return values;
    }
    if (encoding == 3 && column_.type == kBoolean && bytes.size() >= 4) {
      std::vector<Json> values;
      for (uint32_t bit : ReadHybrid(bytes.substr(4), 1, count, place_)) {
        values.emplace_back(bit != 0);
      }
      return values;
    }
    ThrowBadInput(place_, "encoding plain, dictionary or run-length",
                  StrCat("encoding ", encoding));
  }

  // The value's place in a row, its objects made on the way.
  Json& At(Row& row) const {
    Json* place = &row;
    for (const std::string& key : column_.path) {
      if (!place->is_object()) *place = Json::object();
      place = &(*place)[key];
    }
    return *place;
  }

  void Put(const std::vector<uint32_t>& repetition, const std::vector<uint32_t>& definition,
           std::vector<Json> values, std::span<Row> rows) {
    size_t next = 0;
    for (size_t i = 0; i < definition.size(); ++i) {
      if (repetition[i] == 0) ++row_;
      if (row_ == 0 || row_ > rows.size()) {
        ThrowBadInput(place_, StrCat(rows.size(), " rows"), "more");
      }
      Json value = definition[i] == column_.most_definition ? std::move(values[next++]) : Json();
      Json& at = At(rows[row_ - 1]);
      if (column_.most_repetition == 0) {
        at = std::move(value);
      } else {
        if (!at.is_array()) at = Json::array();
        if (definition[i] >= column_.list_definition) at.push_back(std::move(value));
      }
    }
  }

  std::string_view file_;
  const ThriftValue& meta_;
  const Column& column_;
  std::string place_;
  std::vector<Json> dictionary_;
  size_t row_ = 0;  // rows begun
};

}  // namespace

std::vector<Row> ReadParquet(std::string_view bytes, const RowFormat&, std::string_view place) {
  constexpr std::string_view kMagic = "PAR1";
  if (bytes.size() < 12 || !bytes.starts_with(kMagic) || !bytes.ends_with(kMagic)) {
    ThrowBadInput(place, "a Parquet file, PAR1 at both ends", "other bytes");
  }
  uint32_t footer = 0;
  std::memcpy(&footer, bytes.data() + bytes.size() - 8, 4);
  if (footer > bytes.size() - 12) ThrowBadInput(place, "a footer inside the file", StrCat(footer));
  std::string_view rest = bytes.substr(bytes.size() - 8 - footer, footer);
  const ThriftValue meta = ReadThriftStruct(rest, place);
  const std::vector<Column> columns = SchemaReader(meta.List(2, place), place).Run();
  const std::string_view pages = bytes.substr(0, bytes.size() - 8 - footer);
  std::vector<Row> rows;
  for (const ThriftValue& group : meta.List(4, place)) {
    const int64_t count = group.Int(3, place);
    // A made-up number of rows must not take the memory; runs store many rows in a few bytes.
    if (count < 0 || rows.size() + static_cast<uint64_t>(count) > 128 * bytes.size()) {
      ThrowBadInput(place, "a row group's number of rows", StrCat(count));
    }
    const std::vector<ThriftValue>& chunks = group.List(1, place);
    if (chunks.size() != columns.size()) {
      ThrowBadInput(place, StrCat(columns.size(), " columns"), StrCat(chunks.size()));
    }
    const size_t first = rows.size();
    rows.resize(first + static_cast<size_t>(count), Row::object());
    for (size_t c = 0; c < columns.size(); ++c) {
      ColumnReader(pages, chunks[c].Struct(3, place), columns[c], place)
          .Run(std::span(rows).subspan(first));
    }
  }
  return rows;
}

}  // namespace qualm
