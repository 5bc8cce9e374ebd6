#include "tasks/template.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "data/rows.h"
#include "tasks/filters.h"

namespace qualm {

struct Template::Part {
  enum class Kind { kText, kValue, kFor, kIf, kWith } kind = Kind::kText;
  std::string text;  // kText: itself; else the path
  struct Filter {
    const TemplateFilter* filter;
    std::vector<std::string> arguments;
  };
  std::vector<Filter> filters;  // kValue, kWith
  std::string variable;         // kFor: the element's name
  std::vector<Part> inner;      // kFor, kIf, kWith
};

namespace {

using Part = Template::Part;

class TemplateParser {
 public:
  TemplateParser(std::string_view text, std::string_view place) : text_(text), place_(place) {}

  std::vector<Part> Run() {
    std::vector<Part> parts = Parts(0);
    if (at_ < text_.size()) Refuse("text", "{end} without a beginning");
    return parts;
  }

 private:
  static constexpr int kMostDepth = 8;

  [[noreturn]] void Refuse(std::string_view expected, std::string_view got) const {
    ThrowBadInput(place_, StrCat("a template with ", expected), got);
  }

  // Up to the end of the text, or behind {end} where `depth` > 0.
  std::vector<Part> Parts(int depth) {
    if (depth > kMostDepth) Refuse(StrCat("at most ", kMostDepth, " levels"), "more");
    std::vector<Part> parts;
    std::string literal;
    const auto flush = [&] {
      if (literal.empty()) return;
      Part part;
      part.text = std::exchange(literal, {});
      parts.push_back(std::move(part));
    };
    while (at_ < text_.size()) {
      const std::string_view two = text_.substr(at_, 2);
      if (two == "{{" || two == "}}") {
        literal += two[0];
        at_ += 2;
      } else if (two[0] == '}') {
        Refuse("}} for a brace", "a single }");
      } else if (two[0] == '{') {
        const size_t start = at_;
        const std::string tag = Tag();
        if (tag == "end") {
          if (depth == 0) at_ = start;
          flush();
          return parts;
        }
        flush();
        parts.push_back(PartOf(tag, depth));
      } else {
        literal += text_[at_++];
      }
    }
    if (depth > 0) Refuse("an {end} for every {for}, {if} and {with}", "none");
    flush();
    return parts;
  }

  std::string Tag() {
    const size_t close = text_.find('}', at_);
    if (close == std::string_view::npos) Refuse("a } for every {", "none");
    std::string tag(Trim(text_.substr(at_ + 1, close - at_ - 1)));
    at_ = close + 1;
    return tag;
  }

  Part PartOf(const std::string& tag, int depth) {
    Part part;
    const std::vector<std::string> words = Split(tag, ' ');
    if (words[0] == "for") {
      if (words.size() != 4 || words[2] != "in") Refuse("{for NAME in LIST}", tag);
      part.kind = Part::Kind::kFor;
      part.variable = words[1];
      part.text = words[3];
      part.inner = Parts(depth + 1);
    } else if (words[0] == "if" && words.size() == 2) {
      part.kind = Part::Kind::kIf;
      part.text = words[1];
      part.inner = Parts(depth + 1);
    } else if (words[0] == "with" && words.size() == 2) {
      part.kind = Part::Kind::kWith;
      for (const std::string& filter : Split(words[1], '|')) {
        part.filters.push_back(FilterOf(filter));
      }
      part.inner = Parts(depth + 1);
    } else {
      part.kind = Part::Kind::kValue;
      std::vector<std::string> pieces = Split(tag, '|');
      part.text = std::string(Trim(pieces[0]));
      if (part.text.empty()) Refuse("a field's name in braces", StrCat("{", tag, "}"));
      for (size_t i = 1; i < pieces.size(); ++i) part.filters.push_back(FilterOf(pieces[i]));
    }
    return part;
  }

  Part::Filter FilterOf(const std::string& text) const {
    std::vector<std::string> words = Split(text, ':');
    const std::string name(Trim(words[0]));
    words.erase(words.begin());
    for (const TemplateFilter& filter : AllTemplateFilters()) {
      if (name != filter.name) continue;
      const bool any = filter.arguments == kAnyArguments && !words.empty();
      if (words.size() != filter.arguments && !any) {
        const std::string_view hint =
            name == "letter" ? " (the option letters, as in letter:ABCD)" : "";
        Refuse(StrCat(filter.arguments, " arguments of ", name, hint), StrCat(words.size()));
      }
      return {&filter, std::move(words)};
    }
    ThrowUnknownName(place_, "filter", name, TemplateFilterNames());
  }

  std::string_view text_, place_;
  size_t at_ = 0;
};

// Names of loops around a value, the innermost last, before the row.
struct Binding {
  std::string_view name;
  const Json* value;
};

class Renderer {
 public:
  Renderer(const Json& scope, std::string_view place) : scope_(scope), place_(place) {}

