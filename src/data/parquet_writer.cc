// Values of each column are cut into pages, with a level for each value that says whether it is
// there. The footer, which is written last, says where the pages begin.
#include "data/parquet_writer.h"

#include <zstd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "data/thrift_writer.h"

namespace qualm {
namespace {

// A page ends when it has one of these. Readers distrust counts that are large for the bytes they
// stand in, and rows that are all alike take almost none: the rows of a page stay few.
constexpr size_t kPageRows = 2048;
constexpr size_t kPageBytes = size_t{1} << 20;
// A page's size has 31 bits.
constexpr size_t kMostTextBytes = size_t{1} << 29;

// The format's numbers.
enum Type { kBoolean = 0, kInt64 = 2, kDouble = 5, kByteArray = 6 };
constexpr int kOptional = 1;
constexpr int kUtf8 = 0;
enum Encoding { kPlain = 0, kRunLength = 3 };

// --- values of the four types: the type's number, and a value's bytes as they stand in a page

constexpr Type TypeOf(int64_t) { return kInt64; }
constexpr Type TypeOf(double) { return kDouble; }
constexpr Type TypeOf(bool) { return kBoolean; }
Type TypeOf(const std::string&) { return kByteArray; }

bool IsNull(const std::optional<double>& value) { return !value || std::isnan(*value); }
template <typename T>
bool IsNull(const std::optional<T>& value) {
  return !value;
}

template <typename T>
void AppendNumber(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}
void AppendValue(std::string& out, int64_t value) { AppendNumber(out, value); }
void AppendValue(std::string& out, double value) { AppendNumber(out, value); }
void AppendValue(std::string& out, const std::string& value) {
  AppendNumber(out, static_cast<uint32_t>(value.size()));
  out += value;
}

void AppendBits(std::string& out, const std::vector<bool>& bits) {
  const size_t begin = out.size();
  out.resize(begin + (bits.size() + 7) / 8, '\0');
  for (size_t i = 0; i < bits.size(); ++i) {
    if (bits[i]) out[begin + i / 8] = static_cast<char>(out[begin + i / 8] | 1 << (i % 8));
  }
}

// Which values are there, as levels of one bit: one run where all are alike, else bits in groups of
// eight.
std::string DefinitionLevels(const std::vector<bool>& is_there) {
  std::string levels;
  if (std::ranges::find(is_there, !is_there[0]) == is_there.end()) {
    AppendVarint(levels, is_there.size() << 1);
    levels.push_back(is_there[0] ? '\1' : '\0');
  } else {
    AppendVarint(levels, (is_there.size() + 7) / 8 << 1 | 1);
    AppendBits(levels, is_there);
  }
  return levels;
}

struct Page {
  std::string bytes;
  size_t rows = 0;
};

// As many of the values as one page takes; there is at least one.
template <typename T>
Page PageOf(std::span<const std::optional<T>> values) {
  std::vector<bool> is_there, bits;
  std::string plain;
  for (const std::optional<T>& value : values) {
    if (is_there.size() == kPageRows || plain.size() >= kPageBytes) break;
    is_there.push_back(!IsNull(value));
    if (IsNull(value)) continue;
    if constexpr (std::is_same_v<T, bool>) {
      bits.push_back(*value);
    } else {
      AppendValue(plain, *value);
    }
  }
  AppendBits(plain, bits);
  const std::string levels = DefinitionLevels(is_there);
  Page page;
  page.rows = is_there.size();
  AppendNumber(page.bytes, static_cast<uint32_t>(levels.size()));
  page.bytes += levels;
  page.bytes += plain;
  return page;
}

// --- the file

// What the footer says of one column of one row group.
struct Chunk {
  int type = 0;
  size_t rows = 0;
  uint64_t begin = 0;  // of the first page's header
  uint64_t unpacked_bytes = 0, packed_bytes = 0;
};
struct Group {
  size_t rows = 0;
  std::vector<Chunk> chunks;  // [columns]
};

class ParquetWriter {
 public:
  ParquetWriter(const std::filesystem::path& path, const ParquetTable& table,
                const ParquetOptions& options)
      : table_(table), options_(options), place_(path.string()), file_(path) {}

