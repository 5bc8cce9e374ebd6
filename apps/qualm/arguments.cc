// A thin layer over CLI11, which is compiled here once for all commands. It adds the checks of
// numbers that CLI11 lacks.
#include "arguments.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <charconv>

namespace qualm::cli {
namespace {

// For flags that cannot be 0, such as numbers of samples.
CLI::Validator PositiveCount() {
  return CLI::Validator(
      [](std::string& text) {
        uint64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool is_count = error == std::errc() && end == text.data() + text.size() && value > 0;
        return is_count ? "" : "expected a whole number, at least 1; got " + text;
      },
      "COUNT");
}

// CLI11 takes "-1" for an unsigned number and wraps it around.
CLI::Validator WholeNumber() {
  return CLI::Validator(
      [](std::string& text) {
        uint64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool is_whole = error == std::errc() && end == text.data() + text.size();
        return is_whole ? "" : "expected a whole number from 0 to 2^64-1; got " + text;
      },
      "");
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
  option_->check(PositiveCount());
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
  option_->check(CLI::IsMember(names));
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
  return Argument(app_.add_option(name, variable, help)->check(WholeNumber()));
}

Argument Arguments::Add(const std::string& name, double& variable, const std::string& help) {
  return Argument(app_.add_option(name, variable, help));
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
