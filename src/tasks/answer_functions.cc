// Functions of answer filters that change texts or choose among them, and what all functions share.
// Each does what the class of the same name does in lm-evaluation-harness 0.4.13 (lm_eval/filters).
#include "tasks/answer_functions.h"

#include <array>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/strings.h"
#include "io/yaml.h"
#include "metrics/python_text.h"
#include "metrics/words.h"
#include "tasks/template.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

using Function = AnswerFilter::Function;

// Names of labels and the ones that format_span writes for them, in its order.
constexpr std::array<std::pair<const char*, const char*>, 15> kSpanLabels = {{
    {"person", "PER"},
    {"location", "LOC"},
    {"organization", "ORG"},
    {"counties", "LOC"},
    {"places", "LOC"},
    {"people", "PER"},
    {"persons", "PER"},
    {"company", "ORG"},
    {"country", "LOC"},
    {"continent", "LOC"},
    {"time", "DATE"},
    {"date", "DATE"},
    {"per", "PER"},
    {"loc", "LOC"},
    {"org", "ORG"},
}};

// "Person: Ann, Bo $$ Place: none" to "per: ann $ per: bo".
class SpanFormatter {
 public:
  SpanFormatter() : spans_("\\b(PER|LOC|ORG|DATE):\\s*([^$]+)", "the filter format_span") {
    for (const auto& [name, label] : kSpanLabels) {
      labels_.emplace_back(PythonRegex(StrCat("\\b", name, "\\s*:"), "the filter format_span"),
                           StrCat(label, ":"));
    }
  }

  std::string Format(const std::string& given) const {
    std::string text = PythonLower(given);
    for (const auto& [pattern, label] : labels_) text = pattern.ReplaceAll(text, label);
    text = ReplaceAll(std::move(text), "$$", "$");
    while (text.ends_with('$')) text.pop_back();
    text = PythonStrip(ReplaceAll(std::move(text), "\n", "$"));

    std::vector<std::string> entities;
    for (const std::vector<std::string>& span : spans_.FindAll(text)) {
      for (const std::string& part : Split(span[1], ',')) {
        const std::string entity = PythonStrip(part);
        if (PythonLower(entity) == "none") continue;
        entities.push_back(StrCat(PythonLower(span[0]), ": ", entity));
      }
    }
    return Join(entities, " $ ");
  }

 private:
  std::vector<std::pair<PythonRegex, std::string>> labels_;
  PythonRegex spans_;
};

}  // namespace

// --- values

Json ElementsOf(const Json& values, std::string_view place) {
  if (values.is_array()) return values;
  if (!values.is_string()) {
    ThrowBadInput(place, "texts for the next function of a filter", values.dump(),
                  "'map' needs a default_value for texts that it does not know");
  }
  Json characters = Json::array();
  for (char32_t c : CodePointsOf(values.get_ref<const std::string&>())) {
    std::string character;
    AppendUtf8(c, character);
    characters.push_back(std::move(character));
  }
  return characters;
}

const std::string& TextOf(const Json& value, std::string_view place) {
  if (value.is_string()) return value.get_ref<const std::string&>();
  ThrowBadInput(place, "a text for the next function of a filter", value.dump());
}

// --- arguments

Json ValueOf(const Yaml& value) {
  return value.kind() == Yaml::Kind::kNull ? Json() : Json(value.AsString());
}

Json ValueArgument(const Yaml& step, std::string_view key, Json otherwise) {
  const Yaml* value = step.Find(key);
  return value == nullptr ? std::move(otherwise) : ValueOf(*value);
}

bool BoolArgument(const Yaml& step, std::string_view key) {
  const Yaml* value = step.Find(key);
  return value != nullptr && value->AsBool();
}

std::vector<PythonRegex> RegexesToIgnore(const Yaml& options) {
  std::vector<PythonRegex> regexes;
  const Yaml* list = options.Find("regexes_to_ignore");
  if (list == nullptr || list->kind() == Yaml::Kind::kNull) return regexes;
  for (const Yaml& regex : list->AsList()) regexes.emplace_back(regex.AsString(), regex.place());
  return regexes;
}

// --- texts

Function MakeStrip(const Yaml&) { return OnEachText(PythonStrip); }
Function MakeLower(const Yaml&) { return OnEachText(PythonLower); }
Function MakeUpper(const Yaml&) { return OnEachText(PythonUpper); }

Function MakeMap(const Yaml& step) {
  std::map<std::string, Json> texts;
  if (const Yaml* given = step.Find("mapping_dict")) {
    for (const auto& [from, to] : given->AsMap()) texts.emplace(from, ValueOf(to));
  }
  return [texts = std::move(texts), otherwise = ValueArgument(step, "default_value", Json())](
             const Json& values, const FilteredItem& item) {
    Json mapped = Json::array();
    for (const Json& value : ElementsOf(values, item.place)) {
      if (value.is_array()) (void)TextOf(value, item.place);  // of regex_pos: refused
      const auto found = value.is_string() ? texts.find(TextOf(value, "")) : texts.end();
      mapped.push_back(found == texts.end() ? otherwise : found->second);
    }
    return mapped;
  };
}

Function MakeFormatSpan(const Yaml&) {
  return OnEachText([formatter = std::make_shared<const SpanFormatter>()](const std::string& text) {
    return formatter->Format(text);
  });
}

// Ours: a template of the row and of {generated}, for each text.
Function TemplateFunction(std::string_view text, std::string_view place) {
  auto shape = std::make_shared<const Template>(text, place);
  return [shape](const Json& values, const FilteredItem& item) {
    Json scope = item.row;
    Json rendered = Json::array();
    for (const Json& value : ElementsOf(values, item.place)) {
      scope["generated"] = TextOf(value, item.place);
      rendered.push_back(shape->Render(scope, item.place));
    }
    return rendered;
  };
}

Function MakeTemplate(const Yaml& step) {
  const Yaml& text = step.Get("text");
  return TemplateFunction(text.AsString(), text.place());
}

// --- selection among texts

Function MakeTakeFirst(const Yaml&) {
  return [](const Json& values, const FilteredItem& item) {
    const Json elements = ElementsOf(values, item.place);
    if (elements.empty()) ThrowBadInput(item.place, "a text for take_first", "none");
    return elements[0];
  };
}

// A text (after take_first) keeps its first characters and stays one.
Function MakeTakeFirstK(const Yaml& step) {
  (void)step.Get("k");
  const int64_t k = IntOption(&step, "k", 1, 0, kMostIndex);
  return [k](const Json& values, const FilteredItem& item) {
    Json elements = ElementsOf(values, item.place);
    if (static_cast<int64_t>(elements.size()) < k) {
      ThrowBadInput(item.place, StrCat("at least ", k, " texts for take_first_k"),
                    StrCat(elements.size()), "'samples' says how many are generated");
    }
    elements.erase(elements.begin() + k, elements.end());
    if (values.is_array()) return elements;
    std::string text;
    for (const Json& character : elements) text += TextOf(character, item.place);
    return Json(text);
  };
}

// The most frequent one; of several the one that comes first.
Function MakeMajorityVote(const Yaml&) {
  return [](const Json& values, const FilteredItem& item) {
    const Json elements = ElementsOf(values, item.place);
    if (elements.empty()) ThrowBadInput(item.place, "a text for majority_vote", "none");
    std::map<std::string, size_t> counts;
    const Json* best = nullptr;
    for (const Json& element : elements) ++counts[element.dump()];
    for (const Json& element : elements) {
      if (best == nullptr || counts[element.dump()] > counts[best->dump()]) best = &element;
    }
    return Json::array({*best});
  };
}

}  // namespace qualm
