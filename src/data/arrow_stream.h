// Rows of Arrow's IPC formats (arrow.apache.org, Columnar.md): streams, as Hugging Face's library
// keeps data sets on disk, and files (also called Feather version 2).
#pragma once

#include <string_view>
#include <vector>

#include "data/rows.h"

namespace qualm {

// All types of the format: structs are objects, lists arrays, maps arrays of {"key", "value"},
// nulls null; for dates, times and decimals see column_values.h. Buffers may be compressed by lz4
// or zstd, columns may have dictionaries. Byte arrays that are not UTF-8 become unreadable values.
// Throws bad input, naming the column, for damaged files and for those that exceed their budget.
std::vector<Row> ReadArrowStream(std::string_view bytes, const RowFormat&, std::string_view place);

}  // namespace qualm
