// The table of row readers, and the readers of plain tables and lines. Text files are brought to
// UTF-8 here, before any reader sees them.
#include "data/rows.h"

#include <algorithm>
#include <span>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "data/arrow_stream.h"
#include "data/benchmark_rows.h"
#include "data/csv.h"
#include "data/json_rows.h"
#include "data/parquet.h"
#include "data/text_encoding.h"
#include "data/text_lines.h"
#include "data/xml_rows.h"
#include "io/file_kind.h"

namespace qualm {
namespace {

constexpr size_t kMostShownColumns = 20;  // in messages

std::vector<Row> RowsOf(std::vector<CsvRecord> records, const RowFormat& format,
                        std::string_view place) {
  std::vector<std::string> names = format.columns;
  size_t first = 0;
  if (names.empty() && !records.empty()) names = std::move(records[first++].fields);

  // Names come from the format or from the first record, each once.
  std::unordered_set<std::string_view> known;
  for (const std::string& name : names) {
    if (known.insert(name).second) continue;
    ThrowBadInput(StrCat(place, ":1"), "a name for every column", StrCat("'", name, "' twice"));
  }

  std::vector<Row> rows;
  for (size_t i = first; i < records.size(); ++i) {
    std::vector<std::string>& fields = records[i].fields;
    if (fields.size() != names.size()) {
      ThrowBadInput(
          StrCat(place, ":", records[i].line), StrCat(names.size(), " fields"),
          StrCat(fields.size()),
          StrCat("columns are ",
                 Join(std::span(names).first(std::min<size_t>(names.size(), kMostShownColumns)),
                      ", ")));
    }
    // Append directly: names are known to differ, so the object need not be searched.
    Row::object_t members;
    members.reserve(names.size());
    for (size_t c = 0; c < names.size(); ++c) members.emplace_back(names[c], std::move(fields[c]));
    rows.emplace_back(std::move(members));
  }
  return rows;
}

std::vector<Row> ReadCsv(std::string_view text, const RowFormat& format, std::string_view place) {
  const char separator = format.columns.empty() ? SeparatorOf(text) : ',';
  return RowsOf(ParseCsv(text, place, separator), format, place);
}

std::vector<Row> ReadQuotedTsv(std::string_view text, const RowFormat& format,
                               std::string_view place) {
  return RowsOf(ParseCsv(text, place, '\t'), format, place);
}

std::vector<Row> ReadTsv(std::string_view text, const RowFormat& format, std::string_view place) {
  return RowsOf(ParseTsv(text), format, place);
}

std::vector<Row> ReadTextLines(std::string_view text, const RowFormat&, std::string_view) {
  std::vector<Row> rows;
  ForLines(text, [&](std::string_view line, size_t number) {
    rows.push_back({{"text", line}, {"line", number - 1}});
  });
  return rows;
}

// How the bytes of a file become what a reader takes.
enum class Content : uint8_t {
  kText,    // UTF-8
  kXml,     // the same, but the text itself may name another encoding
  kBinary,  // the bytes as they are
};

struct RowReader {
  const char* name;
  Content content;
  std::vector<Row> (*read)(std::string_view text, const RowFormat& format, std::string_view place);
};

// ADD A READER: a function from a file's text to rows, and a line here.
constexpr RowReader kReaders[] = {
    {"csv", Content::kText, ReadCsv},
    {"tsv", Content::kText, ReadTsv},
    {"quoted-tsv", Content::kText, ReadQuotedTsv},
    {"json", Content::kText, ReadJsonRows},
    {"jsonl", Content::kText, ReadJsonLines},
    {"lines", Content::kText, ReadTextLines},
    {"trees", Content::kText, ReadTrees},
    {"six-lines", Content::kText, ReadSixLines},
    {"contract-nli", Content::kText, ReadContractNli},
    {"squad", Content::kText, ReadSquad},
    {"bbq", Content::kText, ReadBbq},
    {"multirc", Content::kText, ReadMultiRc},
    {"conll", Content::kText, ReadConll},
    {"xml", Content::kXml, ReadXml},
    {"qa4mre", Content::kXml, ReadQa4Mre},
    {"parquet", Content::kBinary, ReadParquet},
    {"arrow", Content::kBinary, ReadArrowStream},
};

std::vector<Row> ReadDecoded(const RowReader& reader, std::string_view bytes,
                             const RowFormat& format, std::string_view place) {
  if (reader.content == Content::kBinary) return reader.read(bytes, format, place);
  std::string_view encoding = format.encoding;
  if (encoding.empty() && reader.content == Content::kXml) encoding = DeclaredXmlEncoding(bytes);
  std::string storage;
  return reader.read(DecodedText(bytes, encoding, place, storage), format, place);
}

}  // namespace

std::vector<std::string> RowReaderNames() {
  std::vector<std::string> names;
  for (const RowReader& reader : kReaders) names.emplace_back(reader.name);
  return names;
}

std::vector<Row> ReadRows(std::string_view text, const RowFormat& format, std::string_view place) {
  for (const RowReader& reader : kReaders) {
    if (format.reader != reader.name) continue;
    if (IsGitLfsPointer(text)) {
      ThrowBadInput(place, "rows", "a git-lfs pointer to the file", "get the file by git lfs pull");
    }
    std::vector<Row> rows = ReadDecoded(reader, text, format, place);
    if (rows.empty()) ThrowBadInput(place, "at least one row", "none");
    return rows;
  }
  ThrowUnknownName(place, "reader", format.reader, RowReaderNames());
}

Json UnreadableValue(std::string_view reason) {
  return Json::binary(Json::binary_t::container_type(reason.begin(), reason.end()));
}

bool IsUnreadable(const Json& value) { return value.is_binary(); }

std::string DescribeValue(const Json& value) {
  if (!IsUnreadable(value)) return value.type_name();
  const auto& reason = value.get_binary();
  return {reason.begin(), reason.end()};
}

}  // namespace qualm
