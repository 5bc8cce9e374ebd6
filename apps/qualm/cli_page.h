// All commands on one page, docs/cli.md: made of the options themselves, so that it cannot say
// anything else than the program does.
#pragma once

#include <string>
#include <string_view>

namespace CLI {
class App;
}

namespace qualm::cli {

// "Files: ...\nExit code 1: ...\n\n": what options do not say about a command. Shown by --help in
// front of the examples; empty for a command without notes.
std::string NotesOf(std::string_view command);

// The page in Markdown. `app` has all commands with their options.
std::string CliPage(const CLI::App& app);

}  // namespace qualm::cli
