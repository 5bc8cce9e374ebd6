// One of the doc_to_... values of an lm-evaluation-harness task: a field's name, a Jinja template,
// a number, or texts. What it is decides what a row becomes (lm_eval 0.4.13, ConfigurableTask).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/jinja.h"
#include "io/json.h"

namespace qualm {

class Yaml;

// A row as templates see it.
struct TaskRow {
  const Json& fields;
  // Names of the scored rows' fields, sorted. A value that is one of them is a field's name, also
  // for rows that lack it.
  const std::vector<std::string>& columns;
  std::string_view place;  // for messages: "arc:test:Easy row 3"
};

class RowValue {
 public:
  RowValue() = default;  // not given
  // A text, a whole number, a list of texts, or a map, whose values count.
  explicit RowValue(const Yaml& yaml);

  bool is_given() const { return kind_ != Kind::kNone; }

  // The value as a text that is shown: a field's, or the rendered template.
  std::string TextOf(const TaskRow& row) const;
  // doc_to_text, doc_to_target: a text, or a whole number where the text is all digits and the task
  // has choices. A target in square brackets that is a Python list is that list; a field is
  // whatever it is.
  Json QuestionOf(const TaskRow& row, bool has_choices) const;
  Json TargetOf(const TaskRow& row, bool has_choices) const;
  // doc_to_choice: texts. A template prints them as Python prints a list.
  std::vector<std::string> ChoicesOf(const TaskRow& row) const;

 private:
  enum class Kind : uint8_t { kNone, kNumber, kText, kList };

  const Json* FieldOf(const TaskRow& row) const;
  std::string Rendered(const TaskRow& row) const;

  Kind kind_ = Kind::kNone;
  int64_t number_ = 0;
  std::string text_;
  std::string place_;                   // of the value in its file
  std::optional<JinjaTemplate> jinja_;  // of a text
  std::vector<std::string> list_;
};

// The settings of the harness's templates: plain Jinja that keeps a line end at its end and refuses
// what is not defined, with the filter regex_replace. Filters of our own tasks are there as well.
JinjaOptions TaskJinjaOptions();

}  // namespace qualm
