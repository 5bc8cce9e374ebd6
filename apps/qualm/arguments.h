// The options of one subcommand: a thin layer over CLI11, so that its templates are compiled once.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace qualm::cli {

// One option or flag. Each call refines it and returns it again, so calls can be chained.
class Argument {
 public:
  explicit Argument(CLI::Option* option) : option_(option) {}
  Argument Required();
  Argument ShowDefault();    // prints the variable's value in --help
  Argument Positive();       // of Add with an integer: at least 1
  Argument Whole();          // a text that writes a whole number
  Argument OptionalValue();  // the flag alone gives an empty value
  Argument OnePerFlag();     // a list takes one value each time the flag is given
  Argument OneOf(const std::vector<std::string>& names);
  Argument NotEmpty(const std::string& expected);
  // A number (of Add with a double) that is as `expected` says.
  Argument Within(const std::string& expected, bool (*is_right)(double));
  // `check` throws bad input at the option's name for a value that no file and no model makes
  // right. It becomes a usage error.
  Argument Checked(std::function<void(const std::string&)> check);
  Argument Excludes(Argument other);
  Argument Needs(Argument other);

 private:
  CLI::Option* option_;
};

// Collects the options of one command. Check and Examples come last, after all options.
class Arguments {
 public:
  explicit Arguments(CLI::App& app) : app_(app) {}
  // `name` is "--name", "-n,--name", or "NAME" for a positional one. The variable must live until
  // the command line is parsed; its value is the default.
  Argument Add(const std::string& name, std::string& variable, const std::string& help);
  Argument Add(const std::string& name, std::optional<std::string>& variable,
               const std::string& help);
  Argument Add(const std::string& name, uint64_t& variable, const std::string& help);
  Argument Add(const std::string& name, double& variable, const std::string& help);  // finite
  // A whole number from 0 to `most`.
  Argument Add(const std::string& name, int& variable, int most, const std::string& help);
  Argument Add(const std::string& name, std::vector<std::string>& variable,
               const std::string& help);
  Argument Flag(const std::string& name, bool& variable, const std::string& help);
  // Called when all options are read; a text that it returns is a usage error.
  void Check(std::function<std::string()> complaint);
  // Shown under the options by --help.
  void Examples(const std::string& examples);

 private:
  CLI::App& app_;
};

}  // namespace qualm::cli
