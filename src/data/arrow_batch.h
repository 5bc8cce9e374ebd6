// The values of one record batch of Arrow, column by column (Columnar.md of the format: which
// buffers a type has and what is in them).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "data/arrow_schema.h"
#include "data/budget.h"
#include "data/codecs.h"
#include "data/flat_table.h"

namespace qualm {

// By the dictionary's id: its values, and the bytes of each that a copy takes.
struct ArrowDictionary {
  std::vector<Json> values;
  std::vector<uint64_t> bytes;
};
using ArrowDictionaries = std::map<int64_t, ArrowDictionary>;

// Reads a batch's columns one after the other: nodes and buffers have no names, so the order is all
// that tells them apart.
class ArrowBatchReader {
 public:
  // All parameters must outlive the reader. `has_union_validity`: of metadata before version 5.
  ArrowBatchReader(const FlatTable& batch, std::string_view body, bool has_union_validity,
                   const ArrowDictionaries& dictionaries, Budget& budget, std::string_view place);

  // The next column; `least`: values that it must have. With `is_dictionary` the field's own values
  // come, not indexes.
  std::vector<Json> Read(const ArrowField& field, size_t least, bool is_dictionary = false);

 private:
  // Whether a value is there: the validity bits, or all of them.
  struct Validity {
    std::string_view bits;
    bool Has(size_t i) const {
      return bits.empty() || (static_cast<uint8_t>(bits[i / 8]) >> (i % 8) & 1) != 0;
    }
  };

  std::string_view Buffer();
  std::string_view Buffer(size_t least, std::string_view what);
  Validity ReadValidity(size_t size, int64_t nulls);
  void ChargeValues(size_t size, const ArrowField& field);
  Json Copy(const Json& value);
  Json TextValue(std::string_view bytes);

  std::vector<Json> Indexes(const ArrowField& field, size_t size, const Validity& valid);
  std::vector<Json> Values(const ArrowField& field, size_t size, const Validity& valid);
  std::vector<Json> Numbers(const ArrowField& field, size_t size, const Validity& valid);
  std::vector<Json> Booleans(size_t size, const Validity& valid);
  std::vector<Json> Texts(size_t size, size_t offset_width, const Validity& valid);
  std::vector<Json> Views(size_t size, const Validity& valid);
  std::vector<Json> Structs(const ArrowField& field, size_t size, const Validity& valid);
  std::vector<Json> Lists(const ArrowField& field, size_t size, size_t offset_width,
                          const Validity& valid);
  std::vector<Json> ListViews(const ArrowField& field, size_t size, size_t offset_width,
                              const Validity& valid);
  std::vector<Json> FixedLists(const ArrowField& field, size_t size, const Validity& valid);
  std::vector<Json> Unions(const ArrowField& field, size_t size);
  std::vector<Json> Runs(const ArrowField& field, size_t size);

  const FlatTable& batch_;
  std::string_view body_;
  bool has_union_validity_;
  const ArrowDictionaries& dictionaries_;
  Budget& budget_;
  std::string place_, file_place_;
  Codec codec_ = Codec::kNone;
  std::deque<std::string> unpacked_;  // buffers that were compressed; views point into them
  uint32_t node_ = 0, buffer_ = 0, variadic_ = 0;
};

}  // namespace qualm
