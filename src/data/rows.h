// Rows of a data set: JSON objects, whatever the file was. Readers are strict: a malformed row
// names file, line and field, and none is left out.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"

namespace qualm {

using Row = Json;  // an object

struct RowFormat {
  std::string reader;                // of RowReaderNames()
  std::vector<std::string> columns;  // csv, tsv without a header: the fields' names
  std::string records;  // json: path of the array, "data.examples"; empty: the file is the array
  std::string encoding = {};  // of a text file, by iconv's or Python's name; empty: UTF-8
};

// Values of csv, tsv and lines are strings. Texts must be UTF-8 once they are converted from
// format.encoding; a byte order mark at the start is left out. Readers:
//   csv            comma-separated; a file that names its fields may also have semicolons, tabs or
//                  vertical bars, whichever its first record has most of
//   tsv            tab-separated; quotes are themselves
//   quoted-tsv     tab-separated, quoted like csv
//   json           rows in one JSON document, see json_rows.h
//   jsonl          an object a line; blank lines are left out
//   lines          {"text": line, "line": number from 0}, empty lines too
//   trees          Stanford Sentiment Treebank: {"text": tokens joined by blanks, "label": of the
//                  root}
//   contract-nli   {"premise", "hypothesis", "label"} for every document and hypothesis
//   six-lines      HellaSwag as llama.cpp has it: {"context", "label", "endings"} of six lines
std::vector<Row> ReadRows(std::string_view text, const RowFormat& format, std::string_view place);

std::vector<std::string> RowReaderNames();

// A value that the file has but that cannot be shown as a text or a number: bytes that are not
// UTF-8, a column whose codec is not read. It stops a row's user only where the value is needed, so
// that a column nobody reads does no harm. `reason` completes "got ...".
Json UnreadableValue(std::string_view reason);
bool IsUnreadable(const Json& value);
// What to say after "got" about a value of the wrong type: the reason, or the type's name.
std::string DescribeValue(const Json& value);

}  // namespace qualm
