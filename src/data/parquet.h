// Rows of a Parquet file (github.com/apache/parquet-format), as Hugging Face serves data sets.
#pragma once

#include <string_view>
#include <vector>

#include "data/rows.h"

namespace qualm {

// Every column becomes a value of the row: structs are objects, lists are arrays (the names of the
// groups that make a list are left out), maps are arrays of {"key", "value"}, nulls are null.
// Texts, integers, floats and booleans are themselves; for dates, times and decimals see
// column_values.h. Codecs: none, snappy, gzip, brotli, zstd, lz4 in both framings. Encodings: all
// of the format. Pages: version 1 and 2. What is not read (LZO, encrypted columns) and byte arrays
// that are not UTF-8 become unreadable values. Throws bad input, naming the column, for damaged
// files and for files that unpack to more than their budget.
std::vector<Row> ReadParquet(std::string_view bytes, const RowFormat&, std::string_view place);

}  // namespace qualm
