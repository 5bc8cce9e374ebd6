#include "tasks/filters.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/strings.h"
#include "metrics/answers.h"
#include "metrics/follow_rules.h"
#include "metrics/wikitext.h"
#include "metrics/words.h"

namespace qualm {
namespace {

using Arguments = std::span<const std::string>;

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
char Upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

std::string Strip(std::string text, Arguments) { return std::string(Trim(text)); }
std::string ToLowerCase(std::string text, Arguments) { return ToLower(text); }

// Python's str.capitalize: the first letter large, all others small. ASCII letters only.
std::string Capitalize(std::string text, Arguments) {
  for (char& c : text) c = Lower(c);
  if (!text.empty()) text[0] = Upper(text[0]);
  return text;
}

std::string FirstUpper(std::string text, Arguments) {
  if (!text.empty()) text[0] = Upper(text[0]);
  return text;
}

std::string FirstLower(std::string text, Arguments) {
  if (!text.empty()) text[0] = Lower(text[0]);
  return text;
}

std::string Before(std::string text, Arguments arguments) {
  return text.substr(0, text.find(arguments[0]));
}

std::string After(std::string text, Arguments arguments) {
  const size_t at = text.find(arguments[0]);
  return at == std::string::npos ? "" : text.substr(at + arguments[0].size());
}

// Behind the last one; the whole text where there is none.
std::string AfterLast(std::string text, Arguments arguments) {
  const size_t at = text.rfind(arguments[0]);
  return at == std::string::npos ? text : text.substr(at + arguments[0].size());
}

std::string FirstLine(std::string text, Arguments) {
  const size_t begin = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  return std::string(Trim(text.substr(begin, text.find('\n', begin) - begin)));
}

std::string WithoutEnd(std::string text, Arguments arguments) {
  if (text.ends_with(arguments[0])) text.resize(text.size() - arguments[0].size());
  return text;
}

std::string Boxed(std::string text, Arguments) { return LastBoxed(text); }
std::string Number(std::string text, Arguments) { return NormalizeNumber(text); }
std::string NumberAtEnd(std::string text, Arguments) { return LastNumber(text); }

// The first of the argument's letters that is a word by itself, also in brackets; empty: none.
std::string LoneLetter(std::string text, Arguments arguments) {
  const auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (arguments[0].find(text[i]) == std::string::npos) continue;
    const bool before = i > 0 && is_word(text[i - 1]);
    const bool after = i + 1 < text.size() && is_word(text[i + 1]);
    if (!before && !after) return {text[i]};
  }
  return "";
}

std::string Replace(std::string text, Arguments arguments) {
  return arguments[0].empty() ? text : ReplaceAll(std::move(text), arguments[0], arguments[1]);
}

std::string Spaces(std::string text, Arguments) { return ReplaceAll(std::move(text), "_", " "); }

// What the original harness does to HellaSwag's texts (PROTOCOLS, section 2): strip, " [title]" to
// ". ", other bracketed text removed, two blanks to one, once from left to right.
std::string HellaSwag(std::string text, Arguments) {
  text = ReplaceAll(std::string(Trim(text)), " [title]", ". ");
  for (size_t open = 0; (open = text.find('[', open)) != std::string::npos;) {
    const size_t close = text.find_first_of("]\n", open);
    if (close != std::string::npos && text[close] == ']') {
      text.erase(open, close + 1 - open);
    } else {
      ++open;  // brackets end on their line
    }
  }
  return ReplaceAll(std::move(text), "  ", " ");
}

std::string Wikitext(std::string text, Arguments) { return DetokenizeWikitext(std::move(text)); }

// A printed Python bytes literal, b'...' or b"...", as its bytes; other text as it is.
std::string PythonBytes(std::string text, Arguments) {
  if (text.size() < 3 || text[0] != 'b' || (text[1] != '\'' && text[1] != '"') ||
      text.back() != text[1]) {
    return text;
  }
  std::string bytes;
  const auto hex = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  for (size_t i = 2; i + 1 < text.size(); ++i) {
    if (text[i] != '\\' || i + 2 >= text.size()) {
      bytes += text[i];
      continue;
    }
    const char c = text[++i];
    if (c == 'x' && i + 3 < text.size() && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
      bytes += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
      i += 2;
    } else {
      bytes += c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
    }
  }
  return bytes;
}

// "map:0=negative:1=positive": the text behind the `=` whose left side is the text; itself if none
// is.
std::string Map(std::string text, Arguments arguments) {
  for (const std::string& pair : arguments) {
    const size_t equals = pair.find('=');
    if (equals != std::string::npos && pair.substr(0, equals) == text)
      return pair.substr(equals + 1);
  }
  return text;
}

double NumberOf(std::string_view filter, const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    ThrowBadInput(StrCat("filter ", filter), "a number", StrCat("'", text, "'"));
  }
  return value;
}

