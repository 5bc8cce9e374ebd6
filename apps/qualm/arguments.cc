// A thin layer over CLI11, which is compiled here once for all commands. It adds the checks of
// numbers that CLI11 lacks.
#include "arguments.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "base/error.h"
#include "base/strings.h"

namespace qualm::cli {
namespace {

// The validator that every whole number has, until another one takes its place.
constexpr const char* kWhole = "WHOLE";

// The complaint of a validator, to which CLI11 adds the option's name in front.
std::string Complaint(std::string_view expected, const std::string& got) {
  return StrCat("expected ", expected, "; got ", got.empty() ? "''" : got);
}

// CLI11 would take "-1" for an unsigned number and wrap it around.
CLI::Validator WholeNumber(uint64_t least, uint64_t most, const std::string& description = "") {
  const bool is_any = most == std::numeric_limits<uint64_t>::max();
  const std::string expected =
      StrCat("a whole number from ", least, " to ", is_any ? "2^64-1" : StrCat(most));
  return CLI::Validator(
      [=](std::string& text) {
        uint64_t value = 0;
        const char* end = text.data() + text.size();
        const auto [rest, error] = std::from_chars(text.data(), end, value);
        const bool is_right =
            error == std::errc() && rest == end && value >= least && value <= most;
        return is_right ? "" : Complaint(expected, text);
      },
      description, kWhole);
}

// NaN where the text is not a finite number.
double NumberOf(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  const bool is_number = !text.empty() && end == text.c_str() + text.size();
  return is_number && std::isfinite(value) ? value : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

Argument Argument::Required() {
  option_->required();
  return *this;
}

Argument Argument::ShowDefault() {
  option_->capture_default_str();
  return *this;
}

Argument Argument::Positive() {
  option_->get_validator(kWhole)->active(false);
  option_->check(WholeNumber(1, std::numeric_limits<uint64_t>::max(), "COUNT"), "COUNT");
  return *this;
}

Argument Argument::Whole() {
  option_->check(WholeNumber(0, std::numeric_limits<uint64_t>::max()));
  return *this;
}

Argument Argument::OptionalValue() {
  option_->expected(0, 1);
  return *this;
}

Argument Argument::OnePerFlag() {
  option_->allow_extra_args(false);
  return *this;
}

Argument Argument::OneOf(const std::vector<std::string>& names) {
  const auto complaint = [names](std::string& text) -> std::string {
    if (std::ranges::find(names, text) != names.end()) return "";
    const std::string nearest = NearestName(text, names);
    return StrCat(Complaint(StrCat("one of ", Join(names, ", ")), text),
                  nearest.empty() ? "" : StrCat("; did you mean '", nearest, "'?"));
  };
  option_->check(CLI::Validator(complaint, StrCat("{", Join(names, ","), "}")));
  return *this;
}

Argument Argument::NotEmpty(const std::string& expected) {
  return Checked([expected](const std::string& text) {
    if (text.empty()) throw Error(ErrorKind::kBadInput, "", Complaint(expected, text));
  });
}

Argument Argument::Within(const std::string& expected, bool (*is_right)(double)) {
  const auto complaint = [=](std::string& text) {
    return is_right(NumberOf(text)) ? "" : Complaint(expected, text);
  };
  option_->check(CLI::Validator(complaint, ""));
  return *this;
}

Argument Argument::Checked(std::function<void(const std::string&)> check) {
  const auto complaint = [check = std::move(check)](std::string& text) -> std::string {
    try {
      check(text);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  };
  option_->check(CLI::Validator(complaint, ""));
  return *this;
}

Argument Argument::Excludes(Argument other) {
  option_->excludes(other.option_);
  return *this;
}

Argument Argument::Needs(Argument other) {
  option_->needs(other.option_);
  return *this;
}

// For conditions between several flags, which are known only when all are parsed.
void Arguments::Check(std::function<std::string()> complaint) {
  app_.parse_complete_callback([complaint = std::move(complaint)] {
    const std::string text = complaint();
    if (!text.empty()) throw CLI::ParseError(text, CLI::ExitCodes::ValidationError);
  });
}

Argument Arguments::Add(const std::string& name, std::string& variable, const std::string& help) {
  return Argument(app_.add_option(name, variable, help));
}

Argument Arguments::Add(const std::string& name, std::optional<std::string>& variable,
                        const std::string& help) {
  return Argument(app_.add_option(name, variable, help));
}

Argument Arguments::Add(const std::string& name, uint64_t& variable, const std::string& help) {
  return Argument(app_.add_option(name, variable, help)
                      ->check(WholeNumber(0, std::numeric_limits<uint64_t>::max())));
}

Argument Arguments::Add(const std::string& name, int& variable, int most, const std::string& help) {
  return Argument(
      app_.add_option(name, variable, help)->check(WholeNumber(0, static_cast<uint64_t>(most))));
}

Argument Arguments::Add(const std::string& name, double& variable, const std::string& help) {
  return Argument(app_.add_option(name, variable, help))
      .Within("a finite number", [](double value) { return std::isfinite(value); });
}

Argument Arguments::Add(const std::string& name, std::vector<std::string>& variable,
                        const std::string& help) {
  return Argument(app_.add_option(name, variable, help));
}

Argument Arguments::Flag(const std::string& name, bool& variable, const std::string& help) {
  return Argument(app_.add_flag(name, variable, help));
}

void Arguments::Examples(const std::string& examples) { app_.footer("Examples:\n" + examples); }

}  // namespace qualm::cli
