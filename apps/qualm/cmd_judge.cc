// qualm judge: files of one model, of any tool and format, next to one another. Flags come in; a
// table or one JSON object goes out, and with -o a folder with the page and everything that a
// second run needs.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/context.h"
#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "cli.h"
#include "corpus_flags.h"
#include "data/named_corpora.h"
#include "evaluate/llama_logits.h"
#include "judge/judge.h"
#include "judge/verdict_json.h"
#include "model_flags.h"
#include "prompt_flags.h"
#include "report/judge_page.h"
#include "task_list.h"

namespace qualm::cli {
namespace {

struct Options {
  ModelFlags model;  // `name` is the reference; the others hold for all files
  CorpusFlags texts;
  std::vector<std::string> files, tasks;
  std::string out;
  PromptFlags prompt;
  size_t limit = 0;
  uint64_t rows = 0;
  bool no_noise_floor = false, no_speed = false, skip_missing = false, run_code = false;
  SpeedOptions speed;
};

// A folder that goes away with its contents.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "qualm-judge-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) ThrowFailed(name, "cannot make a folder");
    path_ = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

JudgeOptions OptionsOf(const Options& options, Progress& progress) {
  JudgeOptions judge;
  judge.protocol = options.texts.protocol;
  judge.seqlen = options.texts.seqlen;
  judge.limit = options.limit;
  judge.batch = options.texts.batch;
  judge.weights_only = options.model.weights_only;
  judge.noise_floor = !options.no_noise_floor;
  if (!options.no_speed) judge.speed = options.speed;

  TaskRunOptions& asking = judge.task_options;
  asking.data_folder = DataFolder(options.texts.data);
  asking.items = ItemOptionsOf(options.prompt);
  judge.tasks =
      FindTasks(options.tasks, asking.items, asking.data_folder, options.skip_missing, progress)
          .tasks;
  asking.items.limit = options.rows;
  asking.run_code = options.run_code;
  asking.style.system = options.prompt.system;
  return judge;
}

// --- What is printed.

std::string Short(double value) { return std::isnan(value) ? "-" : Significant(value, 4); }

std::string WithError(const Estimate& estimate) {
  if (std::isnan(estimate.standard_error)) return Short(estimate.value);
  return StrCat(Short(estimate.value), " ± ", Scientific(estimate.standard_error, 1));
}

std::string TitleOf(const JudgedRow& row) {
  const std::string reading = ReadingText(row.reading).en;
  return reading.empty() ? row.label : StrCat(row.label, " (", reading, ")");
}

std::string TextTable(const Verdict& verdict, size_t text) {
  std::vector<std::vector<std::string>> table = {{"file", "MB", "bits", "ppl", "delta log ppl",
                                                  "mean KL", "median", "99.9 %", "max",
                                                  "top-1 flips %", "bits/byte", "front"}};
  for (const JudgedRow& row : verdict.rows) {
    if (text >= row.texts.size()) continue;
    const JudgedText& judged = row.texts[text];
    std::vector<std::string> cells = {
        TitleOf(row), Fixed(static_cast<double>(row.file_bytes) / 1e6, 1),
        Fixed(row.bits_per_weight, 3), judged.has_own_tokens ? "-" : WithError(judged.scores.ppl)};
    if (const std::optional<Comparison>& comparison = judged.scores.comparison) {
      const Estimate& same = comparison->top1_agreement;
      cells.insert(cells.end(), {WithError(comparison->delta_log_ppl),
                                 WithError(comparison->kl_mean), WithError(comparison->kl_median),
                                 WithError(comparison->kl_p999), Short(comparison->kl_max.value),
                                 WithError({100 * (1 - same.value), 100 * same.standard_error})});
    } else {
      cells.insert(cells.end(), 6, "-");
    }
    cells.push_back(WithError(judged.bits_per_byte));
    cells.emplace_back(judged.is_on_front ? "*" : "");
    table.push_back(std::move(cells));
  }
  return FormatTable(table, {false, true, true, true, true, true, true, true, true, true, true});
}

std::string TaskTable(const Verdict& verdict) {
  std::vector<std::vector<std::string>> table = {
      {"file", "task", "shots", "metric", "value", "n", "baseline"}};
  for (const JudgedRow& row : verdict.rows) {
    for (const JudgedTask& task : row.tasks) {
      table.push_back({TitleOf(row), task.name, StrCat(task.key.shots), task.score.metric,
                       WithError(task.score.estimate), StrCat(task.score.n),
                       Short(task.score.baseline)});
    }
  }
  return table.size() == 1
             ? ""
             : StrCat("\n", FormatTable(table, {false, false, true, false, true, true, true}));
}

std::string SpeedTable(const Verdict& verdict) {
  std::vector<std::vector<std::string>> table = {
      {"file", "load s", "prefill tokens/s", "decode tokens/s", "peak memory"}};
  for (const JudgedRow& row : verdict.rows) {
    if (!row.speed) continue;
    const SpeedPoint& point = row.speed->points.front();
    table.push_back({TitleOf(row), Fixed(row.speed->load_seconds.median, 3),
                     Fixed(point.prefill.median, 1), Fixed(point.decode.median, 1),
                     HumanBytes(row.speed->peak_memory_bytes)});
  }
  if (table.size() == 1) return "";
  return StrCat("\n", FormatTable(table, {false, true, true, true, true}), "medians; ",
                verdict.machine, "\n");
}

constexpr size_t kMostPairs = 20;

// Only what may be chance is worth a line in a terminal; page and JSON have all pairs.
std::string PairText(const Verdict& verdict) {
  std::vector<std::vector<std::string>> table = {
      {"first", "second", "measure", "second - first", "n", "p (Holm)"}};
  size_t clear = 0, unclear = 0;
  for (const JudgedPair& pair : verdict.pairs) {
    if (pair.p_holm < 0.05) {
      ++clear;
      continue;
    }
    if (++unclear > kMostPairs) continue;
    table.push_back({TitleOf(verdict.rows[pair.first]), TitleOf(verdict.rows[pair.second]),
                     StrCat(pair.measure, " on ", pair.of), WithError(pair.test.difference),
                     StrCat(pair.test.n), std::isnan(pair.p_holm) ? "-" : Fixed(pair.p_holm, 4)});
  }
  if (verdict.pairs.empty()) return "";
  const std::string counts =
      StrCat("\n", clear, " of ", verdict.pairs.size(),
             " paired differences are significant (p < 0.05, Holm over all)");
  if (table.size() == 1) return counts + "\n";
  const std::string more =
      unclear > kMostPairs ? StrCat("and ", unclear - kMostPairs, " more (-o, --json)\n") : "";
  return StrCat(counts, "; these are not:\n",
                FormatTable(table, {false, false, false, true, true, true}), more);
}

void PrintVerdict(const Verdict& verdict) {
  size_t texts = 0;
  for (const JudgedRow& row : verdict.rows) texts = std::max(texts, row.texts.size());
  for (size_t t = 0; t < texts; ++t) {
    const auto with_text = std::ranges::find_if(
        verdict.rows, [&](const JudgedRow& row) { return t < row.texts.size(); });
    const TextScores& scores = with_text->texts[t].scores;
    Print(StrCat(t == 0 ? "" : "\n", scores.name, ": protocol ", verdict.protocol, " (version ",
                 verdict.protocol_version, "), seqlen ", verdict.seqlen, "; errors over ",
                 scores.windows, " windows, ", scores.targets, " tokens\n", TextTable(verdict, t)));
  }
  if (texts > 0) {
    Print("KL(reference || file) in nats; *: no other file is as small and nearer\n");
  }
  Print(StrCat(TaskTable(verdict), SpeedTable(verdict), PairText(verdict)));
  for (const JudgedRow& row : verdict.rows) {
    if (!row.error.empty()) Print(StrCat(TitleOf(row), ": ", row.error, "\n"));
  }
  if (!verdict.reference_note.empty()) Print(StrCat(verdict.reference_note, "\n"));
}

int Run(const Options& options, const Globals& globals) {
  ThreadPool pool(globals.threads);
  const std::unique_ptr<Progress> progress = MakeProgress(globals);
  const Context context{pool, *progress};

  // Mistakes in names first, before anything is loaded.
  std::vector<ModelSource> files;
  const auto source_of = [&](const std::string& name) {
    ModelFlags flags = options.model;
    flags.name = name;
    return SourceOf(flags);
  };
  const bool is_stored = LlamaLogits::IsOne(options.model.name);
  const ModelSource reference =
      is_stored ? ModelSource(options.model.name) : source_of(options.model.name);
  if (is_stored && !options.texts.corpora.empty()) {
    ThrowBadInput("--corpus", StrCat("none: ", options.model.name, " brings its own text"),
                  options.texts.corpora.front());
  }
  if (!is_stored && options.texts.corpora.empty() && options.tasks.empty()) {
    ThrowBadInput("judge", "--corpus or --task", "neither");
  }
  for (const std::string& file : options.files) files.push_back(source_of(file));
  JudgeOptions judge = OptionsOf(options, *progress);
  std::vector<JudgedCorpus> corpora;
  for (const std::string& corpus : options.texts.corpora) {
    NamedText text = ReadCorpus(options.texts, corpus, *progress);
    corpora.push_back({std::move(text.name), std::move(text.text)});
  }

  // Without a folder to keep, everything is computed for this run alone.
  std::optional<ScratchFolder> scratch;
  std::filesystem::path folder = options.out;
  if (options.out.empty()) {
    folder = scratch.emplace().path();
  } else {
    std::error_code failed;
    std::filesystem::create_directories(folder, failed);
    if (failed) ThrowFailed(options.out, StrCat("cannot make the folder: ", failed.message()));
  }

  const Verdict verdict = Judge(reference, files, corpora, std::move(judge), folder, context);
  const Json json = VerdictJson(verdict);
  if (!options.out.empty()) {
    WriteJsonFile(folder / "judge.json", json);
    WriteFileAtomically(folder / "judge.html", JudgePage(verdict));
  }
  if (globals.json) {
    PrintJson(json);
  } else {
    PrintVerdict(verdict);
    if (!options.out.empty()) Print(StrCat("\n", (folder / "judge.html").string(), "\n"));
  }
  const bool is_whole =
      std::ranges::all_of(verdict.rows, [](const JudgedRow& row) { return row.error.empty(); });
  if (!is_whole) return kBadInput;

  // The warning has said already that a perplexity is not a number; scripts see it by the code.
  const bool is_finite = std::ranges::all_of(verdict.rows, [](const JudgedRow& row) {
    return std::ranges::all_of(
        row.texts, [](const JudgedText& text) { return std::isfinite(text.scores.ppl.value); });
  });
  return is_finite ? kOk : kFailed;
}

}  // namespace

Command AddJudge(Arguments& arguments, Globals& globals) {
  auto options = std::make_shared<Options>();
  // What is judged.
  arguments
      .Add("REFERENCE", options->model.name,
           "What the files are compared with, usually the float model: a folder, a file, "
           "ORG/NAME[@REVISION], or a file of llama-perplexity --kl-divergence-base")
      .Required();
  arguments.Add("FILE", options->files, "Folders and files of the same model, of any format")
      .Required();
  AddOverrideFlags(arguments, options->model, "every model");

  // On what.
  AddCorpusFlags(arguments, options->texts, "the reference");
  arguments.Add("--limit", options->limit, "Only the first N windows of each corpus").Positive();
  arguments
      .Add("--task", options->tasks,
           "Tasks, groups or .yaml files, separated by commas; may be given several times")
      .OnePerFlag();
  arguments.Add("--rows", options->rows, "Only N drawn rows of each task").Positive();
  AddPromptFlags(arguments, options->prompt);
  arguments.Flag("--skip-missing", options->skip_missing,
                 "Leave out tasks whose data is not available, and say so");
  arguments.Flag("--run-code", options->run_code,
                 "Run programs that the model writes (pass@k), in a sandbox without network");

  // What is left out, and where the results go.
  arguments.Flag("--no-noise-floor", options->no_noise_floor,
                 "Leave out the reference computed in bfloat16");
  arguments.Flag("--no-speed", options->no_speed, "Measure no speed");
  arguments.Add(
      "-o,--out", options->out,
      "Folder for judge.html, judge.json and results.db, which the same command continues");
  AddJsonFlag(arguments, globals);

  arguments.Check([options]() -> std::string {
    if (options->prompt.settings.chat_template.empty()) return ComplaintAbout(options->prompt);
    return StrCat("[--chat-template] expected none: tasks are asked as plain texts here; got ",
                  options->prompt.settings.chat_template);
  });
  arguments.Examples(
      "  qualm judge MODEL model-Q4_K_M.gguf MODEL-GPTQ MODEL-AWQ --corpus wiki.test.raw -o "
      "judged\n"
      "  qualm judge MODEL a.gguf b.gguf --task hellaswag,mmlu --rows 500 --data DATA -o judged\n"
      "  qualm judge logits.bin a.gguf --protocol llama.cpp --json");
  return [options, &globals] { return Run(*options, globals); };
}

}  // namespace qualm::cli
