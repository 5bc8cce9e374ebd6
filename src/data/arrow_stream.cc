// Walks the messages of an Arrow stream, or the blocks that a file's footer lists: a schema, then
// dictionaries and record batches, whose values are put into rows.
#include "data/arrow_stream.h"

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "data/arrow_batch.h"
#include "data/arrow_schema.h"
#include "data/flat_table.h"

namespace qualm {
namespace {

// Values of the union MessageHeader.
enum Header { kSchema = 1, kDictionaryBatch = 2, kRecordBatch = 3 };
constexpr std::string_view kFileMagic = "ARROW1";

// Collects what the messages say; they are given in the order of the file.
class RowCollector {
 public:
  RowCollector(Budget& budget, std::string_view place) : budget_(budget), place_(place) {}

  bool has_schema() const { return has_schema_; }
  std::vector<Row> Take() { return std::move(rows_); }

  void AddSchema(const FlatTable& schema) {
    if (has_schema_) ThrowBadInput(place_, "one schema", "a second one");
    has_schema_ = true;
    fields_ = ReadArrowSchema(schema, budget_, place_);
    for (const ArrowField& field : fields_) FindDictionaries(field);
  }

  // `body`: what follows the message.
  void AddMessage(const FlatTable& message, std::string_view body) {
    constexpr int16_t kVersion5 = 4;
    const auto type = message.Scalar<uint8_t>(1, 0);
    const std::optional<FlatTable> header = message.Table(2);
    if (!header) ThrowBadInput(place_, "messages with a header", "one without");
    if (type == kSchema) return AddSchema(*header);
    if (!has_schema_) ThrowBadInput(place_, "a schema before the rows", "none");

    // Before version 5 of the metadata, unions had validity bits.
    has_union_validity_ = message.Scalar<int16_t>(0, 0) < kVersion5;
    if (type == kDictionaryBatch) return AddDictionary(*header, body);
    if (type == kRecordBatch) return AddRows(*header, body);
    ThrowBadInput(place_, "a schema, dictionaries and record batches",
                  StrCat("a message of type ", int{type}));
  }

 private:
  // Several columns may share a dictionary; they have the same type then.
  void FindDictionaries(const ArrowField& field) {
    if (field.dictionary) dictionary_fields_.emplace(field.dictionary->id, &field);
    for (const ArrowField& child : field.children) FindDictionaries(child);
  }

  // Replaces a dictionary, or adds to it where the batch says that it is a delta.
  void AddDictionary(const FlatTable& header, std::string_view body) {
    const auto id = header.Scalar<int64_t>(0, 0);
    const std::optional<FlatTable> batch = header.Table(1);
    const auto field = dictionary_fields_.find(id);
    if (!batch || field == dictionary_fields_.end()) {
      ThrowBadInput(place_, "dictionaries that columns have", StrCat("dictionary ", id));
    }

    ArrowBatchReader reader(*batch, body, has_union_validity_, dictionaries_, budget_, place_);
    std::vector<Json> values = reader.Read(*field->second, 0, /*is_dictionary=*/true);

    // Sizes are kept, since every use of a value is a copy that is charged.
    const bool is_delta = header.Scalar<uint8_t>(2, 0) != 0;
    ArrowDictionary& dictionary = dictionaries_[id];
    if (!is_delta) dictionary = {};
    for (Json& value : values) {
      dictionary.bytes.push_back(DeepBytes(value));
      dictionary.values.push_back(std::move(value));
    }
  }

  void AddRows(const FlatTable& header, std::string_view body) {
    ArrowBatchReader reader(header, body, has_union_validity_, dictionaries_, budget_, place_);
    const auto length = header.Scalar<int64_t>(0, 0);
    if (length < 0) ThrowBadInput(place_, "a number of rows", StrCat(length));
    const auto count = static_cast<size_t>(length);

    // Rows begin as empty objects, to which every column appends its value.
    budget_.Charge(count, kValueBytes + sizeof(Json::object_t));
    const size_t first = rows_.size();
    rows_.resize(first + count, Row::object());

    for (const ArrowField& field : fields_) {
      budget_.Charge(count, kMemberBytes + field.name.size());
      std::vector<Json> values = reader.Read(field, count);
      for (size_t i = 0; i < count; ++i) {
        auto& members = rows_[first + i].get_ref<Json::object_t&>();
        members.emplace_back(field.name, std::move(values[i]));
      }
    }
  }

