// The report of a study: one page, or its numbers as text.
#pragma once

#include <string>

#include "report/sections.h"

namespace qualm {

// A whole page that opens offline. Deterministic: the same results give the same bytes.
std::string HtmlReport(const ReportData& data);
// Summary, guidance and the cells, for reading in a terminal or a repository.
std::string MarkdownReport(const ReportData& data);
// One line for each cell: every number of the page's large table.
std::string CsvReport(const ReportData& data);
// Tables (booktabs) of the cells by recipe, and of the guidance.
std::string LatexReport(const ReportData& data);

}  // namespace qualm
