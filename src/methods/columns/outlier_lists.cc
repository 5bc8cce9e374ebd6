// The outliers of each row, collected in any order of columns and stored as compressed rows.
#include "methods/columns/outlier_lists.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"

namespace qualm {

std::string FloatColumnsNote(const FloatColumns& columns) {
  const auto lowered = std::ranges::count_if(
      columns.value, [](Half value) { return std::abs(ToFloat(value)) == kLargestHalf; });
  if (lowered == 0) return "";
  return StrCat(lowered, " weights of float columns were lowered to ", kLargestHalf);
}

size_t OutlierLists::count() const {
  size_t total = 0;
  for (const auto& row : rows_) total += row.size();
  return total;
}

Outliers OutlierLists::Take() const {
  Outliers outliers;
  outliers.row_start.push_back(0);
  for (std::vector<Entry> row : rows_) {
    // Rounders find outliers in the order of their columns, the artefact stores them sorted.
    std::ranges::sort(row, {}, &Entry::column);
    for (const Entry& entry : row) {
      outliers.column.push_back(entry.column);
      outliers.value.push_back(entry.value);
    }
    outliers.row_start.push_back(static_cast<uint32_t>(outliers.column.size()));
  }
  return outliers;
}

}  // namespace qualm
