// What a Parquet file's columns mean: the flat list of schema elements as a tree of values, as the
// specification's LogicalTypes.md says (also its rules for lists of older writers).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/budget.h"
#include "data/column_values.h"
#include "data/thrift.h"

namespace qualm {

enum class ParquetType : uint8_t {
  kBoolean,
  kInt32,
  kInt64,
  kInt96,
  kFloat,
  kDouble,
  kByteArray,
  kFixedBytes
};

// How the bytes of a leaf are read.
enum class ParquetMeaning : uint8_t {
  kPlain,     // as the physical type says; byte arrays are texts
  kUnsigned,  // integers of 32 or 64 bits
  kDecimal,
  kDate,
  kTime,
  kTimestamp,
  kHalf,
  kUuid,
  kInterval,
  kNull,
};

// A column that holds values.
struct ParquetLeaf {
  ParquetType type = ParquetType::kInt32;
  ParquetMeaning meaning = ParquetMeaning::kPlain;
  size_t width = 0;  // kFixedBytes: bytes of a value
  int64_t scale = 0;
  TimeUnit unit = TimeUnit::kMilli;
  bool is_utc = false;
  std::string unreadable;  // why there are no values; empty: it can be read
  // Levels of a value that is there, which the pages' levels are compared with.
  uint8_t most_definition = 0, most_repetition = 0;
};

// A value of a row: a leaf, a struct of named values, or a list of one kind of value. Levels are
// Dremel's: of a cell with definition level d, a node's value is null where d < null_definition;
// a list is empty where d < list_definition, and another element begins at `repetition`.
struct ParquetNode {
  enum class Kind : uint8_t { kLeaf, kStruct, kList } kind = Kind::kLeaf;
  std::string name;
  uint8_t null_definition = 0;
  uint8_t list_definition = 0, repetition = 0;  // kList
  ParquetLeaf leaf;                             // kLeaf
  std::vector<ParquetNode> children;            // kStruct: the fields; kList: the element
};

// The root is a struct with a field for every column. Leaves come in the order of column chunks.
// Throws bad input for a schema that does not end, nests deeper than 64 or names a column twice.
ParquetNode ReadParquetSchema(const std::vector<ThriftValue>& elements, Budget& budget,
                              std::string_view place);

}  // namespace qualm
