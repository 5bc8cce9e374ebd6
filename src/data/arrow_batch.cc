// Turns the buffers of an Arrow record batch into JSON values. Offsets and lengths are untrusted:
// each buffer is checked once for the number of values it must have, and every value that is made
// is charged to the budget, since many columns may share one buffer.
#include "data/arrow_batch.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "tensor/dtype.h"

namespace qualm {
namespace {

constexpr uint64_t kTextBytes = 32;  // of a string besides its characters

template <typename T>
T At(std::string_view bytes, size_t i) {
  T value;
  std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

int64_t SignedAt(std::string_view bytes, size_t i, size_t width) {
  switch (width) {
    case 1:
      return At<int8_t>(bytes, i);
    case 2:
      return At<int16_t>(bytes, i);
    case 4:
      return At<int32_t>(bytes, i);
    default:
      return At<int64_t>(bytes, i);
  }
}

uint64_t UnsignedAt(std::string_view bytes, size_t i, size_t width) {
  switch (width) {
    case 1:
      return At<uint8_t>(bytes, i);
    case 2:
      return At<uint16_t>(bytes, i);
    case 4:
      return At<uint32_t>(bytes, i);
    default:
      return At<uint64_t>(bytes, i);
  }
}

Json FloatAt(std::string_view bytes, size_t i, size_t width) {
  if (width == 2) return ToFloat(Half{At<uint16_t>(bytes, i)});
  return width == 4 ? Json(At<float>(bytes, i)) : Json(At<double>(bytes, i));
}

std::string IntervalText(std::string_view bytes, int kind) {
  const auto first = At<int32_t>(bytes, 0);
  if (kind == 0) return StrCat(first, " months");
  const auto second = At<int32_t>(bytes, 1);
  if (kind == 1) return StrCat(first, " days ", second, " milliseconds");
  return StrCat(first, " months ", second, " days ", At<int64_t>(bytes, 1), " nanoseconds");
}

// A value of a type whose values all have the same width.
Json FixedValue(const ArrowField& field, std::string_view bytes) {
  switch (field.type) {
    case ArrowType::kInt:
      return field.is_signed ? Json(SignedAt(bytes, 0, field.width))
                             : Json(UnsignedAt(bytes, 0, field.width));
    case ArrowType::kFloat:
      return FloatAt(bytes, 0, field.width);
    case ArrowType::kDecimal:
      return DecimalValue(std::string(bytes.rbegin(), bytes.rend()), field.scale);

    // Counts since an epoch, of the unit that the schema says.
    case ArrowType::kDate: {
      constexpr int64_t kMillisecondsPerDay = 86400000;
      const int64_t value = SignedAt(bytes, 0, field.width);
      return field.width == 4 ? DateText(value)
                              : DateText(value / kMillisecondsPerDay -
                                         (value % kMillisecondsPerDay < 0 ? 1 : 0));
    }
    case ArrowType::kTime:
      return TimeText(SignedAt(bytes, 0, field.width), field.unit);
    case ArrowType::kTimestamp:
      return TimestampText(At<int64_t>(bytes, 0), field.unit, field.is_utc);
    case ArrowType::kDuration:
      return At<int64_t>(bytes, 0);

    // What has several parts, and bytes.
    case ArrowType::kInterval:
      return IntervalText(bytes, field.interval);
    default:
      return BytesValue(bytes);
  }
}

}  // namespace

ArrowBatchReader::ArrowBatchReader(const FlatTable& batch, std::string_view body,
                                   bool has_union_validity, const ArrowDictionaries& dictionaries,
                                   Budget& budget, std::string_view place)
    : batch_(batch),
      body_(body),
      has_union_validity_(has_union_validity),
      dictionaries_(dictionaries),
      budget_(budget),
      place_(place),
      file_place_(place) {
  if (const std::optional<FlatTable> compression = batch.Table(3)) {
    const auto codec = compression->Scalar<int8_t>(0, 0);
    if (codec != 0 && codec != 1) {
      ThrowBadInput(place, "buffers compressed by lz4 or zstd",
                    StrCat("the unknown codec ", int{codec}));
    }
    codec_ = codec == 0 ? Codec::kLz4Frame : Codec::kZstd;
  }
}

std::string_view ArrowBatchReader::Buffer() {
  if (buffer_ >= batch_.VectorSize(2)) {
    ThrowBadInput(place_, "a buffer for every column", StrCat(batch_.VectorSize(2), " buffers"));
  }
  const auto offset = batch_.VectorStruct<int64_t>(2, buffer_, 16, 0);
  const auto size = batch_.VectorStruct<int64_t>(2, buffer_++, 16, 8);
  if (offset < 0 || size < 0 || static_cast<uint64_t>(offset) > body_.size() ||
      static_cast<uint64_t>(size) > body_.size() - static_cast<uint64_t>(offset)) {
    ThrowBadInput(place_, StrCat("buffers inside the ", body_.size(), " bytes of the batch"),
                  StrCat(size, " bytes at ", offset));
  }

  const std::string_view stored =
      body_.substr(static_cast<size_t>(offset), static_cast<size_t>(size));
  if (codec_ == Codec::kNone || stored.empty()) return stored;

  // The unpacked size comes first; -1 says that this buffer is stored as it is.
  if (stored.size() < 8) ThrowBadInput(place_, "the size of a compressed buffer", "its end");
  const auto unpacked = At<int64_t>(stored, 0);
  if (unpacked == -1) return stored.substr(8);
  if (unpacked < 0) ThrowBadInput(place_, "the size of a compressed buffer", StrCat(unpacked));
  unpacked_.push_back(
      Unpack(codec_, stored.substr(8), static_cast<uint64_t>(unpacked), budget_, place_));
  return unpacked_.back();
}

std::string_view ArrowBatchReader::Buffer(size_t least, std::string_view what) {
  const std::string_view bytes = Buffer();
  if (bytes.size() < least) {
    ThrowBadInput(place_, StrCat(least, " bytes of ", what), StrCat(bytes.size(), " bytes"));
  }
  return bytes;
}

// Writers leave the bits out where nothing is null.
ArrowBatchReader::Validity ArrowBatchReader::ReadValidity(size_t size, int64_t nulls) {
  const std::string_view bits = Buffer();
  if (nulls == 0 || bits.empty()) return {};
  if (bits.size() < (size + 7) / 8) {
    ThrowBadInput(place_, StrCat(size, " validity bits"), StrCat(bits.size(), " bytes"));
  }
  return {bits};
}

void ArrowBatchReader::ChargeValues(size_t size, const ArrowField& field) {
  // A struct's value holds a name for every field; a list's value a vector.
  uint64_t each = kValueBytes;
  for (const ArrowField& child : field.children) each += kMemberBytes + child.name.size();
  budget_.Charge(size, each);
}

Json ArrowBatchReader::Copy(const Json& value) {
  budget_.Charge(DeepBytes(value));
  return value;
}

Json ArrowBatchReader::TextValue(std::string_view bytes) {
  budget_.Charge(kTextBytes + bytes.size());
  return BytesValue(bytes);
}

std::vector<Json> ArrowBatchReader::Read(const ArrowField& field, size_t least,
                                         bool is_dictionary) {
  place_ = StrCat(file_place_, ": column ", field.name);
  if (node_ >= batch_.VectorSize(1)) {
    ThrowBadInput(place_, "a node for every column", StrCat(batch_.VectorSize(1), " nodes"));
  }

  // The node says how many values there are, so they are charged before any buffer is read.
  const auto length = batch_.VectorStruct<int64_t>(1, node_, 16, 0);
  const auto nulls = batch_.VectorStruct<int64_t>(1, node_++, 16, 8);
  if (length < 0 || static_cast<uint64_t>(length) < least) {
    ThrowBadInput(place_, StrCat("at least ", least, " values"), StrCat(length));
  }
  const auto size = static_cast<size_t>(length);
  ChargeValues(size, field);

  if (field.dictionary && !is_dictionary) {
    return Indexes(field, size, ReadValidity(size, nulls));
  }
  switch (field.type) {
    case ArrowType::kNull:
      return std::vector<Json>(size);
    case ArrowType::kUnion:
      return Unions(field, size);
    case ArrowType::kRunEndEncoded:
      return Runs(field, size);
    default:
      return Values(field, size, ReadValidity(size, nulls));
  }
}

std::vector<Json> ArrowBatchReader::Values(const ArrowField& field, size_t size,
                                           const Validity& valid) {
  switch (field.type) {
    case ArrowType::kBool:
      return Booleans(size, valid);
    case ArrowType::kUtf8:
    case ArrowType::kBinary:
      return Texts(size, 4, valid);
    case ArrowType::kLargeUtf8:
    case ArrowType::kLargeBinary:
      return Texts(size, 8, valid);
    case ArrowType::kUtf8View:
    case ArrowType::kBinaryView:
      return Views(size, valid);

    // Values made of the values of children.
    case ArrowType::kStruct:
      return Structs(field, size, valid);
    case ArrowType::kList:
    case ArrowType::kMap:
      return Lists(field, size, 4, valid);
    case ArrowType::kLargeList:
      return Lists(field, size, 8, valid);
    case ArrowType::kListView:
      return ListViews(field, size, 4, valid);
    case ArrowType::kLargeListView:
      return ListViews(field, size, 8, valid);
    case ArrowType::kFixedList:
      return FixedLists(field, size, valid);

    // All others have a width.
    default:
      return Numbers(field, size, valid);
  }
}

std::vector<Json> ArrowBatchReader::Indexes(const ArrowField& field, size_t size,
                                            const Validity& valid) {
  const size_t width = field.dictionary->width;
  const std::string_view bytes = Buffer(size * width, "indexes");
  const auto found = dictionaries_.find(field.dictionary->id);
  if (found == dictionaries_.end()) {
    if (size == 0) return {};
    ThrowBadInput(place_, StrCat("dictionary ", field.dictionary->id, " before its indexes"),
                  "none");
  }

  // Indexes of nulls mean nothing and are not looked at.
  const ArrowDictionary& dictionary = found->second;
  std::vector<Json> values(size);
  for (size_t i = 0; i < size; ++i) {
    if (!valid.Has(i)) continue;
    // A negative index becomes one that is too large.
    const auto index = field.dictionary->is_signed
                           ? static_cast<uint64_t>(SignedAt(bytes, i, width))
                           : UnsignedAt(bytes, i, width);
    if (index >= dictionary.values.size()) {
      ThrowBadInput(place_, StrCat("an index below ", dictionary.values.size()), StrCat(index));
    }

    budget_.Charge(dictionary.bytes[index]);
    values[i] = dictionary.values[index];
  }
  return values;
}

std::vector<Json> ArrowBatchReader::Numbers(const ArrowField& field, size_t size,
                                            const Validity& valid) {
  const std::string_view bytes = Buffer(size * field.width, "values");
  std::vector<Json> values(size);
  for (size_t i = 0; i < size; ++i) {
    if (!valid.Has(i)) continue;
    values[i] = FixedValue(field, bytes.substr(i * field.width, field.width));
    if (values[i].is_string() || values[i].is_binary()) budget_.Charge(kTextBytes + field.width);
  }
  return values;
}

std::vector<Json> ArrowBatchReader::Booleans(size_t size, const Validity& valid) {
  const Validity bits{Buffer((size + 7) / 8, "booleans")};
  std::vector<Json> values(size);
  for (size_t i = 0; i < size; ++i) {
    if (valid.Has(i)) values[i] = bits.Has(i);
  }
  return values;
}

std::vector<Json> ArrowBatchReader::Texts(size_t size, size_t offset_width, const Validity& valid) {
  const std::string_view offsets =
      Buffer(size == 0 ? 0 : (size + 1) * offset_width, "offsets of texts");
  const std::string_view bytes = Buffer();

  // A text reaches from its offset to the next one.
  std::vector<Json> values(size);
  for (size_t i = 0; i < size; ++i) {
    const int64_t begin = SignedAt(offsets, i, offset_width);
    const int64_t end = SignedAt(offsets, i + 1, offset_width);
    if (begin < 0 || end < begin || static_cast<uint64_t>(end) > bytes.size()) {
      ThrowBadInput(place_, StrCat("texts inside ", bytes.size(), " bytes"),
                    StrCat(begin, " to ", end));
    }
    if (!valid.Has(i)) continue;
    values[i] =
        TextValue(bytes.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
  }
  return values;
}

// 16 bytes each: a size and a short text, or a size, four bytes, a buffer's number and an offset.
std::vector<Json> ArrowBatchReader::Views(size_t size, const Validity& valid) {
  constexpr size_t kViewBytes = 16, kMostInline = 12;
  const std::string_view views = Buffer(size * kViewBytes, "views");
  if (variadic_ >= batch_.VectorSize(4)) {
    ThrowBadInput(place_, "a number of buffers for every column of views", "none");
  }
  const auto count = batch_.VectorStruct<int64_t>(4, variadic_++, sizeof(int64_t), 0);

  std::vector<std::string_view> buffers;
  for (int64_t i = 0; i < count; ++i) buffers.push_back(Buffer());

  std::vector<Json> values(size);
  for (size_t i = 0; i < size; ++i) {
    if (!valid.Has(i)) continue;
    const std::string_view view = views.substr(i * kViewBytes, kViewBytes);
    const auto length = static_cast<size_t>(At<uint32_t>(view, 0));
    if (length <= kMostInline) {
      values[i] = TextValue(view.substr(4, length));
      continue;
    }

    // A long text is in one of the buffers; four bytes of it, which are skipped, are in the view.
    const auto buffer = At<uint32_t>(view, 2), offset = At<uint32_t>(view, 3);
    if (buffer >= buffers.size() || length > buffers[buffer].size() ||
        offset > buffers[buffer].size() - length) {
      ThrowBadInput(place_, StrCat("views into ", buffers.size(), " buffers"),
                    StrCat(length, " bytes at ", offset, " of buffer ", buffer));
    }
    values[i] = TextValue(buffers[buffer].substr(offset, length));
  }
  return values;
}

std::vector<Json> ArrowBatchReader::Structs(const ArrowField& field, size_t size,
                                            const Validity& valid) {
  std::vector<Json> values(size, Json::object());
  for (const ArrowField& child : field.children) {
    std::vector<Json> inner = Read(child, size);
    for (size_t i = 0; i < size; ++i) {
      values[i].get_ref<Json::object_t&>().emplace_back(child.name, std::move(inner[i]));
    }
  }

  // Fields of a null struct have values, too, which mean nothing.
  for (size_t i = 0; i < size; ++i) {
    if (!valid.Has(i)) values[i] = nullptr;
  }
  return values;
}

std::vector<Json> ArrowBatchReader::Lists(const ArrowField& field, size_t size, size_t offset_width,
                                          const Validity& valid) {
  const std::string_view offsets =
      Buffer(size == 0 ? 0 : (size + 1) * offset_width, "offsets of lists");
  std::vector<Json> inner = Read(field.children[0], 0);
  std::vector<Json> values(size);
  for (size_t i = 0; i < size; ++i) {
    const int64_t begin = SignedAt(offsets, i, offset_width);
    const int64_t end = SignedAt(offsets, i + 1, offset_width);
    if (begin < 0 || end < begin || static_cast<uint64_t>(end) > inner.size()) {
      ThrowBadInput(place_, StrCat("lists inside ", inner.size(), " values"),
                    StrCat(begin, " to ", end));
    }

    if (!valid.Has(i)) continue;
    // Each element belongs to one list, as a list begins where the one before ends.
    values[i] = Json::array_t(std::make_move_iterator(inner.begin() + begin),
                              std::make_move_iterator(inner.begin() + end));
  }
  return values;
}

// Lists in any order, which may share elements.
std::vector<Json> ArrowBatchReader::ListViews(const ArrowField& field, size_t size,
                                              size_t offset_width, const Validity& valid) {
  const std::string_view offsets = Buffer(size * offset_width, "offsets of lists");
  const std::string_view sizes = Buffer(size * offset_width, "sizes of lists");

  // Elements are copied, since another list may have them, too.
  const std::vector<Json> inner = Read(field.children[0], 0);
  std::vector<Json> values(size);
  for (size_t i = 0; i < size; ++i) {
    if (!valid.Has(i)) continue;
    const int64_t begin = SignedAt(offsets, i, offset_width);
    const int64_t count = SignedAt(sizes, i, offset_width);
    if (begin < 0 || count < 0 || static_cast<uint64_t>(count) > inner.size() ||
        static_cast<uint64_t>(begin) > inner.size() - static_cast<uint64_t>(count)) {
      ThrowBadInput(place_, StrCat("lists inside ", inner.size(), " values"),
                    StrCat(count, " from ", begin));
    }

    values[i] = Json::array();
    for (int64_t k = 0; k < count; ++k) {
      values[i].push_back(Copy(inner[static_cast<size_t>(begin + k)]));
    }
  }
  return values;
}

std::vector<Json> ArrowBatchReader::FixedLists(const ArrowField& field, size_t size,
                                               const Validity& valid) {
  size_t needed = 0;
  if (__builtin_mul_overflow(size, field.list_size, &needed)) {
    ThrowBadInput(place_, "lists of a sensible size", StrCat(field.list_size));
  }

  // List i has the elements from i times the size on, also where it is null.
  std::vector<Json> inner = Read(field.children[0], needed);
  std::vector<Json> values(size);
  for (size_t i = 0; i < size; ++i) {
    if (!valid.Has(i)) continue;
    const auto begin = inner.begin() + static_cast<ptrdiff_t>(i * field.list_size);
    values[i] =
        Json::array_t(std::make_move_iterator(begin),
                      std::make_move_iterator(begin + static_cast<ptrdiff_t>(field.list_size)));
  }
  return values;
}

// Each value comes from the child that its type id names: at its own index, or at one of a buffer.
std::vector<Json> ArrowBatchReader::Unions(const ArrowField& field, size_t size) {
  if (has_union_validity_) (void)Buffer();
  const std::string_view types = Buffer(size, "type ids");
  const std::string_view offsets =
      field.is_dense ? Buffer(size * sizeof(int32_t), "offsets") : std::string_view();

  // Children of a sparse union are as long as the union itself.
  std::vector<std::vector<Json>> children;
  for (const ArrowField& child : field.children) {
    children.push_back(Read(child, field.is_dense ? 0 : size));
  }

  std::vector<Json> values(size);
  for (size_t i = 0; i < size; ++i) {
    const auto id = std::ranges::find(field.type_ids, int{At<int8_t>(types, i)});
    const auto child = static_cast<size_t>(id - field.type_ids.begin());
    const size_t index = field.is_dense ? At<uint32_t>(offsets, i) : i;
    if (child >= children.size() || index >= children[child].size()) {
      ThrowBadInput(place_, StrCat("values of ", children.size(), " children"),
                    StrCat("value ", index, " of child ", child));
    }

    values[i] = Copy(children[child][index]);
  }
  return values;
}

// Where each run ends, and its value.
std::vector<Json> ArrowBatchReader::Runs(const ArrowField& field, size_t size) {
  const std::vector<Json> ends = Read(field.children[0], 0);
  const std::vector<Json> runs = Read(field.children[1], ends.size());
  std::vector<Json> values;
  for (size_t run = 0; run < ends.size() && values.size() < size; ++run) {
    const uint64_t end = ends[run].is_number_integer() ? ends[run].get<uint64_t>() : 0;
    while (values.size() < std::min<uint64_t>(end, size)) values.push_back(Copy(runs[run]));
  }

  // The last run must reach the end.
  if (values.size() != size) {
    ThrowBadInput(place_, StrCat("runs of ", size, " values"), StrCat(values.size()));
  }
  return values;
}

}  // namespace qualm
