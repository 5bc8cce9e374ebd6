// Small pieces of HTML: escaped text, text in both languages, tables, numbers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "analysis/loss_table.h"

namespace qualm {

std::string Escape(std::string_view text);  // for content and quoted attributes

// A text in English and Chinese; the page shows one of them. Both are HTML already.
std::string Both(std::string_view en, std::string_view zh);

// One cell of a table; a number is aligned to the right.
struct HtmlCell {
  std::string html = {};
  bool is_number = false;       // aligned to the right
  std::string attributes = {};  // "class=\"iid\" style=\"...\""
};

// A table of the page, filled row by row.
class HtmlTable {
 public:
  explicit HtmlTable(std::string caption) : caption_(std::move(caption)) {}
  void Header(std::vector<std::string> columns) { header_ = std::move(columns); }
  // The first cell is the header of the row. `attributes` belong to the row.
  void Row(std::vector<HtmlCell> cells, std::string attributes = "");
  bool empty() const { return rows_.empty(); }
  std::string Html(std::string_view table_class = "") const;

 private:
  std::string caption_;
  std::vector<std::string> header_, rows_;
};

// A select field that shows the rows of a table whose data-COLUMN is the chosen name; `label` is
// HTML. Empty for fewer than two names. It belongs into a <form class="filters"
// data-filters="...">.
std::string FilterSelect(std::string_view column, const std::string& label,
                         const std::vector<std::string>& names);

// A field of a CSV file, quoted if it needs to be.
std::string CsvField(const std::string& text);

// Numbers for people; "–" if there is none.
std::string Number(double value, int digits);
std::string Signed(double value, int digits);
std::string PValue(double p);                          // "0.031", "&lt;0.001"
std::string PEquals(std::string_view name, double p);  // "p = 0.031", "p &lt; 0.001"
// "38.62 ± 0.10"; only the value if there is no deviation.
std::string WithDeviation(double value, double deviation, int digits);
std::string Percent(double share, int digits);

// The unit of a loss difference: nats, or percentage points for shares.
struct LossUnit {
  double factor = 1;
  int digits = 3;
  std::string en = "nats", zh = "nats";
};
LossUnit UnitOf(bool is_share);
// "+0.123 [+0.100, +0.146]"
std::string WithInterval(const Inference& inference, const LossUnit& unit);

}  // namespace qualm