double MeanOf(std::string_view filter, const std::string& text) {
  double sum = 0, count = 0;
  for (const std::string& number : Split(text, ' ')) {
    sum += NumberOf(filter, number);
    ++count;
  }
  return sum / count;
}

// "yes" if the mean of the numbers in the text, separated by blanks, is at least the argument.
std::string MeanAtLeast(std::string text, Arguments arguments) {
  return MeanOf("mean_at_least", text) >= NumberOf("mean_at_least", arguments[0]) ? "yes" : "no";
}

std::string MeanAbove(std::string text, Arguments arguments) {
  return MeanOf("mean_above", text) > NumberOf("mean_above", arguments[0]) ? "yes" : "no";
}

// The text if it is a number from the first to the second argument, else nothing: for `where`.
std::string Between(std::string text, Arguments arguments) {
  const double value = NumberOf("between", text);
  const bool inside =
      value >= NumberOf("between", arguments[0]) && value <= NumberOf("between", arguments[1]);
  return inside ? text : "";
}

// "category source example_id level" if rules can check that instruction of FollowBench; level 0
// has no constraint.
std::string FollowRules(std::string text, Arguments) {
  const std::vector<std::string> words = Split(text, ' ');
  const bool known =
      words.size() == 4 && words[3] != "0" && HasFollowRules(words[0], words[1], words[2]);
  return known ? text : "";
}

// "yes" if the whole number is a multiple of the argument, else nothing: for `where`.
std::string MultipleOf(std::string text, Arguments arguments) {
  return std::fmod(NumberOf("multiple_of", text), NumberOf("multiple_of", arguments[0])) == 0
             ? "yes"
             : "";
}

// The text if it is the argument, else nothing: for `where`.
std::string Only(std::string text, Arguments arguments) {
  return std::ranges::find(arguments, text) != arguments.end() ? text : "";
}

// ADD A FILTER: a function, and a line here.
constexpr TemplateFilter kFilters[] = {
    {"strip", 0, Strip},
    {"lower", 0, ToLowerCase},
    {"capitalize", 0, Capitalize},
    {"first_upper", 0, FirstUpper},
    {"first_lower", 0, FirstLower},
    {"before", 1, Before},
    {"after", 1, After},
    {"after_last", 1, AfterLast},
    {"first_line", 0, FirstLine},
    {"without_end", 1, WithoutEnd},
    {"boxed", 0, Boxed},
    {"number", 0, Number},
    {"last_number", 0, NumberAtEnd},
    {"letter", 1, LoneLetter},
    {"replace", 2, Replace},
    {"spaces", 0, Spaces},
    {"hellaswag", 0, HellaSwag},
    {"wikitext", 0, Wikitext},
    {"python_bytes", 0, PythonBytes},
    {"map", kAnyArguments, Map},
    {"mean_at_least", 1, MeanAtLeast},
    {"mean_above", 1, MeanAbove},
    {"between", 2, Between},
    {"follow_rules", 0, FollowRules},
    {"multiple_of", 1, MultipleOf},
    {"only", kAnyArguments, Only},
};

}  // namespace

std::span<const TemplateFilter> AllTemplateFilters() { return kFilters; }

}  // namespace qualm