  void Run() {
    file_.Write(kMagic);
    for (size_t begin = 0; begin < table_.rows(); begin += options_.group_rows) {
      Group& group = groups_.emplace_back();
      group.rows = std::min(options_.group_rows, table_.rows() - begin);
      for (const ParquetTable::Column& column : table_.columns()) {
        group.chunks.push_back(std::visit(
            [&](const auto& values) { return WriteChunk(std::span(values), begin, group.rows); },
            column.values));
      }
    }
    const std::string footer = Footer();
    file_.Write(footer);
    const auto size = static_cast<uint32_t>(footer.size());
    file_.Write(&size, sizeof(size));
    file_.Write(kMagic);
    file_.Commit();
  }

 private:
  static constexpr std::string_view kMagic = "PAR1";

  template <typename T>
  Chunk WriteChunk(std::span<const std::optional<T>> values, size_t begin, size_t rows) {
    Chunk chunk;
    chunk.type = TypeOf(T());
    chunk.rows = rows;
    chunk.begin = file_.size_bytes();
    std::span<const std::optional<T>> rest = values.subspan(begin, rows);
    while (!rest.empty()) {
      const Page page = PageOf(rest);
      rest = rest.subspan(page.rows);
      chunk.unpacked_bytes += WritePage(page);
    }
    chunk.packed_bytes = file_.size_bytes() - chunk.begin;
    return chunk;
  }

  // How many bytes the page has unpacked, with its header.
  uint64_t WritePage(const Page& page) {
    const std::string packed = Packed(page.bytes);
    ThriftWriter header;
    header.Int32(1, 0);  // a data page, version 1
    header.Int32(2, static_cast<int32_t>(page.bytes.size()));
    header.Int32(3, static_cast<int32_t>(packed.size()));
    header.Begin(5);
    header.Int32(1, static_cast<int32_t>(page.rows));
    header.Int32(2, kPlain);
    header.Int32(3, kRunLength);  // definition levels
    header.Int32(4, kRunLength);  // repetition levels, of which there are none
    header.End();
    header.End();
    file_.Write(header.bytes());
    file_.Write(packed);
    return header.bytes().size() + page.bytes.size();
  }

  std::string Packed(const std::string& bytes) const {
    if (options_.codec == ParquetOptions::Codec::kNone) return bytes;
    std::string packed(ZSTD_compressBound(bytes.size()), '\0');
    const size_t size = ZSTD_compress(packed.data(), packed.size(), bytes.data(), bytes.size(),
                                      ZSTD_CLEVEL_DEFAULT);
    if (ZSTD_isError(size)) ThrowFailed(place_, StrCat("zstd: ", ZSTD_getErrorName(size)));
    packed.resize(size);
    return packed;
  }

  std::string Footer() const {
    using Element = ThriftWriter::Element;
    ThriftWriter out;
    out.Int32(1, 1);  // version
    out.List(2, Element::kStruct, table_.columns().size() + 1);
    WriteSchema(out);
    out.Int64(3, static_cast<int64_t>(table_.rows()));
    out.List(4, Element::kStruct, groups_.size());
    for (const Group& group : groups_) WriteGroup(out, group);
    out.Text(6, "qualm");
    out.End();
    return out.bytes();
  }

  void WriteSchema(ThriftWriter& out) const {
    out.BeginElement();
    out.Text(4, "schema");
    out.Int32(5, static_cast<int32_t>(table_.columns().size()));
    out.End();
    for (const ParquetTable::Column& column : table_.columns()) {
      const bool is_text = std::holds_alternative<ParquetTable::Values<std::string>>(column.values);
      out.BeginElement();
      out.Int32(1,
                std::visit([]<typename T>(const ParquetTable::Values<T>&) { return TypeOf(T()); },
                           column.values));
      out.Int32(3, kOptional);
      out.Text(4, column.name);
      if (is_text) {  // said twice, for readers of before and after version 2.4 of the format
        out.Int32(6, kUtf8);
        out.Begin(10);
        out.Begin(1);
        out.End();
        out.End();
      }
      out.End();
    }
  }

