#include "data/arrow_stream.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"
#include "data/flat_table.h"

namespace qualm {
namespace {

// Values of the enumerations in Arrow's Schema.fbs and Message.fbs.
enum Header { kSchema = 1, kDictionary = 2, kRecordBatch = 3 };
enum Type {
  kInt = 2,
  kFloat = 3,
  kUtf8 = 5,
  kBool = 6,
  kList = 12,
  kStruct = 13,
  kLargeUtf8 = 20,
  kLargeList = 21
};

struct Field {
  std::string name;
  int type = 0;
  int bits = 64;  // of integers; of floats by precision
  bool is_signed = true;
  std::vector<Field> children;
};

Field ReadField(const FlatTable& table, int depth, std::string_view place) {
  if (depth > 8) ThrowBadInput(place, "at most 8 levels of lists and structs", "more");
  Field field;
  field.name = table.Text(0);
  field.type = table.Scalar<uint8_t>(2, 0);
  if (table.Table(4)) ThrowBadInput(place, StrCat("no dictionary in column ", field.name), "one");
  const std::optional<FlatTable> about = table.Table(3);
  if (field.type == kInt && about) {
    field.bits = about->Scalar<int32_t>(0, 0);
    field.is_signed = about->Scalar<uint8_t>(1, 0) != 0;
  }
  if (field.type == kFloat && about) {  // half, single, double
    const auto precision = about->Scalar<int16_t>(0, 0);
    field.bits = precision == 1 ? 32 : precision == 2 ? 64 : 16;
  }
  for (uint32_t i = 0; i < table.VectorSize(5); ++i) {
    field.children.push_back(ReadField(table.VectorTable(5, i), depth + 1, place));
  }
  const bool is_known =
      (field.type == kInt &&
       (field.bits == 8 || field.bits == 16 || field.bits == 32 || field.bits == 64)) ||
      (field.type == kFloat && (field.bits == 32 || field.bits == 64)) || field.type == kUtf8 ||
      field.type == kLargeUtf8 || field.type == kBool || field.type == kStruct ||
      ((field.type == kList || field.type == kLargeList) && field.children.size() == 1);
  if (!is_known) {
    ThrowBadInput(place,
                  StrCat("integers, floats, booleans, texts, lists or structs in ", field.name),
                  StrCat("Arrow type ", field.type));
  }
  return field;
}

// One record batch: nodes and buffers are taken in the order of the fields.
class BatchReader {
 public:
  BatchReader(const FlatTable& batch, std::string_view body, std::string_view place)
      : batch_(batch), body_(body), place_(place) {
    if (batch.Table(3)) ThrowBadInput(place, "buffers that are not compressed", "compressed ones");
  }

  // `count`: of values; -1: what the node says.
  std::vector<Json> Read(const Field& field, int64_t count) {
    if (node_ >= batch_.VectorSize(1)) ThrowBadInput(place_, "a node for every column", "fewer");
    const int64_t length = batch_.VectorStruct<int64_t>(1, node_, 16, 0);
    const int64_t nulls = batch_.VectorStruct<int64_t>(1, node_++, 16, 8);
    if (length < 0 || (count >= 0 && length < count) ||
        static_cast<uint64_t>(length) > 8 * body_.size() + 8) {
      ThrowBadInput(place_, StrCat("a length of ", field.name), StrCat(length));
    }
    const auto size = static_cast<size_t>(length);
    const std::string_view valid = Buffer();
    std::vector<Json> values = Values(field, size);
    for (size_t i = 0; i < size && nulls > 0 && !valid.empty(); ++i) {
      if (!Bit(valid, i)) values[i] = nullptr;
    }
    return values;
  }

 private:
  std::string_view Buffer() {
    if (buffer_ >= batch_.VectorSize(2))
      ThrowBadInput(place_, "a buffer for every column", "fewer");
    const int64_t offset = batch_.VectorStruct<int64_t>(2, buffer_, 16, 0);
    const int64_t size = batch_.VectorStruct<int64_t>(2, buffer_++, 16, 8);
    if (offset < 0 || size < 0 || static_cast<uint64_t>(offset) > body_.size() ||
        static_cast<uint64_t>(size) > body_.size() - static_cast<uint64_t>(offset)) {
      ThrowBadInput(place_, "buffers inside the batch", StrCat(offset, " + ", size));
    }
    return body_.substr(static_cast<size_t>(offset), static_cast<size_t>(size));
  }

  bool Bit(std::string_view bits, size_t i) const {
    if (i / 8 >= bits.size()) ThrowBadInput(place_, StrCat(i + 1, " bits"), "fewer");
    return (static_cast<uint8_t>(bits[i / 8]) >> (i % 8) & 1) != 0;
  }

  template <typename T>
  T Number(std::string_view bytes, size_t i) const {
    if (bytes.size() / sizeof(T) <= i) ThrowBadInput(place_, StrCat(i + 1, " values"), "fewer");
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    return value;
  }

  int64_t Offset(std::string_view bytes, size_t i, bool is_large) const {
    return is_large ? Number<int64_t>(bytes, i) : Number<int32_t>(bytes, i);
  }

  Json Integer(const Field& field, std::string_view bytes, size_t i) const {
    switch (field.bits) {
      case 8:
        return field.is_signed ? Json(Number<int8_t>(bytes, i)) : Json(Number<uint8_t>(bytes, i));
      case 16:
        return field.is_signed ? Json(Number<int16_t>(bytes, i)) : Json(Number<uint16_t>(bytes, i));
      case 32:
        return field.is_signed ? Json(Number<int32_t>(bytes, i)) : Json(Number<uint32_t>(bytes, i));
      default:
        return field.is_signed ? Json(Number<int64_t>(bytes, i)) : Json(Number<uint64_t>(bytes, i));
    }
  }

