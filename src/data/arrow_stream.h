// Rows of an Arrow IPC stream (arrow.apache.org, "Streaming format"), as Hugging Face's library
// keeps data sets on disk (.arrow).
#pragma once

#include <string_view>
#include <vector>

#include "data/rows.h"

namespace qualm {

// Columns of integers, floats, booleans, texts, lists and structs of these, nulls among them.
// Throws bad input for other types, compressed buffers and dictionaries, naming the column.
std::vector<Row> ReadArrowStream(std::string_view bytes, const RowFormat&, std::string_view place);

}  // namespace qualm
