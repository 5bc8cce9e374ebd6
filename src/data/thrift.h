// Thrift's compact protocol as a tree of values, enough to read the headers of Parquet files.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "data/budget.h"

namespace qualm {

struct ThriftValue {
  enum class Kind { kNone, kInteger, kDouble, kBytes, kList, kStruct } kind = Kind::kNone;
  int64_t integer = 0;  // booleans, too
  double real = 0;
  std::string_view bytes;  // inside the buffer that was read
  std::vector<ThriftValue> list;
  std::map<int, ThriftValue> fields;  // kStruct: by id

  const ThriftValue* Find(int field) const;
  // Of a struct's field; throws bad input at `place` if it is absent (without fallback) or of
  // another kind.
  int64_t Int(int field, std::string_view place) const;
  int64_t Int(int field, int64_t fallback, std::string_view place) const;
  std::string_view Bytes(int field, std::string_view place) const;
  const std::vector<ThriftValue>& List(int field, std::string_view place) const;
  const ThriftValue& Struct(int field, std::string_view place) const;
};

// A struct at the front of `bytes`, which is moved behind it. Throws bad input for what ends too
// early, nests deeper than 32, has an unknown type or a field id beyond 16 bits. The tree is
// charged to the budget: a byte of a list becomes a value of a hundred.
ThriftValue ReadThriftStruct(std::string_view& bytes, std::string_view place, Budget& budget);

}  // namespace qualm
