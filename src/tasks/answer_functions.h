// Makers of the functions that answer filters are made of. Each reads the arguments of one step
// from YAML (their names were checked) and returns the function. The table of their names is in
// answer_filters.cc.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "metrics/python_regex.h"
#include "tasks/answer_filters.h"

namespace qualm {

AnswerFilter::Function MakeRegex(const Yaml& step);
AnswerFilter::Function MakeMultiChoiceRegex(const Yaml& step);
AnswerFilter::Function MakeRegexPos(const Yaml& step);
AnswerFilter::Function MakeStrip(const Yaml& step);
AnswerFilter::Function MakeLower(const Yaml& step);
AnswerFilter::Function MakeUpper(const Yaml& step);
AnswerFilter::Function MakeMap(const Yaml& step);
AnswerFilter::Function MakeFormatSpan(const Yaml& step);
AnswerFilter::Function MakeMajorityVote(const Yaml& step);
AnswerFilter::Function MakeTakeFirst(const Yaml& step);
AnswerFilter::Function MakeTakeFirstK(const Yaml& step);
AnswerFilter::Function MakeTemplate(const Yaml& step);

// What MakeTemplate makes, of the template itself.
AnswerFilter::Function TemplateFunction(std::string_view text, std::string_view place);

// What a function runs over: the elements of a list, or the characters of a text (after take_first,
// as in Python). Throws bad input for anything else.
Json ElementsOf(const Json& values, std::string_view place);
// Throws bad input for anything but a text.
const std::string& TextOf(const Json& value, std::string_view place);

// A function on single texts, as one on lists.
template <typename Change>
AnswerFilter::Function OnEachText(Change change) {
  return [change = std::move(change)](const Json& values, const FilteredItem& item) {
    Json changed = Json::array();
    for (const Json& value : ElementsOf(values, item.place)) {
      changed.push_back(change(TextOf(value, item.place)));
    }
    return changed;
  };
}

// Arguments. A value is a text, or null where YAML has none.
Json ValueOf(const Yaml& value);
Json ValueArgument(const Yaml& step, std::string_view key, Json otherwise);
bool BoolArgument(const Yaml& step, std::string_view key);  // false if it is missing
// The patterns of `regexes_to_ignore`, of functions and of exact_match.
std::vector<PythonRegex> RegexesToIgnore(const Yaml& options);

// Bound of indexes and counts among arguments.
inline constexpr int64_t kMostIndex = 1'000'000;

}  // namespace qualm