  void WriteGroup(ThriftWriter& out, const Group& group) const {
    using Element = ThriftWriter::Element;
    uint64_t bytes = 0;
    out.BeginElement();
    out.List(1, Element::kStruct, group.chunks.size());
    for (size_t c = 0; c < group.chunks.size(); ++c) {
      const Chunk& chunk = group.chunks[c];
      bytes += chunk.unpacked_bytes;
      out.BeginElement();
      out.Int64(2, static_cast<int64_t>(chunk.begin));
      out.Begin(3);
      out.Int32(1, chunk.type);
      out.List(2, Element::kInt32, 2);
      out.Int32Element(kPlain);
      out.Int32Element(kRunLength);
      out.List(3, Element::kText, 1);
      out.TextElement(table_.columns()[c].name);
      out.Int32(4, static_cast<int32_t>(options_.codec));
      out.Int64(5, static_cast<int64_t>(chunk.rows));
      out.Int64(6, static_cast<int64_t>(chunk.unpacked_bytes));
      out.Int64(7, static_cast<int64_t>(chunk.packed_bytes));
      out.Int64(9, static_cast<int64_t>(chunk.begin));
      out.End();
      out.End();
    }
    out.Int64(2, static_cast<int64_t>(bytes));
    out.Int64(3, static_cast<int64_t>(group.rows));
    out.End();
  }

  const ParquetTable& table_;
  const ParquetOptions& options_;
  std::string place_;
  AtomicFile file_;
  std::vector<Group> groups_;
};

}  // namespace

void ParquetTable::AddColumn(std::string name, Values<int64_t> values) {
  Add({std::move(name), std::move(values)});
}

void ParquetTable::AddColumn(std::string name, Values<double> values) {
  Add({std::move(name), std::move(values)});
}

void ParquetTable::AddColumn(std::string name, Values<std::string> values) {
  for (const std::optional<std::string>& text : values) {
    if (text && text->size() > kMostTextBytes) {
      ThrowBadInput(name, StrCat("texts of at most ", HumanBytes(kMostTextBytes)),
                    HumanBytes(text->size()));
    }
    if (text && !IsValidUtf8(*text)) ThrowBadInput(name, "texts in UTF-8", "other bytes");
  }
  Add({std::move(name), std::move(values)});
}

void ParquetTable::AddColumn(std::string name, Values<bool> values) {
  Add({std::move(name), std::move(values)});
}

void ParquetTable::Add(Column column) {
  const size_t rows = std::visit([](const auto& values) { return values.size(); }, column.values);
  if (column.name.empty() || !IsValidUtf8(column.name)) {
    ThrowBadInput("a table's column", "a name in UTF-8", StrCat("'", column.name, "'"));
  }
  const auto has_its_name = [&](const Column& other) { return other.name == column.name; };
  if (std::ranges::any_of(columns_, has_its_name)) {
    ThrowBadInput(column.name, "columns with different names", "two of this name");
  }
  if (!columns_.empty() && rows != rows_) {
    ThrowBadInput(column.name, StrCat(rows_, " rows, as ", columns_[0].name, " has"), StrCat(rows));
  }
  rows_ = rows;
  columns_.push_back(std::move(column));
}

void WriteParquet(const std::filesystem::path& path, const ParquetTable& table,
                  const ParquetOptions& options) {
  QUALM_CHECK(options.group_rows > 0);
  if (table.columns().empty()) ThrowBadInput(path.string(), "a table with columns", "none");
  ParquetWriter(path, table, options).Run();
}

}  // namespace qualm
