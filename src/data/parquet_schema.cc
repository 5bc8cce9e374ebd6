// Turns the schema elements of a Parquet footer, a tree written in preorder, into a tree of values.
// Groups that only exist to hold a list (LIST, MAP and their older forms) become list nodes, so
// that their own names do not appear in rows.
#include "data/parquet_schema.h"

#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

constexpr int kMostDepth = 64;

// Fields of SchemaElement in parquet.thrift.
enum Field {
  kType = 1,
  kTypeLength = 2,
  kRepetition = 3,
  kName = 4,
  kChildren = 5,
  kConverted = 6,
  kScale = 7,
  kLogical = 10
};
enum Repetition { kRequired = 0, kOptional = 1, kRepeated = 2 };

// Values of ConvertedType, the older way to say what a column means.
enum Converted {
  kMap = 1,
  kMapKeyValue = 2,
  kList = 3,
  kConvertedDecimal = 5,
  kConvertedDate = 6,
  kTimeMillis = 7,
  kTimeMicros = 8,
  kTimestampMillis = 9,
  kTimestampMicros = 10,
  kUint8 = 11,
  kUint64 = 14,
  kConvertedInterval = 21
};

// Members of the union LogicalType.
enum Logical {
  kLogicalMap = 2,
  kLogicalList = 3,
  kLogicalDecimal = 5,
  kLogicalDate = 6,
  kLogicalTime = 7,
  kLogicalTimestamp = 8,
  kLogicalInteger = 10,
  kLogicalUnknown = 11,
  kLogicalUuid = 14,
  kLogicalFloat16 = 15
};

struct Levels {
  uint8_t definition = 0, repetition = 0;
};

class SchemaReader {
 public:
  SchemaReader(const std::vector<ThriftValue>& elements, Budget& budget, std::string_view place)
      : elements_(elements), budget_(budget), place_(place) {}

  ParquetNode Run() {
    if (elements_.empty()) ThrowBadInput(place_, "a schema", "none");
    ParquetNode root = Content(Next(), Levels(), 0);
    if (root.kind == ParquetNode::Kind::kLeaf) {
      ThrowBadInput(place_, "a schema whose root has columns", "a single value");
    }
    return root;
  }

 private:
  const ThriftValue& Next() {
    if (next_ >= elements_.size()) {
      ThrowBadInput(place_, StrCat("more than ", elements_.size(), " schema elements"), "the end");
    }
    return elements_[next_++];
  }

  // An element with its repetition: optional ones may be null, repeated ones are lists.
  ParquetNode Read(Levels levels, int depth) {
    const ThriftValue& element = Next();
    const int64_t repetition = element.Int(kRepetition, kRequired, place_);

    // Older files have repeated elements without a group around them.
    if (repetition == kRepeated) {
      ParquetNode list;
      list.name = element.Bytes(kName, place_);
      MakeList(list, levels);
      list.children.push_back(Content(element, levels, depth + 1));
      return list;
    }

    if (repetition == kOptional) ++levels.definition;
    ParquetNode node = Content(element, levels, depth);
    node.null_definition = repetition == kOptional ? levels.definition : 0;
    return node;
  }

  // The element without its repetition.
  ParquetNode Content(const ThriftValue& element, Levels levels, int depth) {
    if (depth > kMostDepth) {
      ThrowBadInput(place_, StrCat("columns nested at most ", kMostDepth, " deep"), "more");
    }
    ParquetNode node;
    node.name = element.Bytes(kName, place_);
    if (!IsValidUtf8(node.name)) ThrowBadInput(place_, "names of columns in UTF-8", "other bytes");
    budget_.Charge(sizeof(ParquetNode) + node.name.size());
    if (element.Find(kType) != nullptr) {
      node.leaf = LeafOf(element, levels);
      return node;
    }

    // A group that only holds a list is the list.
    const int64_t children = element.Int(kChildren, 0, place_);
    const bool is_map = IsMap(element);
    if (children == 1 && (is_map || IsList(element)) && NextIsRepeated()) {
      const ThriftValue& repeated = Next();
      MakeList(node, levels);
      node.children.push_back(IsElementItself(node.name, repeated, is_map)
                                  ? Content(repeated, levels, depth + 1)
                                  : Read(levels, depth + 1));
      return node;
    }

    // Any other group is a struct.
    node.kind = ParquetNode::Kind::kStruct;
    std::unordered_set<std::string_view> names;
    for (int64_t i = 0; i < children; ++i) {
      const size_t at = next_;
      node.children.push_back(Read(levels, depth + 1));
      const std::string_view name = elements_[at].Bytes(kName, place_);
      if (!names.insert(name).second) {
        ThrowBadInput(place_, "every column once", StrCat("'", name, "' twice"));
      }
    }
    return node;
  }

  static void MakeList(ParquetNode& node, Levels& levels) {
    node.kind = ParquetNode::Kind::kList;
    node.list_definition = ++levels.definition;
    node.repetition = ++levels.repetition;
  }

  bool NextIsRepeated() const {
    return next_ < elements_.size() &&
           elements_[next_].Int(kRepetition, kRequired, place_) == kRepeated;
  }

  bool HasLogical(const ThriftValue& element, int member) const {
    const ThriftValue* logical = element.Find(kLogical);
    return logical != nullptr && logical->Find(member) != nullptr;
  }
  bool IsMap(const ThriftValue& element) const {
    const int64_t converted = element.Int(kConverted, -1, place_);
    return HasLogical(element, kLogicalMap) || converted == kMap || converted == kMapKeyValue;
  }
  bool IsList(const ThriftValue& element) const {
    return HasLogical(element, kLogicalList) || element.Int(kConverted, -1, place_) == kList;
  }

