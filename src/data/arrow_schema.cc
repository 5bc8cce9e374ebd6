// Reads the schema message of Arrow. Its tables may point at each other in any way, so every field
// that is made is charged to the budget: a few hundred bytes can describe millions of fields.
#include "data/arrow_schema.h"

#include <unordered_set>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

constexpr int kMostDepth = 64;

// Members of the table Field.
enum Member { kName = 0, kTypeType = 2, kType = 3, kDictionary = 4, kChildren = 5 };

// What the table of a type says; its members differ from type to type.
class TypeReader {
 public:
  TypeReader(std::optional<FlatTable> table, std::string_view place)
      : table_(table), place_(place) {}

  void Read(ArrowField& field) const {
    switch (field.type) {
      case ArrowType::kInt:
        field.width = Bytes(Get<int32_t>(0, 0), {8, 16, 32, 64});
        field.is_signed = Get<uint8_t>(1, 0) != 0;
        break;
      case ArrowType::kFloat:
        field.width = size_t{2} << Enumerator(Get<int16_t>(0, 0), 2);
        break;
      case ArrowType::kDecimal:
        field.scale = Get<int32_t>(1, 0);
        field.width = Bytes(Get<int32_t>(2, 128), {32, 64, 128, 256});
        break;

      // Counts: of days, of parts of a day, since 1970, of no beginning.
      case ArrowType::kDate:
        field.width = Get<int16_t>(0, 1) == 0 ? 4 : 8;  // days or milliseconds
        break;
      case ArrowType::kTime:
        field.unit = Unit(1);
        field.width = Bytes(Get<int32_t>(1, 32), {32, 64});
        break;
      case ArrowType::kTimestamp:
        field.unit = Unit(0);
        field.width = 8;
        field.is_utc = table_ && !table_->Text(1).empty();
        break;
      case ArrowType::kDuration:
        field.width = 8;
        break;
      case ArrowType::kInterval:
        field.interval = Enumerator(Get<int16_t>(0, 0), 2);
        field.width = size_t{4} << field.interval;
        break;

      // Sizes that all values share.
      case ArrowType::kFixedBytes:
        field.width = NotNegative(Get<int32_t>(0, 0));
        break;
      case ArrowType::kFixedList:
        field.list_size = NotNegative(Get<int32_t>(0, 0));
        break;

      // Texts, lists and structs say nothing more; unions say which child has which id.
      case ArrowType::kUnion:
        field.is_dense = Get<int16_t>(0, 0) != 0;
        ReadTypeIds(field);
        break;
      default:
        break;
    }
  }

 private:
  template <typename T>
  T Get(int member, T fallback) const {
    return table_ ? table_->Scalar<T>(member, fallback) : fallback;
  }

  size_t Bytes(int bits, std::initializer_list<int> allowed) const {
    for (int one : allowed) {
      if (bits == one) return static_cast<size_t>(bits) / 8;
    }
    ThrowBadInput(place_, "numbers of 8, 16, 32, 64 bits, or decimals of up to 256",
                  StrCat(bits, " bits"));
  }
  int Enumerator(int value, int most) const {
    if (value < 0 || value > most) ThrowBadInput(place_, StrCat("0 to ", most), StrCat(value));
    return value;
  }
  size_t NotNegative(int32_t value) const {
    if (value < 0) ThrowBadInput(place_, "a width that is not negative", StrCat(value));
    return static_cast<size_t>(value);
  }
  TimeUnit Unit(int16_t fallback) const {
    return static_cast<TimeUnit>(Enumerator(Get<int16_t>(0, fallback), 3));
  }

  // Without a list, the children have 0, 1, 2, ...
  void ReadTypeIds(ArrowField& field) const {
    const uint32_t count = table_ ? table_->VectorSize(1) : 0;
    for (size_t i = 0; i < field.children.size(); ++i) {
      field.type_ids.push_back(
          i < count ? table_->VectorStruct<int32_t>(1, static_cast<uint32_t>(i), sizeof(int32_t), 0)
                    : static_cast<int>(i));
    }
  }

  std::optional<FlatTable> table_;
  std::string_view place_;
};

bool IsListOfOne(ArrowType type) {
  return type == ArrowType::kList || type == ArrowType::kLargeList || type == ArrowType::kMap ||
         type == ArrowType::kFixedList || type == ArrowType::kListView ||
         type == ArrowType::kLargeListView;
}

ArrowField ReadField(const FlatTable& table, int depth, Budget& budget, std::string_view place) {
  if (depth > kMostDepth) {
    ThrowBadInput(place, StrCat("columns nested at most ", kMostDepth, " deep"), "more");
  }
  ArrowField field;
  field.name = table.Text(kName);
  if (!IsValidUtf8(field.name)) ThrowBadInput(place, "names of columns in UTF-8", "other bytes");
  budget.Charge(sizeof(ArrowField) + field.name.size());
  const auto type = table.Scalar<uint8_t>(kTypeType, 0);
  if (type < 1 || type > static_cast<uint8_t>(ArrowType::kLargeListView)) {
    ThrowBadInput(place, "a column of a type that Arrow 1.5 knows",
                  StrCat("type number ", int{type}, " in '", field.name, "'"));
  }
  field.type = static_cast<ArrowType>(type);

  // The children: fields of a struct, the element of a list, members of a union.
  std::unordered_set<std::string> names;
  for (uint32_t i = 0; i < table.VectorSize(kChildren); ++i) {
    field.children.push_back(ReadField(table.VectorTable(kChildren, i), depth + 1, budget, place));
    const std::string& name = field.children.back().name;
    if (field.type == ArrowType::kStruct && !names.insert(name).second) {
      ThrowBadInput(place, "every field of a struct once", StrCat("'", name, "' twice"));
    }
  }

  const size_t needed = IsListOfOne(field.type) ? 1 : 2;
  if ((needed == 1 || field.type == ArrowType::kRunEndEncoded) && field.children.size() != needed) {
    ThrowBadInput(place, StrCat("column '", field.name, "' with ", needed, " children"),
                  StrCat(field.children.size()));
  }

  // What the type and the dictionary say further.
  const std::string column_place = StrCat(place, ": column ", field.name);
  TypeReader(table.Table(kType), column_place).Read(field);
  if (const std::optional<FlatTable> about = table.Table(kDictionary)) {
    field.dictionary.emplace();
    field.dictionary->id = about->Scalar<int64_t>(0, 0);
    if (const std::optional<FlatTable> index = about->Table(1)) {
      ArrowField integer;
      integer.type = ArrowType::kInt;
      TypeReader(index, column_place).Read(integer);
      field.dictionary->width = integer.width;
      field.dictionary->is_signed = integer.is_signed;
    }
  }
  return field;
}

}  // namespace

std::vector<ArrowField> ReadArrowSchema(const FlatTable& schema, Budget& budget,
                                        std::string_view place) {
  if (schema.Scalar<int16_t>(0, 0) != 0) {
    ThrowBadInput(place, "little-endian numbers", "big-endian ones");
  }

  // Names become keys of rows, so each may occur once.
  std::vector<ArrowField> fields;
  std::unordered_set<std::string> names;
  for (uint32_t i = 0; i < schema.VectorSize(1); ++i) {
    fields.push_back(ReadField(schema.VectorTable(1, i), 0, budget, place));
    if (!names.insert(fields.back().name).second) {
      ThrowBadInput(place, "every column once", StrCat("'", fields.back().name, "' twice"));
    }
  }
  return fields;
}

}  // namespace qualm
