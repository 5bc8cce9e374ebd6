// Tables of text: comma-separated values as RFC 4180 has them, and tab-separated ones without
// quoting.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace qualm {

struct CsvRecord {
  size_t line = 0;  // in the file, of its first character, from 1
  std::vector<std::string> fields;
};

// Records separated by line ends (LF or CRLF); fields may stand in double quotes, where "" is one
// and line ends belong to the field. Empty lines between records are left out; a UTF-8 mark at the
// start is no part of the first field. Throws bad input at a quote that is not closed or has text
// behind it. A quote inside an unquoted field is itself, as spreadsheets read it.
std::vector<CsvRecord> ParseCsv(std::string_view text, std::string_view place,
                                char separator = ',');

// The separator of a table that begins with names: the comma, semicolon, tab or vertical bar of
// which the first record has most outside of quotes; of equal ones the first in this order.
char SeparatorOf(std::string_view text);

// A record a line; every tab separates, quotes are themselves.
std::vector<CsvRecord> ParseTsv(std::string_view text);

}  // namespace qualm