  // Whether the repeated child of a list is the element, and not a group around it. The names are
  // the specification's rules for older writers.
  bool IsElementItself(const std::string& list, const ThriftValue& repeated, bool is_map) const {
    if (is_map || repeated.Find(kType) != nullptr) return true;
    if (repeated.Int(kChildren, 0, place_) != 1 || NextIsRepeated()) return true;
    const std::string_view name = repeated.Bytes(kName, place_);
    return name == "array" || name == list + "_tuple";
  }

  ParquetLeaf LeafOf(const ThriftValue& element, Levels levels) const {
    ParquetLeaf leaf;
    const int64_t type = element.Int(kType, place_);
    if (type < 0 || type > static_cast<int64_t>(ParquetType::kFixedBytes)) {
      leaf.unreadable = StrCat("a column of the unknown Parquet type ", type);
    } else {
      leaf.type = static_cast<ParquetType>(type);
    }

    // Levels of a value that is there are the highest ones.
    leaf.most_definition = levels.definition;
    leaf.most_repetition = levels.repetition;
    if (leaf.type == ParquetType::kFixedBytes) {
      const int64_t width = element.Int(kTypeLength, 0, place_);
      if (width < 0) ThrowBadInput(place_, "a width of values", StrCat(width));
      leaf.width = static_cast<size_t>(width);
    }

    leaf.scale = element.Int(kScale, 0, place_);
    SetMeaning(element, leaf);
    return leaf;
  }

  // What the value is. A meaning that does not fit the physical type is ignored, as other readers
  // do.
  void SetMeaning(const ThriftValue& element, ParquetLeaf& leaf) const {
    const bool is_int32 = leaf.type == ParquetType::kInt32;
    const bool is_int64 = leaf.type == ParquetType::kInt64;
    const int64_t converted = element.Int(kConverted, -1, place_);
    const auto means = [&](int logical, int64_t first, int64_t last) {
      return HasLogical(element, logical) || (converted >= first && converted <= last);
    };

    // What has one meaning only, and what any physical type may be.
    if (leaf.type == ParquetType::kInt96) {
      leaf.meaning = ParquetMeaning::kTimestamp;
    } else if (HasLogical(element, kLogicalUnknown)) {
      leaf.meaning = ParquetMeaning::kNull;
    } else if (means(kLogicalDecimal, kConvertedDecimal, kConvertedDecimal) &&
               leaf.type != ParquetType::kBoolean && leaf.type != ParquetType::kFloat &&
               leaf.type != ParquetType::kDouble) {
      leaf.meaning = ParquetMeaning::kDecimal;
      if (HasLogical(element, kLogicalDecimal)) {
        leaf.scale = element.Find(kLogical)->Struct(kLogicalDecimal, place_).Int(1, 0, place_);
      }
    } else if (is_int32 && means(kLogicalDate, kConvertedDate, kConvertedDate)) {
      leaf.meaning = ParquetMeaning::kDate;
    } else if ((is_int32 || is_int64) && means(kLogicalTime, kTimeMillis, kTimeMicros)) {
      leaf.meaning = ParquetMeaning::kTime;
      SetUnit(element, kLogicalTime, converted == kTimeMicros, leaf);
    } else if (is_int64 && means(kLogicalTimestamp, kTimestampMillis, kTimestampMicros)) {
      leaf.meaning = ParquetMeaning::kTimestamp;
      SetUnit(element, kLogicalTimestamp, converted == kTimestampMicros, leaf);
    } else if ((is_int32 || is_int64) && IsUnsigned(element, converted)) {
      leaf.meaning = ParquetMeaning::kUnsigned;
    } else if (leaf.type == ParquetType::kFixedBytes) {
      if (HasLogical(element, kLogicalFloat16) && leaf.width == 2) {
        leaf.meaning = ParquetMeaning::kHalf;
      } else if (HasLogical(element, kLogicalUuid) && leaf.width == 16) {
        leaf.meaning = ParquetMeaning::kUuid;
      } else if (converted == kConvertedInterval && leaf.width == 12) {
        leaf.meaning = ParquetMeaning::kInterval;
      }
    }
  }

  bool IsUnsigned(const ThriftValue& element, int64_t converted) const {
    if (!HasLogical(element, kLogicalInteger)) return converted >= kUint8 && converted <= kUint64;
    const ThriftValue& integer = element.Find(kLogical)->Struct(kLogicalInteger, place_);
    return integer.Int(2, 1, place_) == 0;
  }

  // The logical type says more than the converted one: nanoseconds, and whether it is in UTC.
  void SetUnit(const ThriftValue& element, int logical, bool is_micro, ParquetLeaf& leaf) const {
    leaf.unit = is_micro ? TimeUnit::kMicro : TimeUnit::kMilli;
    if (!HasLogical(element, logical)) return;

    const ThriftValue& about = element.Find(kLogical)->Struct(logical, place_);
    leaf.is_utc = about.Int(1, 0, place_) != 0;
    const ThriftValue& unit = about.Struct(2, place_);
    leaf.unit = unit.Find(3) != nullptr   ? TimeUnit::kNano
                : unit.Find(2) != nullptr ? TimeUnit::kMicro
                                          : TimeUnit::kMilli;
  }

  const std::vector<ThriftValue>& elements_;
  Budget& budget_;
  std::string_view place_;
  size_t next_ = 0;
};

}  // namespace

ParquetNode ReadParquetSchema(const std::vector<ThriftValue>& elements, Budget& budget,
                              std::string_view place) {
  return SchemaReader(elements, budget, place).Run();
}

}  // namespace qualm
