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
};

// Values of csv, tsv and lines are strings. Readers:
//   csv, tsv, quoted-tsv   the first record names the fields, or format.columns does
//   json           one array of objects, or an object of objects, whose keys become "key"
//   jsonl          an object a line
//   lines          {"text": line, "line": number from 0}, empty lines too
//   trees          Stanford Sentiment Treebank: {"text": tokens joined by blanks, "label": of the
//                  root}
//   contract-nli   {"premise", "hypothesis", "label"} for every document and hypothesis
//   six-lines      HellaSwag as llama.cpp has it: {"context", "label", "endings"} of six lines
std::vector<Row> ReadRows(std::string_view text, const RowFormat& format, std::string_view place);

std::vector<std::string> RowReaderNames();

}  // namespace qualm
