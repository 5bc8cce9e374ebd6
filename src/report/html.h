// Small pieces of HTML: escaped text, text in both languages, tables, numbers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "analysis/loss_table.h"

namespace qualm {

std::string Escape(std::string_view text);  // for content and quoted attributes; invalid UTF-8 too

// A text in English and Chinese; the page shows one of them. Both are HTML already.
std::string Both(std::string_view en, std::string_view zh);

struct HtmlCell {
  std::string html = {};
  bool is_number = false;       // set to the right
  std::string attributes = {};  // "class=\"iid\" style=\"...\""
};

class HtmlTable {
 public:
  explicit HtmlTable(std::string caption) : caption_(std::move(caption)) {}
  void Header(std::vector<std::string> columns) { header_ = std::move(columns); }
  // The first cell is the row's header. `attributes` go to the row.
  void Row(std::vector<HtmlCell> cells, std::string attributes = "");
  bool empty() const { return rows_.empty(); }
  std::string Html(std::string_view table_class = "") const;

 private:
  std::string caption_;
  std::vector<std::string> header_, rows_;
};

// A field of CSV, quoted where it must be.
std::string CsvField(const std::string& text);

// Numbers for people; "–" for none.
std::string Number(double value, int digits);
std::string Signed(double value, int digits);
std::string PValue(double p);                          // "0.031", "&lt;0.001"
std::string PEquals(std::string_view name, double p);  // "p = 0.031", "p &lt; 0.001"
// "38.62 ± 0.10"; without a deviation only the value.
std::string WithDeviation(double value, double deviation, int digits);
std::string Percent(double share, int digits);

// A loss difference: nats as they are, shares in percentage points.
struct LossUnit {
  double factor = 1;
  int digits = 3;
  std::string en = "nats", zh = "nats";
};
LossUnit UnitOf(bool is_share);
// "+0.123 [+0.100, +0.146]"
std::string WithInterval(const Inference& inference, const LossUnit& unit);

}  // namespace qualm
