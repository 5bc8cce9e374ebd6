// The table of the functions of answer filters, and filters as chains of them.
#include "tasks/answer_filters.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "io/yaml.h"
#include "tasks/answer_functions.h"

namespace qualm {
namespace {

using Function = AnswerFilter::Function;

struct FunctionKind {
  AnswerFunctionEntry entry;
  Function (*make)(const Yaml& step);
};

// ADD A FUNCTION: a maker, and a line here.
constexpr FunctionKind kFunctions[] = {
    {{"regex", "regex_pattern, group_select, fallback",
      "the match of a pattern with the number group_select (from 0, or from the end), of its "
      "groups "
      "the first that is not empty, stripped; else the fallback, [invalid]"},
     MakeRegex},
    {{"multi_choice_regex",
      "regex_pattern, group_select, fallback, ignore_case, ignore_punctuation, regexes_to_ignore",
      "the same; where that finds nothing, the letter (A) of the row's `choices` whose text is "
      "found, else of a letter after a colon"},
     MakeMultiChoiceRegex},
    {{"regex_pos", "regex_pattern, group_select, fallback",
      "the tags of pairs ('token', 'TAG'), as a list; else the fallback, [\"invalid\"]"},
     MakeRegexPos},
    {{"remove_whitespace", "", "without blanks at both ends"}, MakeStrip},
    {{"lowercase", "", "small letters"}, MakeLower},
    {{"uppercase", "", "capital letters"}, MakeUpper},
    {{"map", "mapping_dict, default_value", "the value of the text in a map, or the default value"},
     MakeMap},
    {{"format_span", "", "named entities as \"per: ann $ loc: rome\""}, MakeFormatSpan},
    {{"majority_vote", "", "the most frequent text, of several the first"}, MakeMajorityVote},
    {{"take_first", "", "the first text alone; what follows works on its characters"},
     MakeTakeFirst},
    {{"take_first_k", "k", "the first k texts"}, MakeTakeFirstK},
    {{"template", "text", "a template of the row and {generated} (not in the harness)"},
     MakeTemplate},
};

// Functions of the harness that cannot be data.
constexpr std::array<std::string_view, 2> kRefused = {"custom", "decontaminate"};

Function FunctionOf(const Yaml& step) {
  const Yaml& name = step.Get("function");
  const std::string text = name.AsString();
  if (std::ranges::find(kRefused, text) != kRefused.end()) {
    ThrowBadInput(name.place(), "a function that is data",
                  StrCat("'", text, "', which runs Python code"));
  }

  std::vector<std::string> known;
  for (const FunctionKind& kind : kFunctions) {
    known.emplace_back(kind.entry.name);
    if (text != kind.entry.name) continue;
    std::vector<std::string> keys = {"function"};
    for (const std::string& key : Split(kind.entry.arguments, ',')) keys.emplace_back(Trim(key));
    step.RequireKnownKeys(keys);
    return kind.make(step);
  }
  ThrowUnknownName(name.place(), "function of filters", text, known);
}

}  // namespace

AnswerFilter::AnswerFilter(std::string name, const Yaml& functions) : name_(std::move(name)) {
  for (const Yaml& step : functions.AsList()) functions_.push_back(FunctionOf(step));
}

AnswerFilter AnswerFilter::OfTemplate(std::string_view text, std::string_view place) {
  AnswerFilter filter;
  filter.name_ = "prediction";
  filter.functions_.push_back(TemplateFunction(text, place));
  return filter;
}

Json AnswerFilter::Apply(std::span<const std::string> texts, const FilteredItem& item) const {
  Json values = Json::array();
  for (const std::string& text : texts) values.push_back(text);
  for (const Function& function : functions_) values = function(values, item);
  return values;
}

std::vector<std::string> AnswerFilter::Predictions(std::span<const std::string> texts,
                                                   const FilteredItem& item) const {
  const Json left = Apply(texts, item);
  std::vector<std::string> predictions;
  for (const Json& value : left.is_array() ? left : Json::array({left})) {
    if (!value.is_string()) {
      ThrowBadInput(item.place, StrCat("texts after the filter ", name_), value.dump());
    }
    predictions.push_back(value.get<std::string>());
  }
  if (predictions.empty()) ThrowBadInput(item.place, StrCat("a text after ", name_), "none");
  return predictions;
}

std::vector<AnswerFilter> ReadAnswerFilters(const Yaml& filters) {
  std::vector<AnswerFilter> read;
  for (const auto& [name, functions] : filters.AsMap()) {
    if (name.empty() || name.find_first_of(", \t\n") != std::string::npos) {
      ThrowBadInput(functions.place(), "a filter's name without blanks and commas",
                    StrCat("'", name, "'"));
    }
    read.emplace_back(name, functions);
  }
  if (read.empty()) ThrowBadInput(filters.place(), "a filter", "none");
  return read;
}

std::vector<AnswerFunctionEntry> AllAnswerFunctions() {
  std::vector<AnswerFunctionEntry> entries;
  for (const FunctionKind& kind : kFunctions) entries.push_back(kind.entry);
  return entries;
}

}  // namespace qualm