  void Add(std::span<const Part> parts, std::string& out) {
    for (const Part& part : parts) {
      switch (part.kind) {
        case Part::Kind::kText:
          out += part.text;
          break;
        case Part::Kind::kValue:
          out += ValueOf(part);
          break;
        case Part::Kind::kIf:
          if (IsGiven(part.text)) Add(part.inner, out);
          break;
        case Part::Kind::kFor:
          AddLoop(part, out);
          break;
        case Part::Kind::kWith: {
          std::string text;
          Add(part.inner, text);
          out += Filtered(std::move(text), part);
          break;
        }
      }
    }
  }

 private:
  // The value at a path; null if it is not there. One that the reader could not read is an error
  // here, where somebody needs it.
  const Json* Find(std::string_view path) const {
    const Json* value = FindAny(path);
    if (value != nullptr && IsUnreadable(*value)) {
      ThrowBadInput(place_, StrCat("a value in '", path, "'"), DescribeValue(*value));
    }
    return value;
  }

  const Json* FindAny(std::string_view path) const {
    const std::string_view first = path.substr(0, path.find('.'));
    for (size_t i = bindings_.size(); i-- > 0;) {
      if (bindings_[i].name != first) continue;
      return first.size() == path.size()
                 ? bindings_[i].value
                 : FindPath(*bindings_[i].value, path.substr(first.size() + 1));
    }
    return FindPath(scope_, path);
  }

  const Json& Get(std::string_view path) const {
    if (const Json* value = Find(path)) return *value;
    std::vector<std::string> names;
    for (const auto& [name, value] : scope_.items()) names.push_back(name);
    ThrowUnknownName(place_, "field", path, names);
  }

  bool IsGiven(std::string_view path) const {
    const Json* value = Find(path);
    if (value == nullptr || value->is_null()) return false;
    if (value->is_string()) return !value->get_ref<const std::string&>().empty();
    if (value->is_boolean()) return value->get<bool>();
    return value->is_number() ? *value != 0 : !value->empty();
  }

  std::string ValueOf(const Part& part) const {
    const Json& value = Get(part.text);
    std::string text;
    if (value.is_string()) {
      text = value.get<std::string>();
    } else if (value.is_number_float() && !std::isfinite(value.get<double>())) {
      // JSON has no text for these; Python's is used.
      const auto number = value.get<double>();
      text = std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
    } else if (value.is_number() || value.is_boolean()) {
      text = value.dump();
    } else {
      ThrowBadInput(place_, StrCat("text or a number in '", part.text, "'"), value.type_name());
    }
    return Filtered(std::move(text), part);
  }

  static std::string Filtered(std::string text, const Part& part) {
    for (const Part::Filter& filter : part.filters) {
      text = filter.filter->apply(std::move(text), filter.arguments);
    }
    return text;
  }

  void AddLoop(const Part& part, std::string& out) {
    const Json& list = Get(part.text);
    if (!list.is_array()) {
      ThrowBadInput(place_, StrCat("a list in '", part.text, "'"), list.type_name());
    }
    for (size_t i = 0; i < list.size(); ++i) {
      const Json letter = std::string(1, static_cast<char>('A' + i % 26));
      const Json number = i + 1, index = i;
      bindings_.insert(
          bindings_.end(),
          {{"letter", &letter}, {"number", &number}, {"index", &index}, {part.variable, &list[i]}});
      Add(part.inner, out);
      bindings_.resize(bindings_.size() - 4);
    }
  }

  const Json& scope_;
  std::string_view place_;
  std::vector<Binding> bindings_;
};

bool PartsUse(std::span<const Part> parts, std::string_view variable) {
  return std::ranges::any_of(parts, [&](const Part& part) {
    const bool names_it = part.kind != Part::Kind::kText && part.kind != Part::Kind::kWith &&
                          std::string_view(part.text).substr(0, part.text.find('.')) == variable;
    return names_it || PartsUse(part.inner, variable);
  });
}

}  // namespace

Template::Template() = default;
Template::Template(std::string_view text, std::string_view place)
    : parts_(TemplateParser(text, place).Run()) {}
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

std::string Template::Render(const Json& scope, std::string_view place) const {
  std::string out;
  Renderer(scope, place).Add(parts_, out);
  return out;
}

bool Template::IsConstant() const {
  return std::ranges::all_of(parts_,
                             [](const Part& part) { return part.kind == Part::Kind::kText; });
}

bool Template::Uses(std::string_view variable) const { return PartsUse(parts_, variable); }

const Json* FindPath(const Json& scope, std::string_view path) {
  const Json* value = &scope;
  while (true) {
    const size_t dot = path.find('.');
    const std::string_view key = path.substr(0, dot);
    if (value->is_object()) {
      const auto child = value->find(std::string(key));
      if (child == value->end()) return nullptr;
      value = &*child;
    } else if (value->is_array()) {
      size_t index = 0;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
      if (error != std::errc() || end != key.data() + key.size() || index >= value->size()) {
        return nullptr;
      }
      value = &(*value)[index];
    } else {
      return nullptr;
    }
    if (dot == std::string_view::npos) return value;
    path.remove_prefix(dot + 1);
  }
}

std::vector<std::string> TemplateFilterNames() {
  std::vector<std::string> names;
  for (const TemplateFilter& filter : AllTemplateFilters()) names.emplace_back(filter.name);
  return names;
}

}  // namespace qualm
