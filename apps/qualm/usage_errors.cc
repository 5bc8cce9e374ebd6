// Puts CLI11's messages into the form of our own. CLI11 says which option it means only in the text
// of its exceptions, so that the text is taken apart at fixed words.
#include "usage_errors.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "base/strings.h"

namespace qualm::cli {
namespace {

// What is before and after the first `separator`; without one, `after` is empty.
struct Halves {
  std::string_view before, after;
};
Halves SplitAt(std::string_view text, std::string_view separator) {
  const size_t at = text.find(separator);
  if (at == std::string_view::npos) return {text, {}};
  return {text.substr(0, at), text.substr(at + separator.size())};
}

std::string Expected(std::string_view place, std::string_view expected, std::string_view got) {
  return StrCat("[", place, "] expected ", expected, "; got ", got);
}

// "--limit: expected ..."; our checks may name the place again: "--date: [--date] ...".
std::string ValueText(std::string_view text) {
  const auto [option, complaint] = SplitAt(text, ": ");
  return complaint.starts_with('[') ? std::string(complaint) : StrCat("[", option, "] ", complaint);
}

// "--limit: 1 required UINT missing" or "--prompt: At Most 1 required but received 2".
std::string CountText(std::string_view text) {
  const auto [option, complaint] = SplitAt(text, ": ");
  const std::string_view count = SplitAt(complaint, "received ").after;
  if (count.empty()) return Expected(option, "a value", "none");
  return Expected(option, "one value", StrCat(count, " values"));
}

}  // namespace

std::string UsageText(const CLI::ParseError& error, std::string_view command) {
  const std::string_view text = error.what();
  const std::string name = error.get_name();
  if (name == "ValidationError") return ValueText(text);
  if (name == "ArgumentMismatch") return CountText(text);
  if (name == "RequiredError") {
    return Expected(SplitAt(text, " is required").before, "a value, which is required", "none");
  }

  // Two options that exclude or need each other.
  if (name == "ExcludesError") {
    const auto [first, second] = SplitAt(text, " excludes ");
    return Expected(first, StrCat("no ", second, " in addition"), "both");
  }
  if (name == "RequiresError") {
    const auto [first, second] = SplitAt(text, " requires ");
    return Expected(first, StrCat(second, " in addition"), StrCat("only ", first));
  }

  // "Could not convert: --json = x": other options than flags have checks, which come before.
  if (name == "ConversionError") {
    const auto [option, value] = SplitAt(SplitAt(text, ": ").after, " = ");
    if (!value.empty()) return Expected(option, "no value, it is a flag", value);
  }
  // A complaint about several options may name its place.
  return text.starts_with('[') ? std::string(text) : StrCat("[", command, "] ", text);
}

}  // namespace qualm::cli
