#include "data/xml_rows.h"

#include <algorithm>
#include <pugixml.hpp>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

pugi::xml_document ParseXml(std::string_view text, std::string_view place) {
  pugi::xml_document document;
  const pugi::xml_parse_result result = document.load_buffer(text.data(), text.size());
  if (!result) {
    const auto offset =
        std::min(static_cast<size_t>(std::max<ptrdiff_t>(result.offset, 0)), text.size());
    const auto line =
        1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(offset), '\n');
    ThrowBadInput(StrCat(place, ":", line), "well-formed XML", result.description());
  }
  return document;
}

std::string TextOf(const pugi::xml_node& node) { return node.text().as_string(); }

}  // namespace

std::vector<Row> ReadXml(std::string_view text, const RowFormat& format, std::string_view place) {
  if (format.records.empty()) ThrowBadInput(place, "'records', an element's name", "none");
  const pugi::xml_document document = ParseXml(text, place);
  std::vector<Row> rows;
  for (const auto& found :
       document.select_nodes(StrCat("//*[name()='", format.records, "']").c_str())) {
    Row row = Row::object();
    for (const pugi::xml_attribute& attribute : found.node().attributes()) {
      row[attribute.name()] = attribute.value();
    }
    for (const pugi::xml_node& child : found.node().children()) {
      if (child.type() == pugi::node_element) row[child.name()] = TextOf(child);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<Row> ReadQa4Mre(std::string_view text, const RowFormat&, std::string_view place) {
  const pugi::xml_document document = ParseXml(text, place);
  std::vector<Row> rows;
  for (const auto& found : document.select_nodes("//reading-test")) {
    const std::string passage = TextOf(found.node().child("doc"));
    for (const auto& question : found.node().select_nodes(".//question")) {
      Json answers = Json::array();
      Row row = {{"document", passage}, {"question", TextOf(question.node().child("q_str"))}};
      for (const pugi::xml_node& answer : question.node().children("answer")) {
        if (std::string_view(answer.attribute("correct").value()) == "Yes") {
          row["right"] = answers.size();
        }
        answers.push_back(TextOf(answer));
      }
      if (!row.contains("right")) {
        ThrowBadInput(place, "a right answer to every question",
                      row["question"].get<std::string>());
      }
      row["answers"] = std::move(answers);
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace qualm
