// The program: reads the command line, runs one subcommand, turns errors into messages and exit
// codes (0 ok, 1 failed, 2 usage, 3 bad input).
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <new>

#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "cli_page.h"
#include "tensor/isa.h"
#include "usage_errors.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace qualm::cli {

namespace {

// ADD A SUBCOMMAND: cmd_<name>.cc, its declaration in cli.h, and a line here.
constexpr CommandEntry kCommands[] = {
    {"inspect", "Show a model: configuration, tensors, sizes, tokenizer", AddInspect},
    {"tokenize", "Text to token ids and back", AddTokenize},
    {"chat-template", "Messages as the text that a chat model reads", AddChatTemplate},
    {"generate", "Continue a prompt", AddGenerate},
    {"chat", "Talk with a model", AddChat},
    {"quantize", "Quantize a checkpoint block by block", AddQuantize},
    {"convert", "Write a quantized model of any format as a float checkpoint", AddConvert},
    {"verify", "Prove that a quantized folder is what it says", AddVerify},
    {"eval", "Perplexity of texts or scores of tasks, and the distance to a reference", AddEval},
    {"data", "Data sets of tasks: what there is and whether it is whole", AddData},
    {"prompts", "What a task asks, as texts, without a model", AddPrompts},
    {"samples", "What tasks asked and what was answered", AddSamples},
    {"compare", "Two models on the same items: differences, flips, significance", AddCompare},
    {"judge", "Files of one model, of any tool, side by side", AddJudge},
    {"explain", "Why two scores of one task or text differ", AddExplain},
    {"layer", "Quantize one linear layer from .npy files", AddLayer},
    {"bench", "Load time, memory, prefill and decode speed, energy", AddBench},
    {"roofline", "What bounds a model on a device, and what was measured", AddRoofline},
    {"stress", "The same float function with outliers in its activations", AddStress},
    {"run", "Run a study: calibrate, quantize and evaluate what is not done yet", AddRun},
    {"report", "What a study found: a page that opens offline, Markdown, CSV or LaTeX", AddReport},
    {"export", "Results of a study for other programs: SQLite, CSV, JSON, Parquet", AddExport},
    {"status", "How far a study is, here or in Slurm's queue", AddStatus},
    {"cancel", "Stop a study; what is done stays", AddCancel},
    {"stage", "Run single stages of a planned study; what executors start", AddStage},
    {"list", "What there is to choose from", AddList},
};

constexpr const char* kExamples =
    "Examples:\n"
    "  qualm inspect MODEL\n"
    "  qualm eval MODEL --corpus test.txt --reference FLOAT_MODEL\n"
    "  qualm list recipes\n"
    "  qualm COMMAND --help";

// What is wrong with the command line, with the nearest known name.
std::string UsageMessage(const CLI::App& app, const CLI::ParseError& error) {
  // No command, or an unknown one.
  std::vector<std::string> known;
  const std::vector<std::string> rest = app.remaining(/*recurse=*/true);
  const auto chosen = app.get_subcommands();
  if (chosen.empty()) {
    if (rest.empty()) return "[command line] expected a command; see 'qualm --help'";
    for (const CommandEntry& command : kCommands) known.emplace_back(command.name);
    const std::string nearest = NearestName(rest[0], known);
    return StrCat("[command line] unknown command '", rest[0], "'; ",
                  nearest.empty() ? "" : StrCat("did you mean '", nearest, "'? "),
                  "available: ", Join(known, ", "));
  }

  const std::string name = chosen[0]->get_name();
  std::string message = UsageText(error, name);

  // A word that the command does not know, probably a misspelt flag.
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr && !rest.empty()) {
    for (const CLI::Option* option : chosen[0]->get_options()) {
      for (const std::string& flag : option->get_lnames()) known.push_back("--" + flag);
    }
    // CLI11 returns the rest in no particular order. A misspelt flag explains the words after it,
    // so it is named first.
    const auto flag = std::find_if(rest.begin(), rest.end(),
                                   [](const std::string& word) { return word.starts_with('-'); });
    const std::string& word = flag == rest.end() ? rest[0] : *flag;
    const std::string nearest = NearestName(word, known);
    message = StrCat("[", name, "] unexpected '", word, "'");
    if (!nearest.empty()) message += StrCat("; did you mean '", nearest, "'?");
  }