  std::vector<Json> Values(const Field& field, size_t size) {
    std::vector<Json> values;
    switch (field.type) {
      case kStruct:
        return Structs(field, size);
      case kList:
      case kLargeList:
        return Lists(field, size);
      case kUtf8:
      case kLargeUtf8:
        return Texts(size, field.type == kLargeUtf8);
      default:
        break;
    }
    const std::string_view bytes = Buffer();
    for (size_t i = 0; i < size; ++i) {
      if (field.type == kBool) {
        values.emplace_back(Bit(bytes, i));
      } else if (field.type == kInt) {
        values.push_back(Integer(field, bytes, i));
      } else {
        values.emplace_back(field.bits == 32 ? Number<float>(bytes, i) : Number<double>(bytes, i));
      }
    }
    return values;
  }

  std::vector<Json> Structs(const Field& field, size_t size) {
    std::vector<Json> values(size, Json::object());
    for (const Field& child : field.children) {
      std::vector<Json> inner = Read(child, static_cast<int64_t>(size));
      for (size_t i = 0; i < size; ++i) values[i][child.name] = std::move(inner[i]);
    }
    return values;
  }

  std::vector<Json> Lists(const Field& field, size_t size) {
    const bool is_large = field.type == kLargeList;
    const std::string_view offsets = Buffer();
    const std::vector<Json> inner = Read(field.children[0], -1);
    std::vector<Json> values;
    for (size_t i = 0; i < size; ++i) {
      const int64_t begin = Offset(offsets, i, is_large), end = Offset(offsets, i + 1, is_large);
      if (begin < 0 || end < begin || static_cast<uint64_t>(end) > inner.size()) {
        ThrowBadInput(place_, StrCat("lists inside ", field.name), StrCat(begin, " to ", end));
      }
      values.emplace_back(Json::array());
      for (int64_t k = begin; k < end; ++k) values.back().push_back(inner[static_cast<size_t>(k)]);
    }
    return values;
  }

  std::vector<Json> Texts(size_t size, bool is_large) {
    const std::string_view offsets = Buffer(), bytes = Buffer();
    std::vector<Json> values;
    for (size_t i = 0; i < size; ++i) {
      const int64_t begin = Offset(offsets, i, is_large), end = Offset(offsets, i + 1, is_large);
      if (begin < 0 || end < begin || static_cast<uint64_t>(end) > bytes.size()) {
        ThrowBadInput(place_, "texts inside the batch", StrCat(begin, " to ", end));
      }
      const std::string_view text =
          bytes.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
      if (!IsValidUtf8(text)) ThrowBadInput(place_, "texts in UTF-8", "other bytes");
      values.emplace_back(text);
    }
    return values;
  }

  const FlatTable& batch_;
  std::string_view body_, place_;
  uint32_t node_ = 0, buffer_ = 0;
};

}  // namespace

std::vector<Row> ReadArrowStream(std::string_view bytes, const RowFormat&, std::string_view place) {
  constexpr std::string_view kFileMagic = "ARROW1";
  if (bytes.starts_with(kFileMagic)) {
    ThrowBadInput(place, "an Arrow stream", "Arrow's file format");
  }
  std::vector<Row> rows;
  std::vector<Field> fields;
  bool has_schema = false;
  const auto number = [&] {
    if (bytes.size() < 4) ThrowBadInput(place, "an Arrow stream", "the end inside a message");
    uint32_t value = 0;
    std::memcpy(&value, bytes.data(), 4);
    bytes.remove_prefix(4);
    return value;
  };
  while (!bytes.empty()) {
    uint32_t size = number();
    if (size == 0xffffffff) size = number();
    if (size == 0) break;  // the end of the stream
    if (size > bytes.size()) ThrowBadInput(place, "an Arrow stream", "other bytes, or a cut one");
    const FlatTable message = FlatTable::Root(bytes.substr(0, size), place);
    bytes.remove_prefix(size);
    const auto body = message.Scalar<int64_t>(3, 0);
    if (body < 0 || static_cast<uint64_t>(body) > bytes.size()) {
      ThrowBadInput(place, "whole messages", "a cut one");
    }
    const auto type = message.Scalar<uint8_t>(1, 0);
    const std::optional<FlatTable> header = message.Table(2);
    if (!header) ThrowBadInput(place, "messages with a header", "none");
    if (type == kSchema) {
      if (header->Scalar<int16_t>(0, 0) != 0)
        ThrowBadInput(place, "little-endian numbers", "others");
      for (uint32_t i = 0; i < header->VectorSize(1); ++i) {
        fields.push_back(ReadField(header->VectorTable(1, i), 0, place));
      }
      has_schema = true;
    } else if (type == kRecordBatch) {
      if (!has_schema) ThrowBadInput(place, "a schema before the rows", "none");
      BatchReader reader(*header, bytes.substr(0, static_cast<size_t>(body)), place);
      const auto length = header->Scalar<int64_t>(0, 0);
      const size_t first = rows.size();
      for (const Field& field : fields) {
        std::vector<Json> values = reader.Read(field, length);
        rows.resize(first + static_cast<size_t>(std::max<int64_t>(length, 0)), Row::object());
        for (size_t i = first; i < rows.size(); ++i) {
          rows[i][field.name] = std::move(values[i - first]);
        }
      }
    } else {
      ThrowBadInput(place, "schema and record batches", StrCat("a message of type ", int{type}));
    }
    bytes.remove_prefix(static_cast<size_t>(body));
  }
  if (!has_schema) ThrowBadInput(place, "an Arrow stream", "no schema");
  return rows;
}

}  // namespace qualm
