// Functions of answer filters that extract by patterns of Python's `re`: the harness's classes
// RegexFilter, MultiChoiceRegexFilter and POSFilter (lm_eval/filters/extraction.py).
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "io/yaml.h"
#include "metrics/python_text.h"
#include "metrics/words.h"
#include "tasks/answer_functions.h"
#include "tasks/template.h"

namespace qualm {
namespace {

using Function = AnswerFilter::Function;

std::string TextArgument(const Yaml& step, std::string_view key, std::string_view otherwise) {
  const Yaml* value = step.Find(key);
  return value == nullptr ? std::string(otherwise) : value->AsString();
}

// --- patterns

// The choice among the matches of a pattern that `regex` and `multi_choice_regex` share.
struct Selection {
  int64_t group_select = 0;  // from the end if negative
  Json fallback;
};

Selection SelectionOf(const Yaml& step) {
  return {IntOption(&step, "group_select", 0, -kMostIndex, kMostIndex),
          ValueArgument(step, "fallback", "[invalid]")};
}

std::shared_ptr<const PythonRegex> PatternOf(const Yaml& step) {
  const Yaml* value = step.Find("regex_pattern");
  return std::make_shared<const PythonRegex>(
      TextArgument(step, "regex_pattern", "#### (\\-?[0-9\\.\\,]+)"),
      value == nullptr ? step.place() : value->place());
}

// The match that the index names, or nothing if there is no match at all. An index that no match
// has is bad input: the harness stops with an IndexError.
const std::vector<std::string>* Selected(const std::vector<std::vector<std::string>>& matches,
                                         int64_t index, std::string_view place) {
  if (matches.empty()) return nullptr;
  const auto count = static_cast<int64_t>(matches.size());
  const int64_t at = index < 0 ? index + count : index;
  if (at < 0 || at >= count) {
    ThrowBadInput(place, StrCat("a match number ", index, " (group_select)"),
                  StrCat(count, " matches"));
  }
  return &matches[static_cast<size_t>(at)];
}

// Of a match the first group that is not empty. Where the pattern has one group, or none, that one
// counts even if it is empty; otherwise all may be, and there is nothing.
const std::string* FirstFilled(const std::vector<std::string>& match) {
  if (match.size() == 1) return &match[0];
  const auto filled =
      std::ranges::find_if(match, [](const std::string& group) { return !group.empty(); });
  return filled == match.end() ? nullptr : &*filled;
}

// --- choices

// What multi_choice_regex drops before it looks for a choice's text.
struct Ignored {
  std::vector<PythonRegex> regexes;
  bool ignore_case = false, ignore_punctuation = false;

  std::string Without(std::string text) const {
    for (const PythonRegex& regex : regexes) text = regex.ReplaceAll(text, "");
    if (ignore_case) text = PythonLower(text);
    if (ignore_punctuation) text = WithoutUnicodePunctuation(text);
    return text;
  }
};

// The letters of an item's choices, "(A)", found by the choices' texts or by the bare letters.
class ChoiceFinder {
 public:
  ChoiceFinder(const FilteredItem& item, const Ignored& ignored) {
    const Json* choices = FindPath(item.row, "choices");
    if (choices == nullptr || !choices->is_array() || choices->size() > 26) {
      ThrowBadInput(item.place, "a list 'choices' of at most 26 texts for multi_choice_regex",
                    choices == nullptr    ? std::string("none")
                    : choices->is_array() ? StrCat("a list of ", choices->size())
                                          : choices->type_name());
    }

    std::vector<std::string> texts, letters;
    for (const Json& choice : *choices) {
      const std::string letter(1, static_cast<char>('A' + letters.size()));
      const std::string text = ignored.Without(PythonStrip(TextOf(choice, item.place)));
      texts.push_back(PythonEscape(text));
      letter_of_text_.insert_or_assign(text, StrCat("(", letter, ")"));
      letters.push_back(letter);
    }

    // Longer texts first: "Guilty" must not be found in "Guilty of Romance".
    std::ranges::stable_sort(texts, std::greater(),
                             [](const std::string& text) { return CodePointsOf(text).size(); });
    by_text_.emplace(Join(texts, "|"), item.place);
    by_letter_.emplace(StrCat(":[\\s]*(", Join(letters, "|"), ")"), item.place);
  }

