// Finds the rows in a JSON document. The shapes are told apart by their content alone, and what
// fits none of them, or two, is an error that says which members there are.
#include "data/json_rows.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "data/text_lines.h"
#include "io/python_json.h"

namespace qualm {
namespace {

using Members = Json::object_t;

Row RequireRow(Json json, std::string_view place) {
  if (!json.is_object()) ThrowBadInput(place, "an object", json.type_name());
  return json;
}

std::vector<Row> RowsOfArray(Json array, std::string_view place) {
  std::vector<Row> rows;
  rows.reserve(array.size());
  for (size_t i = 0; i < array.size(); ++i) {
    rows.push_back(RequireRow(std::move(array[i]), StrCat(place, ": row ", i)));
  }
  return rows;
}

bool IsListOfRows(const Json& value) {
  return value.is_array() && !value.empty() &&
         std::ranges::all_of(value, [](const Json& element) { return element.is_object(); });
}

template <typename Predicate>
bool AllMembers(const Members& members, const Predicate& holds) {
  return !members.empty() &&
         std::ranges::all_of(members, [&](const auto& member) { return holds(member.second); });
}

// Whether every member is an object with the keys 0, 1, 2, ...: pandas' default form of a table.
bool AreNumberedColumns(const Members& members) {
  return AllMembers(members, [](const Json& value) {
    if (!value.is_object() || value.empty()) return false;
    size_t number = 0;
    return std::ranges::all_of(value.get_ref<const Members&>(),
                               [&](const auto& cell) { return cell.first == StrCat(number++); });
  });
}

// Cells by column, `count` in each, to rows.
std::vector<Row> RowsOfColumns(Members& members, std::string_view place) {
  std::vector<Row> rows(members.front().second.size(), Row::object());
  for (auto& [name, column] : members) {
    if (column.size() != rows.size()) {
      ThrowBadInput(place, StrCat(rows.size(), " values in column '", name, "'"),
                    StrCat(column.size()));
    }
    size_t row = 0;
    for (Json& cell : column) rows[row++].get_ref<Members&>().emplace_back(name, std::move(cell));
  }
  return rows;
}

// pandas' orient="split": names once, then lists of cells.
bool IsSplitTable(const Json& json) {
  const auto columns = json.find("columns"), data = json.find("data");
  const auto all_of = [](const Json& list, bool (Json::*is)() const noexcept) {
    return list.is_array() &&
           std::ranges::all_of(list, [&](const Json& one) { return (one.*is)(); });
  };
  return columns != json.end() && data != json.end() && all_of(*columns, &Json::is_string) &&
         !data->empty() && all_of(*data, &Json::is_array);
}

std::vector<Row> RowsOfSplitTable(Json& json, std::string_view place) {
  const Json& columns = json["columns"];
  std::vector<Row> rows;
  for (Json& cells : json["data"]) {
    if (cells.size() != columns.size()) {
      ThrowBadInput(StrCat(place, ": row ", rows.size()), StrCat(columns.size(), " values"),
                    StrCat(cells.size()));
    }

    // A row has its cells in the order of the names.
    rows.emplace_back(Row::object());
    for (size_t i = 0; i < cells.size(); ++i) {
      rows.back().get_ref<Members&>().emplace_back(columns[i].get<std::string>(),
                                                   std::move(cells[i]));
    }
  }
  return rows;
}

std::vector<Row> RowsOfKeyedObjects(Members& members, std::string_view place) {
  std::vector<Row> rows;
  for (auto& [key, value] : members) {
    rows.push_back(RequireRow(std::move(value), StrCat(place, ": ", key)));
    rows.back()["key"] = key;
  }
  return rows;
}

std::vector<Row> RowsOfObject(Json json, std::string_view place) {
  auto& members = json.get_ref<Members&>();
  if (IsSplitTable(json)) return RowsOfSplitTable(json, place);
  if (AreNumberedColumns(members)) return RowsOfColumns(members, place);
  if (AllMembers(members, [](const Json& value) { return value.is_object(); })) {
    return RowsOfKeyedObjects(members, place);
  }

  // One list of objects is the table; other members describe it.
  std::vector<std::string> tables, names;
  for (const auto& [name, value] : members) {
    names.push_back(name);
    if (IsListOfRows(value)) tables.push_back(name);
  }
  if (tables.size() == 1)
    return RowsOfArray(std::move(json[tables[0]]), StrCat(place, ": ", tables[0]));

  // Without one, lists of equal length are the columns.
  const bool are_columns = AllMembers(members, [&](const Json& value) {
    return value.is_array() && value.size() == members.front().second.size();
  });
  if (tables.empty() && are_columns) return RowsOfColumns(members, place);

  names.resize(std::min<size_t>(names.size(), 10));
  ThrowBadInput(
      place, "an array of objects, or an object that holds one such array",
      StrCat(tables.size(), " arrays of objects among its members (", Join(names, ", "), ")"),
      "name the array by `records:` in a data set's YAML");
}

// What is at a dotted path; a member whose name is all of it comes first.
Json AtPath(Json json, const std::string& path, std::string_view place) {
  if (json.is_object() && json.contains(path)) {
    Json rows = std::move(json[path]);
    return rows;
  }
  for (const std::string& key : Split(path, '.')) {
    if (!json.is_object() || !json.contains(key)) {
      ThrowBadInput(place, StrCat("an object with '", key, "'"), json.type_name(),
                    StrCat("rows are at ", path));
    }
    Json child = std::move(json[key]);
    json = std::move(child);
  }
  return json;
}

// Whether another document follows the object at the front of the text.
bool HasSeveralDocuments(std::string_view text) {
  bool is_in_string = false;
  int64_t depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];

    // Brackets inside strings do not count.
    if (is_in_string) {
      if (c == '\\') ++i;
      is_in_string = c != '"';
    } else if (c == '"') {
      is_in_string = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if ((c == '}' || c == ']') && --depth == 0) {
      return !Trim(text.substr(i + 1)).empty();
    }
  }
  return false;
}

}  // namespace

std::vector<Row> ReadJsonRows(std::string_view text, const RowFormat& format,
                              std::string_view place) {
  if (Trim(text).starts_with('{') && HasSeveralDocuments(text)) {
    if (format.records.empty()) return ReadJsonLines(text, format, place);
    ThrowBadInput(place, StrCat("one JSON document with '", format.records, "'"), "several",
                  "a file of lines has its rows at the top");
  }
  Json json = ParsePythonJson(text, place);
  if (!format.records.empty()) json = AtPath(std::move(json), format.records, place);
  if (json.is_object()) return RowsOfObject(std::move(json), place);
  if (!json.is_array()) ThrowBadInput(place, "an array of objects", json.type_name());
  return RowsOfArray(std::move(json), place);
}

std::vector<Row> ReadJsonLines(std::string_view text, const RowFormat& format,
                               std::string_view place) {
  if (Trim(text.substr(0, 4096)).starts_with('[')) return ReadJsonRows(text, format, place);
  std::vector<Row> rows;
  ForJsonLines(text, place, [&](Json json, const std::string& where) {
    rows.push_back(RequireRow(std::move(json), where));
  });
  return rows;
}

}  // namespace qualm
