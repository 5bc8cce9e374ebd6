// Each reader turns the text of a file into rows, and names the place of what it cannot read.
// The formats are those in which the benchmarks' authors publish their files.
#include "data/benchmark_rows.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "data/text_lines.h"

namespace qualm {
namespace {

const Json& ArrayOf(const Json& json, const char* key, std::string_view place) {
  const Json& array = GetChild(json, key, place);
  if (!array.is_array()) ThrowBadInput(place, StrCat("a list in '", key, "'"), array.type_name());
  return array;
}

// Of a row of BBQ: the answer of the group that the stereotype is about; -1: not told.
int StereotypedAnswer(const Json& row, std::string_view place) {
  const Json& metadata = GetChild(row, "additional_metadata", place);
  std::vector<std::string> groups;
  for (const Json& group : ArrayOf(metadata, "stereotyped_groups", place)) {
    if (group.is_string()) groups.push_back(ToLower(group.get<std::string>()));
  }
  int found = -1;
  for (int i = 0; i < 3; ++i) {
    const std::string key = StrCat("ans", i);
    bool is_target = false;
    for (const Json& name : ArrayOf(GetChild(row, "answer_info", place), key.c_str(), place)) {
      if (!name.is_string()) continue;
      const std::string lower = ToLower(name.get<std::string>());
      is_target |= std::ranges::find(groups, lower) != groups.end();
    }
    if (!is_target) continue;
    if (found >= 0) return -1;
    found = i;
  }
  return found;
}

bool IsUnknownAnswer(const Json& row, int i, std::string_view place) {
  const std::string key = StrCat("ans", i);
  const Json& info = ArrayOf(GetChild(row, "answer_info", place), key.c_str(), place);
  return info.size() > 1 && info[1] == "unknown";
}

// "\/" stands for a slash.
std::string WithoutEscapedSlashes(std::string_view token) {
  std::string text;
  for (size_t i = 0; i < token.size(); ++i) {
    if (!token.substr(i).starts_with("\\/")) text += token[i];
  }
  return text;
}

// "B-person" is of type PER if the type's name begins like it, letters' size apart.
std::string TypeOf(std::string_view tag, const std::vector<std::string>& types) {
  const std::string name = ToLower(tag.substr(std::min<size_t>(2, tag.size())));
  for (const std::string& type : types) {
    if (name.starts_with(ToLower(type))) return type;
  }
  return "";
}

}  // namespace

// "(3 (2 It) (4 good))": a label, then two subtrees or a token. Brackets inside tokens are written
// -LRB- and -RRB-, a slash \/.
std::vector<Row> ReadTrees(std::string_view text, const RowFormat&, std::string_view place) {
  std::vector<Row> rows;
  ForLines(text, [&](std::string_view line, size_t number) {
    const auto refuse = [&](std::string_view got) {
      ThrowBadInput(StrCat(place, ":", number), "a tree like (3 (2 It) (4 good))", got);
    };
    if (line.size() < 2 || line[0] != '(' || line[1] < '0' || line[1] > '4') {
      refuse(line.substr(0, 20));
    }
    int depth = 0;
    std::vector<std::string> tokens;
    for (size_t i = 0; i < line.size();) {
      const char c = line[i];
      if (c == '(') {
        ++depth;
        i += 2;  // the bracket and the label
      } else if (c == ')') {
        if (--depth < 0) refuse("a bracket too many");
        ++i;
      } else if (c == ' ') {
        ++i;
      } else {
        const size_t end = std::min(line.find_first_of(" ()", i), line.size());
        tokens.emplace_back(line.substr(i, end - i));
        i = end;
      }
    }
    if (depth != 0) refuse("a bracket that is not closed");
    for (std::string& token : tokens) {
      if (token == "-LRB-") token = "(";
      if (token == "-RRB-") token = ")";
      token = WithoutEscapedSlashes(token);
    }
    rows.push_back({{"text", Join(tokens, " ")}, {"label", line[1] - '0'}});
  });
  return rows;
}

std::vector<Row> ReadSixLines(std::string_view text, const RowFormat&, std::string_view place) {
  std::vector<std::string> lines;
  ForLines(text, [&](std::string_view line, size_t) { lines.emplace_back(line); });
  if (lines.size() % 6 != 0) {
    ThrowBadInput(place, "six lines a row", StrCat(lines.size(), " lines"));
  }
  std::vector<Row> rows;
  for (size_t i = 0; i < lines.size(); i += 6) {
    const std::string& label = lines[i + 1];
    if (label.size() != 1 || label[0] < '0' || label[0] > '3') {
      ThrowBadInput(StrCat(place, ":", i + 2), "the right ending, 0 to 3", label);
    }
    rows.push_back({{"context", lines[i]},
                    {"label", label[0] - '0'},
                    {"endings", {lines[i + 2], lines[i + 3], lines[i + 4], lines[i + 5]}}});
  }
  return rows;
}

// ContractNLI: a row for every document and hypothesis, {"premise", "hypothesis", "label"}.
std::vector<Row> ReadContractNli(std::string_view text, const RowFormat&, std::string_view place) {
  const Json json = ParseJson(text, place);
  std::vector<Row> rows;
  const Json& labels = GetChild(json, "labels", place);
  for (const Json& document : GetChild(json, "documents", place)) {
    const std::string premise = GetString(document, "text", place);
    const Json& sets = GetChild(document, "annotation_sets", place);
    if (!sets.is_array() || sets.empty()) ThrowBadInput(place, "annotation sets", "none");
    for (const auto& [key, annotation] : GetChild(sets[0], "annotations", place).items()) {
      rows.push_back(
          {{"premise", premise},
           {"hypothesis", GetString(GetChild(labels, key.c_str(), place), "hypothesis", place)},
           {"label", GetString(annotation, "choice", place)}});
    }
  }
  return rows;
}

std::vector<Row> ReadSquad(std::string_view text, const RowFormat&, std::string_view place) {
  const Json json = ParseJson(text, place);
  std::vector<Row> rows;
  for (const Json& article : ArrayOf(json, "data", place)) {
    for (const Json& paragraph : ArrayOf(article, "paragraphs", place)) {
      for (const Json& question : ArrayOf(paragraph, "qas", place)) {
        Json answers = Json::array();
        for (const Json& answer : ArrayOf(question, "answers", place)) {
          answers.push_back(GetString(answer, "text", place));
        }
        if (answers.empty()) continue;  // version 2 has questions without one
        rows.push_back({{"id", GetString(question, "id", place)},
                        {"title", article.contains("title") ? article["title"] : Json("")},
                        {"context", GetString(paragraph, "context", place)},
                        {"question", GetString(question, "question", place)},
                        {"answers", std::move(answers)}});
      }
    }
  }
  return rows;
}

std::vector<Row> ReadBbq(std::string_view text, const RowFormat&, std::string_view place) {
  std::vector<Row> rows;
  ForJsonLines(text, place, [&](Json row, const std::string& where) {
    const int target = StereotypedAnswer(row, where);
    const bool is_negative = GetString(row, "question_polarity", where) == "neg";
    for (int i = 0; i < 3; ++i) {
      const bool unknown = IsUnknownAnswer(row, i, where);
      const bool biased = target >= 0 && !unknown && (i == target) == is_negative;
      row[StrCat("role", i)] = unknown ? "unknown" : biased ? "biased" : "other";
    }
    rows.push_back(std::move(row));
  });
  return rows;
}

std::vector<Row> ReadMultiRc(std::string_view text, const RowFormat&, std::string_view place) {
  std::vector<Row> rows;
  ForJsonLines(text, place, [&](const Json& json, const std::string& where) {
    const Json& passage = GetChild(json, "passage", where);
    for (const Json& question : ArrayOf(passage, "questions", where)) {
      for (const Json& answer : ArrayOf(question, "answers", where)) {
        rows.push_back({{"passage", GetString(passage, "text", where)},
                        {"question", GetString(question, "question", where)},
                        {"answer", GetString(answer, "text", where)},
                        {"label", GetChild(answer, "label", where)}});
      }
    }
  });
  return rows;
}

std::vector<Row> ReadConll(std::string_view text, const RowFormat& format, std::string_view place) {
  std::vector<Row> rows;
  std::vector<std::string> words;
  std::vector<std::pair<std::string, std::string>> entities;  // type, words
  bool goes_on = false;
  const auto end_sentence = [&] {
    if (words.empty()) return;
    Row row = {{"text", Join(words, " ")}};
    for (const std::string& type : format.columns) {
      std::vector<std::string> names;
      for (const auto& [of, name] : entities) {
        if (of == type) names.push_back(name);
      }
      row[type] = names.empty() ? "None" : Join(names, ", ");
    }
    rows.push_back(std::move(row));
    words.clear();
    entities.clear();
    goes_on = false;
  };
  ForLines(text, [&](std::string_view line, size_t number) {
    if (Trim(line).empty()) return end_sentence();
    if (line.starts_with("-DOCSTART-")) return;
    const size_t space = line.find_first_of(" \t");
    const size_t last = line.find_last_of(" \t");
    if (space == std::string_view::npos || space == 0) {
      ThrowBadInput(StrCat(place, ":", number), "a token and its tag", line);
    }
    words.emplace_back(line.substr(0, space));
    const std::string_view tag = line.substr(last + 1);
    if (tag == "O") {
      goes_on = false;
      return;
    }
    if (tag.size() < 3 || (tag[0] != 'B' && tag[0] != 'I') || tag[1] != '-') {
      ThrowBadInput(StrCat(place, ":", number), "a tag O, B-TYPE or I-TYPE", tag);
    }
    const std::string type = TypeOf(tag, format.columns);
    if (tag[0] == 'I' && goes_on && entities.back().first == type) {
      entities.back().second += StrCat(" ", words.back());
    } else {
      entities.emplace_back(type, words.back());
    }
    goes_on = true;
  });
  end_sentence();
  return rows;
}

}  // namespace qualm