  Budget& budget_;
  std::string_view place_;
  bool has_schema_ = false, has_union_validity_ = false;
  std::vector<ArrowField> fields_;
  std::map<int64_t, const ArrowField*> dictionary_fields_;
  ArrowDictionaries dictionaries_;
  std::vector<Row> rows_;
};

uint32_t TakeNumber(std::string_view& bytes, std::string_view place) {
  if (bytes.size() < 4) ThrowBadInput(place, "an Arrow stream", "the end inside a message");
  uint32_t value = 0;
  std::memcpy(&value, bytes.data(), 4);
  bytes.remove_prefix(4);
  return value;
}

// Takes one message and its body off the front; false at the end of the stream.
bool TakeMessage(std::string_view& bytes, RowCollector& rows, std::string_view place) {
  constexpr uint32_t kContinuation = 0xffffffff;
  uint32_t size = TakeNumber(bytes, place);
  if (size == kContinuation) size = TakeNumber(bytes, place);
  if (size == 0) return false;

  if (size > bytes.size()) {
    ThrowBadInput(place, "an Arrow stream", "other bytes, or a stream that is cut off");
  }
  const FlatTable message = FlatTable::Root(bytes.substr(0, size), place);
  bytes.remove_prefix(size);

  // The body follows the message; its buffers are given relative to its beginning.
  const auto body = message.Scalar<int64_t>(3, 0);
  if (body < 0 || static_cast<uint64_t>(body) > bytes.size()) {
    ThrowBadInput(place, StrCat("a message's body inside the last ", bytes.size(), " bytes"),
                  StrCat(body, " bytes"));
  }
  rows.AddMessage(message, bytes.substr(0, static_cast<size_t>(body)));
  bytes.remove_prefix(static_cast<size_t>(body));
  return true;
}

// The file format: its footer has the schema, and where dictionaries and batches are.
void ReadFile(std::string_view bytes, RowCollector& rows, std::string_view place) {
  constexpr size_t kTailBytes = 4 + kFileMagic.size();
  if (bytes.size() < 8 + kTailBytes || !bytes.ends_with(kFileMagic)) {
    ThrowBadInput(place, "an Arrow file, ARROW1 at both ends", "a file that is cut off");
  }
  std::string_view tail = bytes.substr(bytes.size() - kTailBytes);
  const uint32_t size = TakeNumber(tail, place);
  if (size > bytes.size() - 8 - kTailBytes) {
    ThrowBadInput(place, StrCat("a footer inside the ", bytes.size(), " bytes of the file"),
                  StrCat(size, " bytes"));
  }

  const FlatTable footer =
      FlatTable::Root(bytes.substr(bytes.size() - kTailBytes - size, size), place);
  const std::optional<FlatTable> schema = footer.Table(1);
  if (!schema) ThrowBadInput(place, "a footer with a schema", "none");
  rows.AddSchema(*schema);

  // All dictionaries first: a batch may use one that the file has after it.
  constexpr int kDictionaries = 2, kRecordBatches = 3;
  constexpr uint64_t kBlockBytes = 24;
  for (int list : {kDictionaries, kRecordBatches}) {
    for (uint32_t i = 0; i < footer.VectorSize(list); ++i) {
      const auto offset = footer.VectorStruct<int64_t>(list, i, kBlockBytes, 0);
      if (offset < 0 || static_cast<uint64_t>(offset) > bytes.size()) {
        ThrowBadInput(place, StrCat("blocks inside the ", bytes.size(), " bytes of the file"),
                      StrCat("a block at ", offset));
      }
      std::string_view rest = bytes.substr(static_cast<size_t>(offset));
      (void)TakeMessage(rest, rows, place);
    }
  }
}

}  // namespace

std::vector<Row> ReadArrowStream(std::string_view bytes, const RowFormat&, std::string_view place) {
  Budget budget(bytes.size(), place);
  RowCollector rows(budget, place);
  if (bytes.starts_with(kFileMagic)) {
    ReadFile(bytes, rows, place);
    return rows.Take();
  }

  while (!bytes.empty() && TakeMessage(bytes, rows, place)) {
  }
  if (!rows.has_schema()) ThrowBadInput(place, "an Arrow stream", "no schema");
  return rows.Take();
}

}  // namespace qualm
