// Writes a flat table as a Parquet file (github.com/apache/parquet-format) for other tools to read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace qualm {

// Columns of equal length; every column may have nulls. A column's second use of a name, other
// lengths and texts that are not UTF-8 are refused as bad input that names the column.
class ParquetTable {
 public:
  template <typename T>
  using Values = std::vector<std::optional<T>>;
  struct Column {
    std::string name;
    std::variant<Values<int64_t>, Values<double>, Values<std::string>, Values<bool>> values;
  };

  void AddColumn(std::string name, Values<int64_t> values);
  void AddColumn(std::string name, Values<double> values);  // NaN is written as null
  void AddColumn(std::string name, Values<std::string> values);
  void AddColumn(std::string name, Values<bool> values);

  const std::vector<Column>& columns() const { return columns_; }
  size_t rows() const { return rows_; }

 private:
  void Add(Column column);

  std::vector<Column> columns_;
  size_t rows_ = 0;
};

struct ParquetOptions {
  enum class Codec { kNone = 0, kZstd = 6 } codec = Codec::kZstd;
  size_t group_rows = 1'000'000;  // of a row group, at most; at least 1
};

// The file is there whole or not at all. The same table gives the same bytes. Throws bad input for
// a table without columns, kFailed where it cannot be written.
void WriteParquet(const std::filesystem::path& path, const ParquetTable& table,
                  const ParquetOptions& options = {});

}  // namespace qualm
