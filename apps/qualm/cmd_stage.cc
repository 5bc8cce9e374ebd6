// qualm stage: runs stages of a plan. Executors start it, so that each group of stages has its own
// process.
#include <sys/prctl.h>

#include <charconv>
#include <csignal>
#include <filesystem>
#include <optional>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "study/stage_run.h"
#include "study/work_folder.h"

namespace qualm::cli {
namespace {

struct Flags {
  std::string plan;
  std::vector<std::string> keys;
  bool dies_with_parent = false;
  std::optional<std::string> ended;
  std::string log;
};

// The code that a process ended with.
int CodeOf(const std::string& text) {
  int code = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), code);
  if (error != std::errc() || end != text.data() + text.size()) {
    ThrowBadInput("--ended", "an exit code", StrCat("'", text, "'"));
  }
  return code;
}

// For a script that saw the process of a stage end: what the stage itself could not record.
int RecordEnd(const Flags& flags, const StudyPlan& plan, const WorkFolder& work) {
  for (const std::string& key : flags.keys) {
    RecordDeath(plan, plan.Find(key), work, CodeOf(*flags.ended), flags.log);
  }
  return kOk;
}

int Run(const Flags& flags, const Globals& globals) {
  // A run that is killed takes its stages along; the next run continues them.
  if (flags.dies_with_parent) prctl(PR_SET_PDEATHSIG, SIGKILL);
  const StudyPlan plan = StudyPlanFromJson(ReadJsonFile(flags.plan), flags.plan);

  // The plan's path also tells the work folder: the plan is WORK/plans/HASH.json.
  const WorkFolder work(std::filesystem::absolute(flags.plan).parent_path().parent_path());
  if (flags.ended) return RecordEnd(flags, plan, work);

  ThreadPool pool(globals.threads);
  const std::unique_ptr<Progress> progress = MakeProgress(globals);
  const Context context{pool, *progress};

  // Each stage that ends prints a line, which goes to the log of the job.
  StageRunOptions options;
  options.version = QUALM_VERSION;
  options.on_end = [](const Stage& stage, StageEnd end, const std::string& error) {
    constexpr const char* kNames[] = {"done", "was done", "failed", "runs elsewhere"};
    Print(StrCat(kNames[static_cast<size_t>(end)], ": ", stage.label, error.empty() ? "" : ": ",
                 error, "\n"));
  };

  size_t failed = 0;
  for (StageEnd end : RunStages(plan, flags.keys, work, options, context)) {
    failed += end == StageEnd::kFailed ? 1 : 0;
  }
  return failed == 0 ? kOk : kFailed;
}

}  // namespace

Command AddStage(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  arguments.Add("PLAN", flags->plan, "WORK/plans/HASH.json, as qualm run writes it").Required();
  arguments.Add("KEYS", flags->keys, "Stages, in the order they are to run").Required();
  arguments.Flag("--die-with-parent", flags->dies_with_parent,
                 "End when the process that started this one does");
  const Argument ended = arguments
                             .Add("--ended", flags->ended,
                                  "Run nothing: record that the stages' process ended with this "
                                  "code, if nothing else is")
                             .Checked([](const std::string& text) { (void)CodeOf(text); });
  arguments.Add("--log", flags->log, "With --ended: the log that has its last line").Needs(ended);
  arguments.Examples(
      "  qualm stage qualm-work/plans/5c1e....json 0f3a...   # as executors do\n"
      "  qualm stage qualm-work/plans/5c1e....json 0f3a... --ended 137 --log "
      "qualm-work/logs/a.log");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
