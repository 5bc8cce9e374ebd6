// Rows from JSON: one document in any of the shapes that tools write tables in, or a document a
// line.
#pragma once

#include <string_view>
#include <vector>

#include "data/rows.h"

namespace qualm {

// With format.records: what is at that path. Which shape a document has is told by its content:
//   [{...}, {...}]                       rows
//   {"data": [{...}, {...}], ...}        rows, where one member alone is a list of objects
//   {"k": {...}, "l": {...}}             rows; their keys become "key"
//   {"a": [1, 2], "b": [3, 4]}           columns; also {"a": {"0": 1, "1": 2}, ...}, pandas'
//   default
//   {"columns": [...], "data": [[...]]}  pandas' orient="split"
//   several documents                    an object a line, as ReadJsonLines has it
// NaN and Infinity are numbers.
std::vector<Row> ReadJsonRows(std::string_view text, const RowFormat& format,
                              std::string_view place);
// An object a line; blank lines are left out. A text that begins with a bracket is one document.
std::vector<Row> ReadJsonLines(std::string_view text, const RowFormat& format,
                               std::string_view place);

}  // namespace qualm
