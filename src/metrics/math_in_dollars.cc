// The normal form step by step, in the harness's order. A step that the harness cannot do throws
// there; here it gives nothing, and the comparison falls back to the texts themselves.
#include "metrics/math_in_dollars.h"

#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "metrics/python_regex.h"
#include "metrics/words.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

// Parts between the separators; at least one.
std::vector<std::string> PartsOf(std::string_view text, std::string_view separator) {
  std::vector<std::string> parts;
  for (size_t at; (at = text.find(separator)) != std::string_view::npos;) {
    parts.emplace_back(text.substr(0, at));
    text.remove_prefix(at + separator.size());
  }
  parts.emplace_back(text);
  return parts;
}

// "\sqrt3" as "\sqrt{3}"; nothing if an argument is missing.
std::optional<std::string> WithRootBraces(const std::string& text) {
  const std::vector<std::string> parts = PartsOf(text, "\\sqrt");
  std::string out = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i].empty()) return std::nullopt;
    const size_t first = CharacterLength(parts[i]);
    out += parts[i][0] == '{'
               ? StrCat("\\sqrt", parts[i])
               : StrCat("\\sqrt{", parts[i].substr(0, first), "}", parts[i].substr(first));
  }
  return out;
}

// "\frac12" as "\frac{1}{2}", "\frac1{72}" as "\frac{1}{72}". One character alone after \frac
// leaves the whole text as it is; none at all has no form.
std::optional<std::string> WithFractionBraces(const std::string& text) {
  const std::vector<std::string> parts = PartsOf(text, "\\frac");
  std::string out = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::string& part = parts[i];
    if (part.empty()) return std::nullopt;
    out += "\\frac";
    if (part[0] == '{') {
      out += part;
      continue;
    }

    const size_t first = CharacterLength(part);
    if (first == part.size()) return text;
    const size_t second = CharacterLength(std::string_view(part).substr(first));
    const std::string argument = part.substr(first, second);
    out += StrCat("{", part.substr(0, first), "}");
    out += argument == "{" ? argument : StrCat("{", argument, "}");
    out += part.substr(first + second);
  }
  return out;
}

// "1/2" as "\frac{1}{2}" if both sides are integers in their usual spelling. Integers in another
// spelling stay; anything else has no form.
std::optional<std::string> WithFraction(const std::string& text) {
  const std::vector<std::string> sides = PartsOf(text, "/");
  if (sides.size() != 2) return text;
  static const PythonRegex integer("^\\s*[+-]?\\d+(?:_\\d+)*\\s*\\Z", "an integer");
  static const PythonRegex usual("^(?:0|-?[1-9][0-9]*)\\Z", "an integer");
  bool is_usual = true;
  for (const std::string& side : sides) {
    if (integer.FindAll(side).empty()) return std::nullopt;
    is_usual = is_usual && !usual.FindAll(side).empty();
  }
  return is_usual ? StrCat("\\frac{", sides[0], "}{", sides[1], "}") : text;
}

// "x = 5" as "5".
std::string WithoutName(std::string text) {
  const std::vector<std::string> sides = PartsOf(text, "=");
  const bool has_name = sides.size() == 2 && CodePointsOf(sides[0]).size() <= 2;
  return has_name ? sides[1] : text;
}

std::optional<std::string> NormalForm(std::string text) {
  static constexpr std::array<std::pair<const char*, const char*>, 10> kFirst = {{{"\n", ""},
                                                                                  {"\\!", ""},
                                                                                  {"\\\\", "\\"},
                                                                                  {"tfrac", "frac"},
                                                                                  {"dfrac", "frac"},
                                                                                  {"\\left", ""},
                                                                                  {"\\right", ""},
                                                                                  {"^{\\circ}", ""},
                                                                                  {"^\\circ", ""},
                                                                                  {"\\$", ""}}};
  for (const auto& [from, to] : kFirst) text = ReplaceAll(std::move(text), from, to);

  // Units come last and only once.
  const std::vector<std::string> units = PartsOf(text, "\\text{ ");
  if (units.size() > 2) return std::nullopt;
  text = ReplaceAll(units[0], "\\%", "");
  text = ReplaceAll(ReplaceAll(std::move(text), " .", " 0."), "{.", "{0.");
  if (text.empty()) return text;
  if (text.starts_with('.')) text.insert(size_t{0}, 1, '0');

  // Roots before blanks go: "\sqrt 3" has a blank as its argument.
  const std::optional<std::string> roots = WithRootBraces(WithoutName(std::move(text)));
  if (!roots) return std::nullopt;
  std::optional<std::string> fractions = WithFractionBraces(ReplaceAll(*roots, " ", ""));
  if (!fractions) return std::nullopt;
  return WithFraction(*fractions == "0.5" ? "\\frac{1}{2}" : *fractions);
}

}  // namespace

bool IsEqualMathInDollars(std::string_view answer, std::string_view reference) {
  const size_t first = answer.find('$'), last = answer.rfind('$');
  if (first != last) answer = answer.substr(first + 1, last - first - 1);

  const std::optional<std::string> ours = NormalForm(std::string(answer));
  const std::optional<std::string> theirs = NormalForm(std::string(reference));
  return ours && theirs ? *ours == *theirs : answer == reference;
}

}  // namespace qualm