  const PythonRegex& by_text() const { return *by_text_; }
  const PythonRegex& by_letter() const { return *by_letter_; }

  std::string OfText(const std::string& text) const {
    const auto found = letter_of_text_.find(text);
    return text.empty() || found == letter_of_text_.end() ? text : found->second;
  }
  static std::string OfLetter(const std::string& letter) {
    return letter.empty() ? "" : StrCat("(", letter, ")");
  }

 private:
  std::map<std::string, std::string> letter_of_text_;
  std::optional<PythonRegex> by_text_, by_letter_;
};

// The stripped match that the index names; empty if there is none.
std::string FoundText(const PythonRegex& pattern, const std::string& text, int64_t group_select,
                      std::string_view place) {
  const auto matches = pattern.FindAll(text);
  const auto* match = Selected(matches, group_select, place);
  const std::string* found = match == nullptr ? nullptr : FirstFilled(*match);
  return found == nullptr ? "" : PythonStrip(*found);
}

}  // namespace

Function MakeRegex(const Yaml& step) {
  return [pattern = PatternOf(step), selection = SelectionOf(step)](const Json& values,
                                                                    const FilteredItem& item) {
    Json found = Json::array();
    for (const Json& value : ElementsOf(values, item.place)) {
      const auto matches = pattern->FindAll(value.is_string() ? TextOf(value, "") : "");
      const auto* match = Selected(matches, selection.group_select, item.place);
      if (match == nullptr) {
        found.push_back(selection.fallback);
        continue;
      }

      // The fallback of a match without content is stripped like a match.
      const std::string* text = FirstFilled(*match);
      found.push_back(
          PythonStrip(text != nullptr ? *text : TextOf(selection.fallback, item.place)));
    }
    return found;
  };
}

// regex_pos compiles its pattern but reads pairs ('token', 'TAG') in every case.
Function MakeRegexPos(const Yaml& step) {
  if (step.Find("regex_pattern") != nullptr) (void)PatternOf(step);
  (void)IntOption(&step, "group_select", 0, -kMostIndex, kMostIndex);
  Json fallback = Json::array({"invalid"});
  if (const Yaml* given = step.Find("fallback"); given != nullptr) {
    if (given->kind() == Yaml::Kind::kScalar) {
      fallback = given->AsString();
    } else if (given->kind() != Yaml::Kind::kNull) {
      fallback = Json::array();
      for (const Yaml& tag : given->AsList()) fallback.push_back(tag.AsString());
    }
  }

  auto pairs =
      std::make_shared<const PythonRegex>("\\('([^']*)', '([^']*)'\\)", "the filter regex_pos");
  return OnEachText([pairs, fallback](const std::string& text) {
    Json tags = Json::array();
    for (const std::vector<std::string>& pair : pairs->FindAll(text)) tags.push_back(pair[1]);
    return tags.empty() ? fallback : tags;
  });
}

Function MakeMultiChoiceRegex(const Yaml& step) {
  auto ignored = std::make_shared<const Ignored>(Ignored{RegexesToIgnore(step),
                                                         BoolArgument(step, "ignore_case"),
                                                         BoolArgument(step, "ignore_punctuation")});
  return [pattern = PatternOf(step), selection = SelectionOf(step), ignored](
             const Json& values, const FilteredItem& item) {
    const ChoiceFinder choices(item, *ignored);
    const int64_t at = selection.group_select;

    // The pattern, else a choice's text, else a letter after a colon.
    Json found = Json::array();
    for (const Json& value : ElementsOf(values, item.place)) {
      const std::string& text = TextOf(value, item.place);
      std::string answer = FoundText(*pattern, text, at, item.place);
      if (answer.empty()) {
        const std::string kept = ignored->Without(text);
        answer = choices.OfText(FoundText(choices.by_text(), kept, at, item.place));
      }
      if (answer.empty()) {
        answer = ChoiceFinder::OfLetter(FoundText(choices.by_letter(), text, at, item.place));
      }
      found.push_back(answer.empty() ? selection.fallback : Json(answer));
    }
    return found;
  };
}

}  // namespace qualm
