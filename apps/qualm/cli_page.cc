// Writes the page of all commands: for each its grammar, its options, its files and exit codes.
// Grammar and options are read from the parser; files and exit codes are in a table here.
#include "cli_page.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <vector>

#include "base/strings.h"

namespace qualm::cli {
namespace {

// What a command reads and writes, and what its exit code 1 says.
struct Notes {
  const char* command;
  const char* files;
  const char* fails;
};

constexpr const char* kModelFolder =
    "MODEL: a folder, or ORG/NAME[@REVISION] in the Hugging Face cache (docs/models.md), with "
    "config.json, model.safetensors or pytorch_model.bin (or shards and their index) and a "
    "tokenizer: tokenizer.json, tokenizer.model, or vocab.json with merges.txt, "
    "with tokenizer_config.json, special_tokens_map.json and added_tokens.json where they are; "
    "quantized folders have qualm.json, too. Or a file or folder of another tool "
    "(docs/formats/foreign.md): GGUF, GPTQ, AWQ, compressed-tensors and others";
constexpr const char* kNothing = "the disk is full, or memory is short";

// ADD A SUBCOMMAND: its line here; tests/pages_test.sh asks for it.
constexpr Notes kNotes[] = {
    {"inspect", kModelFolder, kNothing},
    {"tokenize",
     "the tokenizer's files of a model folder, or one of them by its path; --file: text", kNothing},
    {"generate", kModelFolder, kNothing},
    {"chat", kModelFolder, kNothing},
    {"chat-template",
     "MODEL: a model folder, of which only the templates, tokenizer_config.json and "
     "special_tokens_map.json are read, or a Jinja file; --messages, --tools, --documents: JSON",
     kNothing},
    {"quantize",
     "MODEL: a float model folder; --calibration: .txt (one document), .jsonl (one a line), a "
     "folder "
     "of them, or a corpus by name, whose files lie below --data; --recipe: YAML (recipes/). "
     "Writes "
     "OUT: safetensors, qualm.json and the tokenizer's files (docs/formats/artefact.md)",
     "the disk is full, or weights or activations are not finite; what was committed is resumed"},
    {"convert",
     "MODEL: a quantized folder of qualm or of another tool (docs/formats/foreign.md), or a GGUF "
     "file. Writes --out: safetensors, config.json and the other small files of the model",
     "the disk is full; finished files are kept, and the same command writes the rest"},
    {"verify",
     "a folder that qualm quantize wrote, or a quantized model of another tool; --against: the "
     "float "
     "model folder",
     "the folder is not what its manifest says, or a product differs"},
    {"eval",
     "MODEL, --reference: model folders; --corpus: .txt, .jsonl, a folder of them, or a name; "
     "--task: names or YAML files (docs/tasks.md), whose rows lie below --data; --chat-template: a "
     "Jinja file. Writes --store: SQLite (docs/formats/results.md)",
     "a perplexity is not finite, or the store cannot be written"},
    {"data", "data sets below --data (datasets/*.yaml says which files). pull writes them there",
     "check found a set that is not whole, or pull could not get a file"},
    {"prompts",
     "TASK: names or YAML files, whose rows lie below --data; --model: its tokenizer_config.json "
     "and "
     "chat templates; --chat-template: a Jinja file",
     kNothing},
    {"samples", "STORE: a file of qualm eval --store", kNothing},
    {"compare", "STORE: a file of qualm eval --store", kNothing},
    {"judge",
     "REFERENCE, FILE: as MODEL of qualm eval; REFERENCE: also a file of llama.cpp's "
     "llama-perplexity --kl-divergence-base; --corpus, --task, --data: as of qualm eval. Writes "
     "--out: judge.html, judge.json (docs/formats/judge.md), results.db (docs/formats/results.md); "
     "while it runs the reference's states in reference-states",
     "the disk is full or a score is not a number; exit code 3: a file could not be judged, the "
     "results of the others are kept"},
    {"explain",
     "FIRST, SECOND: what qualm eval --json wrote (docs/formats/evaluation.md); --against, "
     "--samples: "
     "results_*.json and samples_*.jsonl of lm-evaluation-harness",
     "a difference was found in how the scores were made, and is named"},
    {"layer", "--weight, --inputs: .npy files of floats; --recipe: YAML. Writes .npy files",
     kNothing},
    {"bench", kModelFolder, kNothing},
    {"roofline", "MODEL: a model folder; --hardware, --recipe: names or YAML files", kNothing},
    {"stress", "MODEL: a float model folder. Writes a folder of the same kind", kNothing},
    {"run",
     "STUDY: a name or a YAML file (docs/formats/study.md), and all models, texts, tasks and "
     "recipes "
     "that it names. Writes the work folder (docs/formats/study-results.md)",
     "a stage failed or was blocked, or the run was interrupted: the same command continues"},
    {"report", "STUDY, and the work folder of its run. Writes --out", kNothing},
    {"export", "STUDY, and the work folder of its run. Writes --out and WORK/results.db", kNothing},
    {"status", "STUDY, and the work folder of its run", "a stage failed, or Slurm does not answer"},
    {"cancel", "STUDY, and the work folder of its run", "Slurm does not answer"},
    {"stage", "PLAN, and all files that it names. Writes the work folder", "a stage failed"},
    {"list", "none: what is compiled in", kNothing},
};

const Notes* FindNotes(std::string_view command) {
  const auto* found = std::ranges::find(kNotes, command, &Notes::command);
  return found == std::end(kNotes) ? nullptr : found;
}

// Lines of at most 80 characters for a terminal, the later ones indented.
std::string Wrapped(const std::string& text) {
  std::string lines;
  size_t column = 0;
  for (const std::string& word : Split(text, ' ')) {
    if (column > 0 && column + 1 + word.size() > 80) {
      lines += "\n ";
      column = 1;
    }
    lines += StrCat(column == 0 ? "" : " ", word);
    column += word.size() + (column == 0 ? 0 : 1);
  }
  return StrCat(lines, "\n");
}

bool IsHelp(const CLI::Option& option) { return option.check_lname("help"); }
bool IsFlag(const CLI::Option& option) {
  return !option.get_positional() && option.get_items_expected_max() == 0;
}
bool IsRepeated(const CLI::Option& option) { return option.get_items_expected_max() > 1; }

// "text", "number", or the values that there are.
std::string ValueOf(const CLI::Option& option) {
  if (IsFlag(option)) return "";
  const std::string type = option.get_type_name();
  const size_t open = type.find('{');
  if (open == std::string::npos) return type.starts_with("TEXT") ? "text" : "number";
  std::string values = type.substr(open + 1, type.find('}') - open - 1);
  for (size_t at = 0; (at = values.find(',', at)) != std::string::npos; at += 4) {
    values.replace(at, 1, "`, `");
  }
  return StrCat("`", values, "`");
}

// "-o,--out" as it is typed; a positional one by its name.
std::string NameOf(const CLI::Option& option) {
  return option.get_positional() ? option.get_name(true) : option.get_name(false, true);
}

// "[--limit VALUE]"; brackets where it may be left out, dots where it may be given several times.
std::string GrammarOf(const CLI::Option& option) {
  std::string text = option.get_positional()
                         ? option.get_name(true)
                         : StrCat("--", option.get_lnames()[0], IsFlag(option) ? "" : " VALUE");
  if (!option.get_required()) text = StrCat("[", text, "]");
  return IsRepeated(option) ? StrCat(text, "...") : text;
}

// Lines of at most 100 characters, the later ones indented.
std::string Usage(const CLI::App& command) {
  std::string text = StrCat("    qualm ", command.get_name());
  size_t column = text.size();
  const auto add = [&](const std::string& piece) {
    if (column + 1 + piece.size() > 100) {
      text += "\n         ";
      column = 9;
    }
    text += StrCat(" ", piece);
    column += 1 + piece.size();
  };

  // Positional ones first, then what is required.
  const std::vector<const CLI::Option*> options = command.get_options();
  for (const CLI::Option* option : options) {
    if (option->get_positional()) add(GrammarOf(*option));
  }
  for (bool is_required : {true, false}) {
    for (const CLI::Option* option : options) {
      if (option->get_positional() || IsHelp(*option)) continue;
      if (option->get_required() == is_required) add(GrammarOf(*option));
    }
  }
  return StrCat(text, "\n");
}

// A bar ends a cell of a table.
std::string Cell(const std::string& text) {
  std::string cell;
  for (char c : text) cell += c == '|' ? "\\|" : c == '\n' ? " " : std::string(1, c);
  return cell;
}

std::string NamesOf(const std::set<CLI::Option*>& options) {
  std::vector<std::string> names;
  for (const CLI::Option* option : options) names.push_back(StrCat("`", NameOf(*option), "`"));
  std::ranges::sort(names);  // a set of pointers is in the order of addresses
  return Join(names, ", ");
}

std::string OptionTable(const CLI::App& app) {
  std::string text = "| option | value | default | meaning |\n|---|---|---|---|\n";
  for (const CLI::Option* option : app.get_options()) {
    if (IsHelp(*option)) continue;
    std::string meaning = option->get_description();
    if (const auto others = option->get_excludes(); !others.empty()) {
      meaning += StrCat("; not with ", NamesOf(others));
    }
    if (const auto others = option->get_needs(); !others.empty()) {
      meaning += StrCat("; only with ", NamesOf(others));
    }
    const std::string standard = option->get_default_str();
    text += StrCat("| `", NameOf(*option), "`", option->get_required() ? " (required)" : "", " | ",
                   ValueOf(*option), " | ", standard.empty() ? "" : StrCat("`", standard, "`"),
                   " | ", Cell(meaning), " |\n");
  }
  return text;
}

// The examples of a footer, indented as code.
std::string ExamplesOf(const CLI::App& command) {
  std::string footer = command.get_footer();
  const size_t at = footer.find("Examples:\n");
  if (at == std::string::npos) return "";
  std::string text = "\nExamples:\n\n";
  for (const std::string& line : Split(footer.substr(at + 10), '\n')) {
    if (!line.empty()) text += StrCat("  ", line, "\n");
  }
  return text;
}

std::string Section(const CLI::App& command) {
  std::string text = StrCat("\n## ", command.get_name(), "\n\n", command.get_description(), ".\n\n",
                            Usage(command), "\n", OptionTable(command));
  if (const Notes* notes = FindNotes(command.get_name())) {
    text += StrCat("\nFiles: ", notes->files, ".\n\nExit code 1: ", notes->fails, ".\n");
  }
  return text + ExamplesOf(command);
}

}  // namespace

std::string NotesOf(std::string_view command) {
  const Notes* notes = FindNotes(command);
  if (notes == nullptr) return "";
  return StrCat(Wrapped(StrCat("Files: ", notes->files)),
                Wrapped(StrCat("Exit code 1: ", notes->fails)), "\n");
}

std::string CliPage(const CLI::App& app) {
  std::string text = StrCat(
      "# The command line\n\n"
      "Written by the program itself: `qualm --help-all` prints this page.\n\n"
      "    qualm COMMAND ... [--threads VALUE] [--isa VALUE] [--quiet]\n"
      "    qualm --help | --help-all | --version\n"
      "    qualm COMMAND --help\n\n"
      "In a command's grammar, what is in square brackets may be left out, and what has dots after "
      "it may be given several times. These may be given before or after a command:\n\n",
      OptionTable(app),
      "\nResults go to standard output, progress and messages to standard error. With `--json` "
      "standard output has one JSON object and nothing else. Files that are named by an option are "
      "written whole or not at all.\n\n"
      "| exit code | meaning |\n|---|---|\n"
      "| 0 | done |\n"
      "| 1 | failed: what was asked for was not reached, for no fault of the input (each command "
      "says when) |\n"
      "| 2 | wrong usage: the command line is wrong whatever the files hold. An unknown command or "
      "option, options that exclude each other, or a value that is wrong by itself: not a number, "
      "out of the option's range, not one of its words, not a day or not of its form |\n"
      "| 3 | bad input: a file is missing or wrong, or a value does not fit to it: more tokens "
      "than "
      "the model's context, a name that is neither built in nor a file's |\n\n"
      "Both messages have the form `[place] expected ...; got ...; hint`. The place of wrong usage "
      "is "
      "the option, and a line that names `--help` follows.\n\n");

  // The list of commands, then a section for each.
  const std::vector<const CLI::App*> commands =
      app.get_subcommands([](const CLI::App*) { return true; });
  text += "| command | does |\n|---|---|\n";
  for (const CLI::App* command : commands) {
    text += StrCat("| [", command->get_name(), "](#", command->get_name(), ") | ",
                   Cell(command->get_description()), " |\n");
  }
  for (const CLI::App* command : commands) text += Section(*command);
  return text;
}

}  // namespace qualm::cli
