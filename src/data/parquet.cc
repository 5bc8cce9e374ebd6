// Reads a Parquet file: the footer, then each row group column by column. The cells of a leaf are
// put into the rows at once, following their repetition and definition levels; leaves of one struct
// or list meet in the same objects because they come in the order of the schema.
#include "data/parquet.h"

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "data/parquet_column.h"
#include "data/parquet_schema.h"
#include "data/thrift.h"

namespace qualm {
namespace {

// A node on the way from a column of the row to a leaf.
struct Step {
  const ParquetNode* node;
  size_t ordinal;  // among the fields of the struct above
};
using LeafPath = std::vector<Step>;

// The leaves below a node, in the order of the file. The schema's depth is bounded.
void AddLeaves(const ParquetNode& node, size_t ordinal, LeafPath& path,
               std::vector<LeafPath>& leaves, Budget& budget) {
  path.push_back({&node, ordinal});
  if (node.kind == ParquetNode::Kind::kLeaf) {
    budget.Charge(sizeof(LeafPath) + path.size() * sizeof(Step));
    leaves.push_back(path);
  }
  for (size_t i = 0; i < node.children.size(); ++i) {
    AddLeaves(node.children[i], i, path, leaves, budget);
  }
  path.pop_back();
}

// "choices.label": the names of structs' fields on the way.
std::string PathText(const LeafPath& path) {
  std::string text;
  const ParquetNode* above = nullptr;
  for (const Step& step : path) {
    const bool is_element = above != nullptr && above->kind == ParquetNode::Kind::kList;
    if (!is_element) text += StrCat(text.empty() ? "" : ".", step.node->name);
    above = step.node;
  }
  return text;
}

// Puts the cells of one leaf into rows. Construct it for a leaf and a row group, then call Run().
class LeafPlacer {
 public:
  LeafPlacer(const LeafPath& path, std::span<Row> rows, Budget& budget, std::string_view place)
      : path_(path), rows_(rows), budget_(budget), place_(place) {}

  void Run(ParquetCells& cells) {
    const ParquetLeaf& leaf = path_.back().node->leaf;
    size_t next_value = 0;
    for (size_t i = 0; i < cells.count; ++i) {
      const uint32_t repetition = cells.repetition.empty() ? 0 : cells.repetition[i];
      const uint32_t definition = cells.definition.empty() ? 0 : cells.definition[i];
      if (repetition > leaf.most_repetition || definition > leaf.most_definition) {
        Refuse("levels of the schema", "higher ones");
      }

      Advance(repetition);
      Json* at = Descend(definition);
      if (at != nullptr) *at = std::move(cells.values[next_value++]);
    }

    // A group without enough cells would leave rows without the column.
    if (begun_ != rows_.size()) Refuse(StrCat(rows_.size(), " rows"), StrCat(begun_));
  }

 private:
  [[noreturn]] void Refuse(std::string_view expected, std::string_view got) const {
    ThrowBadInput(place_, expected, got);
  }

  // Moves to the row and to the element of each list that the next cell belongs to.
  void Advance(uint32_t repetition) {
    if (repetition == 0) {
      if (begun_ == rows_.size()) Refuse(StrCat(rows_.size(), " rows"), "more");
      ++begun_;
    } else {
      if (begun_ == 0) Refuse("pages that begin with a row", "an element of a list");
      ++element_[repetition];
    }
    const size_t most = path_.back().node->leaf.most_repetition;
    for (size_t level = repetition + 1; level <= most; ++level) element_[level] = 0;
  }

  // Where a value belongs; null where the cell is a null or an empty list, which is stored here.
  Json* Descend(uint32_t definition) {
    Json* at = Member(rows_[begun_ - 1], path_[0]);
    for (size_t i = 0; i < path_.size(); ++i) {
      const ParquetNode& node = *path_[i].node;

      // A null at this level: nothing of the path below exists.
      if (definition < node.null_definition) {
        if (!at->is_null()) Refuse("columns of one group that agree on nulls", "others");
        return nullptr;
      }
      if (node.kind == ParquetNode::Kind::kLeaf) break;
      if (node.kind == ParquetNode::Kind::kStruct) {
        at = Member(Made(*at, Json::value_t::object), path_[i + 1]);
        continue;
      }

      // A list: the cell belongs to its current element, unless it is empty.
      Json& list = Made(*at, Json::value_t::array);
      if (definition < node.list_definition) return nullptr;
      at = Element(list, element_[node.repetition]);
    }
    return at;
  }

  // A list or an object that an earlier leaf may have made already.
  Json& Made(Json& value, Json::value_t type) {
    if (value.is_null()) {
      budget_.Charge(2 * kValueBytes);
      value = type;
    }
    return value;
  }

  // Fields are appended in the order of the schema, so no search is needed.
  Json* Member(Json& object, const Step& step) {
    auto& members = object.get_ref<Json::object_t&>();
    if (members.size() == step.ordinal) {
      budget_.Charge(kMemberBytes + step.node->name.size());
      members.emplace_back(step.node->name, nullptr);
    }
    if (members.size() <= step.ordinal)
      Refuse("columns of one group that agree on nulls", "others");
    return &(members.begin() + static_cast<ptrdiff_t>(step.ordinal))->second;
  }

  Json* Element(Json& list, size_t index) {
    auto& elements = list.get_ref<Json::array_t&>();
    if (elements.size() == index) {
      budget_.Charge(2 * kValueBytes);
      elements.emplace_back(nullptr);
    }
    if (elements.size() <= index) Refuse("columns of one list that agree on its length", "others");
    return &elements[index];
  }

