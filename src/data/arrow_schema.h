// The columns of an Arrow file or stream (Schema.fbs): names, types and dictionaries.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/budget.h"
#include "data/column_values.h"
#include "data/flat_table.h"

namespace qualm {

// Values of the union Type.
enum class ArrowType : uint8_t {
  kNull = 1,
  kInt = 2,
  kFloat = 3,
  kBinary = 4,
  kUtf8 = 5,
  kBool = 6,
  kDecimal = 7,
  kDate = 8,
  kTime = 9,
  kTimestamp = 10,
  kInterval = 11,
  kList = 12,
  kStruct = 13,
  kUnion = 14,
  kFixedBytes = 15,
  kFixedList = 16,
  kMap = 17,
  kDuration = 18,
  kLargeBinary = 19,
  kLargeUtf8 = 20,
  kLargeList = 21,
  kRunEndEncoded = 22,
  kBinaryView = 23,
  kUtf8View = 24,
  kListView = 25,
  kLargeListView = 26,
};

// The indexes that a column has in place of values, and the dictionary that they point into.
struct ArrowIndexes {
  int64_t id = 0;  // of the dictionary
  size_t width = 4;
  bool is_signed = true;
};

struct ArrowField {
  std::string name;
  ArrowType type = ArrowType::kNull;
  size_t width = 0;  // bytes of a value where all have the same number; else 0
  bool is_signed = true;
  TimeUnit unit = TimeUnit::kSecond;
  bool is_utc = false;        // timestamps with a time zone
  int64_t scale = 0;          // decimals
  int interval = 0;           // 0: months, 1: days and milliseconds, 2: months, days, nanoseconds
  uint64_t list_size = 0;     // of lists of fixed size
  bool is_dense = false;      // unions
  std::vector<int> type_ids;  // unions: of each child

  std::optional<ArrowIndexes> dictionary;  // the values are those of a dictionary
  std::vector<ArrowField> children;
};

// Throws bad input for a type that is unknown, since nothing after it could be found, for
// big-endian numbers and for columns that nest deeper than 64.
std::vector<ArrowField> ReadArrowSchema(const FlatTable& schema, Budget& budget,
                                        std::string_view place);

}  // namespace qualm
