// Rows out of XML documents: one for every element of a name, or QA4MRE's questions.
#include "data/xml_rows.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <pugixml.hpp>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

pugi::xml_document ParseXml(std::string_view text, std::string_view place) {
  pugi::xml_document document;
  const pugi::xml_parse_result result =
      document.load_buffer(text.data(), text.size(), pugi::parse_default, pugi::encoding_utf8);
  if (!result) {
    const auto offset =
        std::min(static_cast<size_t>(std::max<ptrdiff_t>(result.offset, 0)), text.size());
    const auto line =
        1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(offset), '\n');
    ThrowBadInput(StrCat(place, ":", line), "well-formed XML", result.description());
  }
  return document;
}

// Fills a row; of fields with the same name the last one stays. The object itself would look for a
// name among all others.
class FieldSetter {
 public:
  void Set(const std::string& name, std::string text) {
    const auto [at, is_new] = index_.emplace(name, members_.size());
    if (is_new) {
      members_.emplace_back(name, std::move(text));
    } else {
      (members_.begin() + static_cast<ptrdiff_t>(at->second))->second = std::move(text);
    }
  }
  Row Take() { return std::move(members_); }

 private:
  Row::object_t members_;
  std::unordered_map<std::string, size_t> index_;
};

std::string TextOf(const pugi::xml_node& node) { return node.text().as_string(); }

}  // namespace

std::vector<Row> ReadXml(std::string_view text, const RowFormat& format, std::string_view place) {
  if (format.records.empty()) ThrowBadInput(place, "'records', an element's name", "none");
  const pugi::xml_document document = ParseXml(text, place);
  std::vector<Row> rows;
  for (const auto& found :
       document.select_nodes(StrCat("//*[name()='", format.records, "']").c_str())) {
    FieldSetter fields;
    for (const pugi::xml_attribute& attribute : found.node().attributes()) {
      fields.Set(attribute.name(), attribute.value());
    }
    for (const pugi::xml_node& child : found.node().children()) {
      if (child.type() == pugi::node_element) fields.Set(child.name(), TextOf(child));
    }
    rows.push_back(fields.Take());
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
