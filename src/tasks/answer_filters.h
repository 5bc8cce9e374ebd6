// What counts as the answer in the texts that a model writes: named chains of functions from texts
// to texts, those of lm-evaluation-harness 0.4.13 and one of ours (docs/tasks.md, "Filters").
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"

namespace qualm {

class Yaml;

// The item whose texts are filtered.
struct FilteredItem {
  const Json& row;         // its fields; multi_choice_regex reads `choices`
  std::string_view place;  // for messages: "gsm8k:test row 3"
};

// One filter of a task: its name and its functions in their order.
class AnswerFilter {
 public:
  // One function with its arguments: from a list of texts (or what the function before it left) to
  // what is left. Throws bad input where the harness raises an exception.
  using Function = std::function<Json(const Json& values, const FilteredItem& item)>;

  // `functions` is a list of maps {function: NAME, ARGUMENT: VALUE, ...}, the value of `filter` in
  // the harness's filter_list. Throws bad input for unknown functions and arguments, for patterns
  // that Python's re refuses or that cannot mean the same here, and, by name, for functions that
  // run Python code.
  AnswerFilter(std::string name, const Yaml& functions);

  // The filter that `prediction: TEXT` stands for: the template TEXT for each text.
  static AnswerFilter OfTemplate(std::string_view text, std::string_view place);

  const std::string& name() const { return name_; }

  // What is left of an item's texts: a list, or a single value after take_first. A value is a text
  // or null (`map` without a default value), of regex_pos a list of texts.
  Json Apply(std::span<const std::string> texts, const FilteredItem& item) const;

  // The same as texts that metrics can read: a single one after take_first, else one per sample.
  // Throws bad input if something else than texts is left.
  std::vector<std::string> Predictions(std::span<const std::string> texts,
                                       const FilteredItem& item) const;

 private:
  AnswerFilter() = default;

  std::string name_;
  std::vector<Function> functions_;
};

// The value of `filters` in a task: {NAME: [{function: ...}, ...], ...}, at least one; the first is
// the task's main one.
std::vector<AnswerFilter> ReadAnswerFilters(const Yaml& filters);

// A row of the table of functions, for lists and documentation.
struct AnswerFunctionEntry {
  const char* name;
  const char* arguments;  // "regex_pattern, group_select, fallback"
  const char* summary;
};
std::vector<AnswerFunctionEntry> AllAnswerFunctions();

}  // namespace qualm
