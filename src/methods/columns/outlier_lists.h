// Outliers collected while strips of rows are rounded in several threads.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "artefact/grid.h"
#include "artefact/quantized_linear.h"

namespace qualm {

// A remark if weights of float columns had to be lowered to the largest fp16; empty otherwise.
std::string FloatColumnsNote(const FloatColumns& columns);

// Weights that stay in fp16 outside the grid, by row. Threads call Add, each for its own rows; when
// all are done, Take gives the sorted lists of the artefact.
class OutlierLists {
 public:
  explicit OutlierLists(size_t rows) : rows_(rows) {}

  static bool CanHold(float value) { return std::isfinite(ToFloat(HalfFromFloat(value))); }
  // One thread at a time for each row.
  void Add(size_t row, size_t column, float value) {
    rows_[row].push_back({static_cast<uint32_t>(column), HalfFromFloat(value)});
  }
  size_t count() const;
  Outliers Take() const;  // columns sorted

 private:
  struct Entry {
    uint32_t column;
    Half value;
  };
  std::vector<std::vector<Entry>> rows_;
};

}  // namespace qualm