  return StrCat(message, "\nRun 'qualm ", name, " --help' for usage.");
}

// Empty: the best instruction set that the processor has.
void PinInstructionSet(const std::string& name) {
  if (name.empty() || SetInstructionSet(name)) return;
  std::vector<std::string> available;
  for (std::string_view isa : AvailableInstructionSets()) available.emplace_back(isa);
  ThrowBadInput("--isa", "an instruction set of this processor", name,
                StrCat("it has ", Join(available, ", ")));
}

// The only place that catches: each kind of error has its exit code.
int Run(const Command& command, const Globals& globals) {
  try {
    // Before the command, which may choose kernels at once.
    PinInstructionSet(globals.isa);
    return command();
  } catch (const Error& error) {
    std::fprintf(stderr, "qualm: %s\n", error.what());
    return error.kind() == ErrorKind::kBadInput ? kBadInput : kFailed;
  } catch (const std::filesystem::filesystem_error& error) {
    // A path that cannot be read at all: it is too long, or in a folder without permission.
    std::fprintf(stderr, "qualm: [%s] expected a path that can be read; got: %s\n",
                 error.path1().c_str(), error.code().message().c_str());
    return kBadInput;
  } catch (const std::bad_alloc&) {
    std::fputs("qualm: [memory] not enough memory for this run\n", stderr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "qualm: [internal] %s\n", error.what());
  }
  return kFailed;
}

// A forward pass takes and frees the same few matrices in every block. glibc would hand those of a
// megabyte back to the system each time and have their pages cleared again, which costs a tenth of
// a prefill. Larger ones still come from the system and return to it at once.
void KeepFreedMemory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 128 << 20);
#endif
}

// Builds the parser from the table of commands, parses, and runs the one that was named.
int Main(int argc, char** argv) {
  KeepFreedMemory();
  // If the reader of our output goes away, that shows as a failed write, not as a signal.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit shows as a failed write, too
  Globals globals;

  // Flags that every command takes.
  CLI::App app("qualm: what does quantization do to this language model?", "qualm");
  app.set_version_flag("--version", "qualm " QUALM_VERSION);
  Arguments global(app);
  global.Add("--threads", globals.threads, /*most=*/4096, "Threads to use; 0: one per core");
  global.Add("--isa", globals.isa, "Pin the instruction set").OneOf({"scalar", "avx2", "avx512"});
  app.add_flag("--quiet", globals.quiet, "No progress on standard error");
  app.require_subcommand(1);
  app.footer(kExamples);

  // Every command adds its options to its own parser.
  std::vector<std::pair<CLI::App*, Command>> commands;
  for (const CommandEntry& entry : kCommands) {
    CLI::App* sub = app.add_subcommand(entry.name, entry.summary);
    sub->fallthrough();  // --threads and --quiet may also follow the command
    Arguments arguments(*sub);
    commands.emplace_back(sub, entry.add(arguments, globals));
    sub->footer(StrCat(NotesOf(entry.name), sub->get_footer()));
  }

  // After the commands, which would each take it over.
  app.set_help_all_flag("--help-all", "All commands with their options, in Markdown");

  // Help and version are not errors, but CLI11 reports them as exceptions.
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    Print(app.help());
    return FinishOutput() ? kOk : kFailed;
  } catch (const CLI::CallForAllHelp&) {
    Print(CliPage(app));
    return FinishOutput() ? kOk : kFailed;
  } catch (const CLI::CallForVersion& version) {
    Print(StrCat(version.what(), "\n"));
    return FinishOutput() ? kOk : kFailed;
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "qualm: %s\n", UsageMessage(app, error).c_str());
    return kUsage;
  }

  // Exactly one command was parsed.
  for (const auto& [sub, command] : commands) {
    if (!sub->parsed()) continue;
    const int code = Run(command, globals);
    return FinishOutput() || code != kOk ? code : kFailed;
  }
  return kUsage;
}

}  // namespace

}  // namespace qualm::cli

int main(int argc, char** argv) { return qualm::cli::Main(argc, argv); }
