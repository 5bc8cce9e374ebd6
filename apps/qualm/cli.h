// What the subcommands share: registration, the terminal's progress display, JSON output, exit codes.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "io/json.h"

namespace qualm::cli {

enum ExitCode { kOk = 0, kFailed = 1, kUsage = 2, kBadInput = 3 };

struct Globals {
  int threads = 0;  // 0: one per core
  bool quiet = false;
  bool json = false;
};

// A subcommand adds its options to `app` and returns what runs after parsing; the result is the exit
// code. Errors are thrown; main() turns them into messages and codes.
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

// A bar with ETA on a terminal, a plain line per step otherwise, nothing with --quiet. On stderr.
std::unique_ptr<Progress> MakeProgress(const Globals& globals);

void PrintJson(const Json& value);  // one object on stdout and a newline

}  // namespace qualm::cli
