// Rows of a Parquet file (github.com/apache/parquet-format), as Hugging Face serves data sets.
#pragma once

#include <string_view>
#include <vector>

#include "data/rows.h"

namespace qualm {

// Every leaf column becomes a value at its path; a column inside one list becomes an array there
// (the names of the list's own levels are left out), so {"choices": {"text": [..], "label": [..]}}.
// Nulls stay null, a null list is empty. Codecs: none, snappy, gzip, zstd; encodings: plain,
// dictionary, run-length; pages of version 1 and 2. Throws bad input for anything else and for
// lists in lists, naming the column.
std::vector<Row> ReadParquet(std::string_view bytes, const RowFormat&, std::string_view place);

}  // namespace qualm
