// What the subcommands share: registration, output, the terminal's progress display, exit codes.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "io/json.h"

namespace qualm::cli {

enum ExitCode { kOk = 0, kFailed = 1, kUsage = 2, kBadInput = 3 };

// Flags that every subcommand takes, before or after its name.
struct Globals {
  int threads = 0;  // 0: one per core
  bool quiet = false;
  bool json = false;  // see AddJsonFlag
};

// A subcommand adds its options to `app` and returns what runs after parsing; the result is the
// exit code. Errors are thrown; main() turns them into messages and codes. `globals` outlives the
// command.
using Command = std::function<int()>;
struct CommandEntry {
  const char* name;
  const char* summary;
  Command (*add)(CLI::App& app, Globals& globals);
};

// One per cmd_<name>.cc, listed in main.cc.
Command AddInspect(CLI::App& app, Globals& globals);
Command AddTokenize(CLI::App& app, Globals& globals);
Command AddGenerate(CLI::App& app, Globals& globals);
Command AddQuantize(CLI::App& app, Globals& globals);
Command AddVerify(CLI::App& app, Globals& globals);
Command AddEval(CLI::App& app, Globals& globals);
Command AddLayer(CLI::App& app, Globals& globals);
Command AddBench(CLI::App& app, Globals& globals);
Command AddList(CLI::App& app, Globals& globals);

// --json, and the text printed by --help after the options.
void AddJsonFlag(CLI::App& app, Globals& globals);
void SetExamples(CLI::App& app, const std::string& examples);

// A check for options: a whole number, at least 1.
CLI::Validator PositiveCount();

// See progress_display.h.
std::unique_ptr<Progress> MakeProgress(const Globals& globals);

// All of standard output goes through here. A reader that has gone away is no error until the end;
// see FinishOutput.
void Print(std::string_view text);
void PrintJson(const Json& value);  // one object on one line

// Writes out what is buffered; false if anything could not be written (told on stderr, except for
// a closed pipe).
bool FinishOutput();

// Columns padded to equal width, two spaces between them; `right` columns are set to the right.
// Cells are measured in code points.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows,
                        const std::vector<bool>& right);

}  // namespace qualm::cli
