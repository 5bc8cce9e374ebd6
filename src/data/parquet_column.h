// The cells of one column chunk of a Parquet file: pages unpacked and decoded, not yet put into
// rows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/budget.h"
#include "data/parquet_schema.h"
#include "data/thrift.h"

namespace qualm {

// Cells of a column in the order of the file. A cell whose definition level is the leaf's highest
// has the next one of `values`; the others are nulls or empty lists.
struct ParquetCells {
  size_t count = 0;
  std::vector<uint32_t> repetition, definition;  // empty where the highest level is 0
  std::vector<Json> values;
  std::string unreadable;  // why there are none: a codec or an encoding that is not read
};

// `pages`: the file without its footer; `chunk`: a ColumnChunk of the footer. Throws bad input at
// `place` (which names the column) for damaged pages.
ParquetCells ReadParquetColumn(std::string_view pages, const ThriftValue& chunk,
                               const ParquetLeaf& leaf, Budget& budget, std::string_view place);

}  // namespace qualm
