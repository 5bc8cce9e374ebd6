#include "data/rows.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "data/arrow_stream.h"
#include "data/benchmark_rows.h"
#include "data/csv.h"
#include "data/parquet.h"
#include "data/xml_rows.h"

namespace qualm {
namespace {

std::vector<Row> RowsOf(const std::vector<CsvRecord>& records, const RowFormat& format,
                        std::string_view place) {
  std::vector<Row> rows;
  std::vector<std::string> names = format.columns;
  size_t first = 0;
  if (names.empty() && !records.empty()) names = records[first++].fields;
  for (size_t i = 0; i < names.size(); ++i) {
    if (std::ranges::count(names, names[i]) == 1) continue;
    ThrowBadInput(StrCat(place, ":1"), "a name for every column", StrCat("'", names[i], "' twice"));
  }
  for (size_t i = first; i < records.size(); ++i) {
    if (records[i].fields.size() != names.size()) {
      ThrowBadInput(StrCat(place, ":", records[i].line), StrCat(names.size(), " fields"),
                    StrCat(records[i].fields.size()), StrCat("columns are ", Join(names, ", ")));
    }
    Row row = Row::object();
    for (size_t c = 0; c < names.size(); ++c) row[names[c]] = records[i].fields[c];
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<Row> ReadCsv(std::string_view text, const RowFormat& format, std::string_view place) {
  return RowsOf(ParseCsv(text, place), format, place);
}

std::vector<Row> ReadQuotedTsv(std::string_view text, const RowFormat& format,
                               std::string_view place) {
  return RowsOf(ParseCsv(text, place, '\t'), format, place);
}

std::vector<Row> ReadTsv(std::string_view text, const RowFormat& format, std::string_view place) {
  return RowsOf(ParseTsv(text), format, place);
}

Row RequireRow(Json json, std::string_view place) {
  if (!json.is_object()) ThrowBadInput(place, "an object", json.type_name());
  return json;
}

std::vector<Row> ReadJson(std::string_view text, const RowFormat& format, std::string_view place) {
  Json json = ParseJson(text, place);
  if (!format.records.empty()) {
    for (const std::string& key : Split(format.records, '.')) {
      if (!json.is_object() || !json.contains(key)) {
        ThrowBadInput(place, StrCat("an object with '", key, "'"), json.type_name(),
                      StrCat("rows are at ", format.records));
      }
      Json child = std::move(json[key]);
      json = std::move(child);
    }
  }
  std::vector<Row> rows;
  if (json.is_object()) {
    for (auto& [key, value] : json.items()) {
      rows.push_back(RequireRow(std::move(value), StrCat(place, ": ", key)));
      rows.back()["key"] = key;
    }
    return rows;
  }
  if (!json.is_array()) ThrowBadInput(place, "an array of objects", json.type_name());
  for (size_t i = 0; i < json.size(); ++i) {
    rows.push_back(RequireRow(std::move(json[i]), StrCat(place, ": row ", i)));
  }
  return rows;
}

std::vector<Row> ReadJsonLines(std::string_view text, const RowFormat&, std::string_view place) {
  std::vector<Row> rows;
  ForLines(text, [&](std::string_view line, size_t number) {
    const std::string where = StrCat(place, ":", number);
    rows.push_back(RequireRow(ParseJson(line, where), where));
  });
  return rows;
}

std::vector<Row> ReadTextLines(std::string_view text, const RowFormat&, std::string_view) {
  std::vector<Row> rows;
  ForLines(text, [&](std::string_view line, size_t number) {
    rows.push_back({{"text", line}, {"line", number - 1}});
  });
  return rows;
}

struct RowReader {
  const char* name;
  std::vector<Row> (*read)(std::string_view text, const RowFormat& format, std::string_view place);
};

// ADD A READER: a function from a file's text to rows, and a line here.
constexpr RowReader kReaders[] = {
    {"csv", ReadCsv},
    {"tsv", ReadTsv},
    {"quoted-tsv", ReadQuotedTsv},
    {"json", ReadJson},
    {"jsonl", ReadJsonLines},
    {"lines", ReadTextLines},
    {"trees", ReadTrees},
    {"six-lines", ReadSixLines},
    {"contract-nli", ReadContractNli},
    {"squad", ReadSquad},
    {"bbq", ReadBbq},
    {"multirc", ReadMultiRc},
    {"conll", ReadConll},
    {"xml", ReadXml},
    {"qa4mre", ReadQa4Mre},
    {"parquet", ReadParquet},
    {"arrow", ReadArrowStream},
};

}  // namespace

std::vector<std::string> RowReaderNames() {
  std::vector<std::string> names;
  for (const RowReader& reader : kReaders) names.emplace_back(reader.name);
  return names;
}

std::vector<Row> ReadRows(std::string_view text, const RowFormat& format, std::string_view place) {
  for (const RowReader& reader : kReaders) {
    if (format.reader != reader.name) continue;
    std::vector<Row> rows = reader.read(text, format, place);
    if (rows.empty()) ThrowBadInput(place, "at least one row", "none");
    return rows;
  }
  ThrowUnknownName(place, "reader", format.reader, RowReaderNames());
}

}  // namespace qualm
