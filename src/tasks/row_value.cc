// Reads the doc_to_... values and makes texts, targets and choices of rows, as the harness's
// doc_to_text, doc_to_target and doc_to_choice do.
#include "tasks/row_value.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "io/yaml.h"
#include "metrics/python_regex.h"
#include "tasks/filters.h"
#include "tasks/python_literal.h"

namespace qualm {
namespace {

bool IsDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Python reads digits as a number only if it does not begin with a zero.
Json NumberOf(const std::string& digits, std::string_view place) {
  std::optional<Json> number = ParsePythonLiteral(digits);
  if (!number) {
    ThrowBadInput(place, "a choice's number without zeros in front", StrCat("'", digits, "'"));
  }
  return std::move(*number);
}

// "5" is a number; a text that only begins like one is not.
std::optional<int64_t> WholeNumber(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// The template filters of our own tasks, for process steps that plain Jinja has no words for.
JinjaFilter FromTemplateFilter(const TemplateFilter& filter) {
  std::vector<std::string> parameters;
  const size_t count = filter.arguments == kAnyArguments ? 1 : filter.arguments;
  for (size_t i = 0; i < count; ++i) parameters.push_back(StrCat("argument", i + 1));

  const auto apply = filter.apply;
  return {filter.name, std::move(parameters),
          [apply, name = std::string(filter.name)](const Json& value,
                                                   const std::vector<Json>& arguments) -> Json {
            std::vector<std::string> texts;
            for (const Json& argument : arguments) {
              if (!argument.is_string()) ThrowBadInput(name, "texts", argument.type_name());
              texts.push_back(argument.get<std::string>());
            }
            if (!value.is_string()) ThrowBadInput(name, "a text", value.type_name());
            return apply(value.get<std::string>(), texts);
          }};
}

// The harness's regex_replace(pattern, repl, count=0), which is re.sub.
Json RegexReplace(const Json& value, const std::vector<Json>& arguments) {
  constexpr std::string_view kName = "regex_replace";
  if (!value.is_string() || !arguments[0].is_string() || !arguments[1].is_string()) {
    ThrowBadInput(kName, "texts", value.is_string() ? "other arguments" : value.type_name());
  }
  const auto replacement = arguments[1].get<std::string>();
  if (replacement.find('\\') != std::string::npos) {
    ThrowBadInput(kName, "a replacement without backslashes", StrCat("'", replacement, "'"),
                  "groups in replacements are not read");
  }
  if (!arguments[2].is_null() && arguments[2] != 0) {
    ThrowBadInput(kName, "count = 0, which replaces all", arguments[2].dump());
  }
  const PythonRegex regex(arguments[0].get<std::string>(), kName);
  return regex.ReplaceAll(value.get<std::string>(), replacement);
}

}  // namespace

JinjaOptions TaskJinjaOptions() {
  JinjaOptions options = PlainJinjaOptions();
  options.keep_trailing_newline = true;
  options.strict_undefined = true;
  options.is_chat = false;
  options.filters.push_back({"regex_replace", {"pattern", "repl", "count?"}, RegexReplace});
  for (const TemplateFilter& filter : AllTemplateFilters()) {
    // Jinja has its own filters of these names.
    constexpr std::string_view kTaken[] = {"lower", "capitalize", "replace", "map"};
    if (std::ranges::find(kTaken, filter.name) != std::end(kTaken)) continue;
    options.filters.push_back(FromTemplateFilter(filter));
  }
  return options;
}

RowValue::RowValue(const Yaml& yaml) : place_(yaml.place()) {
  if (yaml.kind() == Yaml::Kind::kNull) return;
  if (yaml.kind() == Yaml::Kind::kList) {
    kind_ = Kind::kList;
    for (const Yaml& one : yaml.AsList()) list_.push_back(one.AsString());
    return;
  }
  if (yaml.IsMap()) {
    kind_ = Kind::kList;
    for (const auto& [key, value] : yaml.AsMap()) list_.push_back(value.AsString());
    return;
  }

  // A number in quotes is a template that renders itself, which comes to the same.
  text_ = yaml.AsString();
  if (const std::optional<int64_t> number = WholeNumber(text_)) {
    kind_ = Kind::kNumber;
    number_ = *number;
    return;
  }
  kind_ = Kind::kText;
  jinja_.emplace(text_, place_, TaskJinjaOptions());
}

// The row's field that the text names; null: it names none.
const Json* RowValue::FieldOf(const TaskRow& row) const {
  if (kind_ != Kind::kText || !std::ranges::binary_search(row.columns, text_)) return nullptr;
  const auto found = row.fields.find(text_);
  if (found != row.fields.end()) return &*found;
  ThrowBadInput(row.place, StrCat("the field '", text_, "'"), "none",
                StrCat(place_, " names a field of the scored rows"));
}

std::string RowValue::Rendered(const TaskRow& row) const {
  try {
    return jinja_->Render(row.fields);
  } catch (const Error& error) {
    throw error.Within(row.place);
  }
}

std::string RowValue::TextOf(const TaskRow& row) const {
  if (kind_ == Kind::kNone) return "";
  if (kind_ == Kind::kNumber) return StrCat(number_);
  if (kind_ == Kind::kList) ThrowBadInput(place_, "a text", "a list");
  const Json* field = FieldOf(row);
  if (field == nullptr) return Rendered(row);
  if (field->is_null()) return "";
  if (field->is_string()) return field->get<std::string>();
  ThrowBadInput(row.place, StrCat("a text in the field '", text_, "'"), field->dump());
}

Json RowValue::QuestionOf(const TaskRow& row, bool has_choices) const {
  if (kind_ == Kind::kNumber) return number_;
  if (kind_ != Kind::kText) ThrowBadInput(place_, "a template or a field's name", "a list");
  if (const Json* field = FieldOf(row)) return *field;
  std::string text = Rendered(row);
  if (has_choices && IsDigits(text)) return NumberOf(text, row.place);
  return text;
}

Json RowValue::TargetOf(const TaskRow& row, bool has_choices) const {
  if (kind_ == Kind::kNone) return nullptr;
  if (kind_ == Kind::kNumber) return number_;
  if (kind_ == Kind::kList) return list_;
  if (const Json* field = FieldOf(row)) return *field;
  std::string text = Rendered(row);
  if (has_choices && IsDigits(text)) return NumberOf(text, row.place);

  // What only looks like a list stays a text.
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') {
    if (std::optional<Json> list = ParsePythonLiteral(text)) return std::move(*list);
  }
  return text;
}

std::vector<std::string> RowValue::ChoicesOf(const TaskRow& row) const {
  if (kind_ == Kind::kList) return list_;
  if (kind_ != Kind::kText)
    ThrowBadInput(place_, "a list, a template or a field's name", "a number");

  Json list;
  if (const Json* field = FieldOf(row)) {
    list = *field;
  } else {
    const std::string text = Rendered(row);
    std::optional<Json> parsed = ParsePythonLiteral(text);
    if (!parsed) {
      ThrowBadInput(row.place, "choices that print as a Python list of texts",
                    StrCat("'", text.substr(0, 80), "'"));
    }
    list = std::move(*parsed);
  }

  const bool is_texts =
      list.is_array() && std::ranges::all_of(list, [](const Json& one) { return one.is_string(); });
  if (!is_texts || list.empty()) {
    ThrowBadInput(row.place, "choices that are a list of texts", list.dump().substr(0, 80));
  }
  return list.get<std::vector<std::string>>();
}

}  // namespace qualm