  const LeafPath& path_;
  std::span<Row> rows_;
  Budget& budget_;
  std::string_view place_;
  size_t begun_ = 0;                      // rows whose first cell was seen
  std::array<size_t, 256> element_ = {};  // by repetition level: where in its list
};

class FileReader {
 public:
  FileReader(std::string_view bytes, std::string_view place)
      : bytes_(bytes), place_(place), budget_(bytes.size(), place) {}

  std::vector<Row> Run() {
    std::string_view footer = Footer();
    pages_ = bytes_.substr(0, static_cast<size_t>(footer.data() - bytes_.data()));
    const ThriftValue meta = ReadThriftStruct(footer, place_, budget_);
    root_ = ReadParquetSchema(meta.List(2, place_), budget_, place_);

    // The leaves of every column, since chunks are stored by leaf.
    for (size_t i = 0; i < root_.children.size(); ++i) {
      fields_.emplace_back();
      LeafPath path;
      AddLeaves(root_.children[i], i, path, fields_.back(), budget_);
    }

    for (const ThriftValue& group : meta.List(4, place_)) ReadGroup(group);
    return std::move(rows_);
  }

 private:
  // The Thrift bytes between the pages and the last eight bytes: its size and the magic.
  std::string_view Footer() const {
    constexpr std::string_view kMagic = "PAR1", kEncryptedMagic = "PARE";
    if (bytes_.ends_with(kEncryptedMagic)) {
      ThrowBadInput(place_, "a Parquet file with a plain footer", "an encrypted one");
    }
    if (bytes_.size() < 12 || !bytes_.starts_with(kMagic) || !bytes_.ends_with(kMagic)) {
      ThrowBadInput(place_, "a Parquet file, PAR1 at both ends", "other bytes");
    }

    // The size is stored before the last magic.
    uint32_t size = 0;
    std::memcpy(&size, bytes_.data() + bytes_.size() - 8, 4);
    if (size > bytes_.size() - 12) {
      ThrowBadInput(place_, StrCat("a footer inside the ", bytes_.size(), " bytes of the file"),
                    StrCat(size, " bytes"));
    }
    return bytes_.substr(bytes_.size() - 8 - size, size);
  }

  void ReadGroup(const ThriftValue& group) {
    const int64_t count = group.Int(3, place_);
    if (count < 0) ThrowBadInput(place_, "a row group's number of rows", StrCat(count));

    // A row group has a chunk for every leaf of the schema, in its order.
    const std::vector<ThriftValue>& chunks = group.List(1, place_);
    size_t leaves = 0;
    for (const std::vector<LeafPath>& field : fields_) leaves += field.size();
    if (chunks.size() != leaves) {
      ThrowBadInput(place_, StrCat(leaves, " columns"), StrCat(chunks.size()));
    }

    budget_.Charge(static_cast<uint64_t>(count), kValueBytes + sizeof(Json::object_t));
    const size_t first = rows_.size();
    rows_.resize(first + static_cast<size_t>(count), Row::object());
    const std::span<Row> rows = std::span(rows_).subspan(first);

    // Column by column; a struct takes as many chunks as it has leaves.
    size_t chunk = 0;
    for (size_t f = 0; f < fields_.size(); ++f) {
      ReadField(std::span(chunks).subspan(chunk, fields_[f].size()), f, rows);
      chunk += fields_[f].size();
    }
  }

  // A column of the rows, all of its leaves.
  void ReadField(std::span<const ThriftValue> chunks, size_t ordinal, std::span<Row> rows) {
    const ParquetNode& field = root_.children[ordinal];
    const std::vector<LeafPath>& leaves = fields_[ordinal];
    for (size_t i = 0; i < leaves.size(); ++i) {
      const std::string place = StrCat(place_, ": column ", PathText(leaves[i]));
      ParquetCells cells =
          ReadParquetColumn(pages_, chunks[i], leaves[i].back().node->leaf, budget_, place);
      if (!cells.unreadable.empty()) {
        SetUnreadable(field, ordinal, cells.unreadable, rows);
        return;
      }

      LeafPlacer(leaves[i], rows, budget_, place).Run(cells);
    }
    // A struct without fields has no leaf, so nothing was placed.
    if (leaves.empty()) {
      budget_.Charge(rows.size(), kMemberBytes + field.name.size());
      for (Row& row : rows) row.get_ref<Json::object_t&>().emplace_back(field.name, Json::object());
    }
  }

  // Of a struct or a list, one leaf that cannot be read makes the whole value unreadable.
  void SetUnreadable(const ParquetNode& field, size_t ordinal, const std::string& reason,
                     std::span<Row> rows) {
    budget_.Charge(rows.size(), kMemberBytes + field.name.size() + reason.size());
    for (Row& row : rows) {
      auto& members = row.get_ref<Json::object_t&>();
      if (members.size() == ordinal) members.emplace_back(field.name, nullptr);
      (members.begin() + static_cast<ptrdiff_t>(ordinal))->second = UnreadableValue(reason);
    }
  }

  std::string_view bytes_, place_, pages_;
  Budget budget_;
  ParquetNode root_;
  std::vector<std::vector<LeafPath>> fields_;  // the leaves of every column of the rows
  std::vector<Row> rows_;
};

}  // namespace

std::vector<Row> ReadParquet(std::string_view bytes, const RowFormat&, std::string_view place) {
  return FileReader(bytes, place).Run();
}

}  // namespace qualm
