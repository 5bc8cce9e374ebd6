// Turns text, numbers and tables into HTML. Numbers that do not exist (NaN) become a dash, never a
// zero.
#include "report/html.h"

#include <cmath>

#include "base/strings.h"

namespace qualm {

std::string Escape(std::string_view text) {
  std::string out;
  const bool is_valid = IsValidUtf8(text);
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        // Control characters are not allowed in HTML, and bytes that are not UTF-8 would spoil the
        // page. Both become the replacement character.
        if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') ||
            (!is_valid && static_cast<unsigned char>(c) >= 0x80)) {
          out += "\xEF\xBF\xBD";
        } else {
          out += c;
        }
    }
  }
  return out;
}

std::string CsvField(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;

  std::string quoted = "\"";
  for (char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string Both(std::string_view en, std::string_view zh) {
  // Numbers and names are the same in both languages.
  if (en == zh) return std::string(en);
  return StrCat("<span lang=\"en\">", en, "</span><span lang=\"zh\">", zh, "</span>");
}

// The first cell heads its row. A number is set to the right unless the caller styles the cell.
void HtmlTable::Row(std::vector<HtmlCell> cells, std::string attributes) {
  std::string row = StrCat("<tr", attributes.empty() ? "" : " ", attributes, ">");
  for (size_t i = 0; i < cells.size(); ++i) {
    const HtmlCell& cell = cells[i];
    // A screen reader announces the first cell with every other cell of the row.
    const char* tag = i == 0 ? "th scope=\"row\"" : "td";
    row += StrCat("<", tag, cell.attributes.empty() ? "" : " ", cell.attributes,
                  cell.is_number && cell.attributes.empty() ? " class=\"n\"" : "", ">", cell.html,
                  i == 0 ? "</th>" : "</td>");
  }
  rows_.push_back(row + "</tr>\n");
}

std::string HtmlTable::Html(std::string_view table_class) const {
  std::string html = StrCat("<div class=\"scroll\" tabindex=\"0\"><table",
                            table_class.empty() ? "" : StrCat(" class=\"", table_class, "\""),
                            ">\n<caption>", caption_, "</caption>\n<thead><tr>");
  // The frame around the table makes wide tables scroll, also by keyboard.
  for (const std::string& column : header_) html += StrCat("<th scope=\"col\">", column, "</th>");
  html += "</tr></thead>\n<tbody>\n";
  for (const std::string& row : rows_) html += row;
  return html + "</tbody></table></div>\n";
}

std::string FilterSelect(std::string_view column, const std::string& label,
                         const std::vector<std::string>& names) {
  if (names.size() < 2) return "";  // nothing to choose
  std::string options = "<option value=\"\" data-en=\"all\" data-zh=\"全部\">all</option>";
  for (const std::string& name : names) options += StrCat("<option>", Escape(name), "</option>");
  return StrCat("<label>", label, " <select data-filter=\"", column, "\">", options,
                "</select></label>\n");
}

std::string Number(double value, int digits) {
  return std::isfinite(value) ? Fixed(value, digits) : "–";
}

std::string Signed(double value, int digits) {
  if (!std::isfinite(value)) return "–";
  const std::string text = Fixed(std::abs(value), digits);

  // A value that rounds to zero gets no sign.
  const bool is_zero = text.find_first_not_of("0.") == std::string::npos;
  const char* sign = value > 0 ? "+" : "−";
  if (is_zero) sign = "";
  return StrCat(sign, text);
}

std::string PValue(double p) {
  if (!std::isfinite(p)) return "–";
  return p < 0.001 ? "&lt;0.001" : Fixed(p, 3);
}

std::string PEquals(std::string_view name, double p) {
  return p < 0.001 ? StrCat(name, " &lt; 0.001") : StrCat(name, " = ", PValue(p));
}

std::string WithDeviation(double value, double deviation, int digits) {
  if (!std::isfinite(deviation)) return Number(value, digits);
  return StrCat(Number(value, digits), " ± ", Number(deviation, digits));
}

std::string Percent(double share, int digits) {
  return std::isfinite(share) ? StrCat(Fixed(100 * share, digits), " %") : "–";
}

LossUnit UnitOf(bool is_share) {
  if (is_share) return {100, 1, "percentage points", "百分点"};
  return {};
}

std::string WithInterval(const Inference& inference, const LossUnit& unit) {
  return StrCat(Signed(unit.factor * inference.value, unit.digits), " [",
                Signed(unit.factor * inference.low, unit.digits), ", ",
                Signed(unit.factor * inference.high, unit.digits), "]");
}

}  // namespace qualm
