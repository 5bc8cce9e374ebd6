#include "data/rows.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "data/csv.h"

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

// Calls body(line, number from 1) for every line; the last one may lack its end.
template <typename Body>
void ForLines(std::string_view text, const Body& body) {
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    body(line, number);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
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

// "(3 (2 It) (4 good))": a label, then two subtrees or a token. Brackets inside tokens are written
// -LRB- and -RRB-, a slash \/.
std::vector<Row> ReadTrees(std::string_view text, const RowFormat&, std::string_view place) {
  std::vector<Row> rows;
  ForLines(text, [&](std::string_view line, size_t number) {
    const auto refuse = [&](std::string_view got) {
      ThrowBadInput(StrCat(place, ":", number), "a tree like (3 (2 It) (4 good))", got);
    };
    if (line.size() < 2 || line[0] != '(' || line[1] < '0' || line[1] > '4') {
      refuse(line.substr(0, 20));
    }
    int depth = 0;
    std::vector<std::string> tokens;
    for (size_t i = 0; i < line.size();) {
      const char c = line[i];
      if (c == '(') {
        ++depth;
        i += 2;  // the bracket and the label
      } else if (c == ')') {
        if (--depth < 0) refuse("a bracket too many");
        ++i;
      } else if (c == ' ') {
        ++i;
      } else {
        const size_t end = std::min(line.find_first_of(" ()", i), line.size());
        tokens.emplace_back(line.substr(i, end - i));
        i = end;
      }
    }
    if (depth != 0) refuse("a bracket that is not closed");
    for (std::string& token : tokens) {
      if (token == "-LRB-") token = "(";
      if (token == "-RRB-") token = ")";
      for (size_t at; (at = token.find("\\/")) != std::string::npos;) token.erase(at, 1);
    }
    rows.push_back({{"text", Join(tokens, " ")}, {"label", line[1] - '0'}});
  });
  return rows;
}

std::vector<Row> ReadSixLines(std::string_view text, const RowFormat&, std::string_view place) {
  std::vector<std::string> lines;
  ForLines(text, [&](std::string_view line, size_t) { lines.emplace_back(line); });
  if (lines.size() % 6 != 0) {
    ThrowBadInput(place, "six lines a row", StrCat(lines.size(), " lines"));
  }
  std::vector<Row> rows;
  for (size_t i = 0; i < lines.size(); i += 6) {
    const std::string& label = lines[i + 1];
    if (label.size() != 1 || label[0] < '0' || label[0] > '3') {
      ThrowBadInput(StrCat(place, ":", i + 2), "the right ending, 0 to 3", label);
    }
    rows.push_back({{"context", lines[i]},
                    {"label", label[0] - '0'},
                    {"endings", {lines[i + 2], lines[i + 3], lines[i + 4], lines[i + 5]}}});
  }
  return rows;
}

// ContractNLI: a row for every document and hypothesis, {"premise", "hypothesis", "label"}.
std::vector<Row> ReadContractNli(std::string_view text, const RowFormat&, std::string_view place) {
  const Json json = ParseJson(text, place);
  std::vector<Row> rows;
  const Json& labels = GetChild(json, "labels", place);
  for (const Json& document : GetChild(json, "documents", place)) {
    const std::string premise = GetString(document, "text", place);
    const Json& sets = GetChild(document, "annotation_sets", place);
    if (!sets.is_array() || sets.empty()) ThrowBadInput(place, "annotation sets", "none");
    for (const auto& [key, annotation] : GetChild(sets[0], "annotations", place).items()) {
      rows.push_back(
          {{"premise", premise},
           {"hypothesis", GetString(GetChild(labels, key.c_str(), place), "hypothesis", place)},
           {"label", GetString(annotation, "choice", place)}});
    }
  }
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
