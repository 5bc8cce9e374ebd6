// Rows from XML (pugixml reads it; entities of the document's own are not expanded).
#pragma once

#include <string_view>
#include <vector>

#include "data/rows.h"

namespace qualm {

// A row for every element named format.records, wherever it is: its attributes and the texts of its
// children, all as strings (ASDiv: records: Problem).
std::vector<Row> ReadXml(std::string_view text, const RowFormat& format, std::string_view place);
// QA4MRE's test sets: {"document", "question", "answers", "right": index} for every question.
std::vector<Row> ReadQa4Mre(std::string_view text, const RowFormat&, std::string_view place);

}  // namespace qualm
