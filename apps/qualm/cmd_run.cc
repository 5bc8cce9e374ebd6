// qualm run: plans a study and runs the stages that are not done yet, on this machine or through
// Slurm. What is done is never done again.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "data/named_corpora.h"
#include "quantize/plan.h"
#include "study/collect.h"
#include "study/estimate.h"
#include "study/executor.h"
#include "study/slurm.h"
#include "study_cli.h"

namespace qualm::cli {
namespace {

// Local runs use `jobs` and `memory_mib`; Slurm uses `cpus`, `at_once` and `slurm_options`.
struct Flags {
  StudyFlags study;
  std::string executor = "local";
  uint64_t jobs = 1, memory_mib = 0, cpus = 1, at_once = 0;
  std::vector<std::string> slurm_options;
  bool plan = false, keep_failed = false;
};

// Totals over the stages of one kind.
struct PlanTotals {
  size_t stages = 0, reused = 0;
  double seconds = 0;
  uint64_t disk_bytes = 0, memory_bytes = 0;
};

// Stages that are done cost nothing more.
std::map<StageKind, PlanTotals> TotalsOf(const StudyPlan& plan, const WorkFolder& work) {
  std::map<StageKind, PlanTotals> totals;
  for (const Stage& stage : plan.stages) {
    PlanTotals& sum = totals[stage.kind()];
    ++sum.stages;
    if (work.IsDone(stage.key)) {
      ++sum.reused;
      continue;
    }

    // Times and disk add up; memory is that of the largest stage.
    sum.seconds += stage.seconds;
    sum.disk_bytes += stage.disk_bytes;
    sum.memory_bytes = std::max(sum.memory_bytes, stage.memory_bytes);
  }
  return totals;
}

// Every stage with its key, so that scripts can follow a study.
Json PlanJson(const StudyPlan& plan, const WorkFolder& work) {
  Json stages = Json::array();
  for (const Stage& stage : plan.stages) {
    stages.push_back({{"key", stage.key},
                      {"kind", StageKindName(stage.kind())},
                      {"label", stage.label},
                      {"needs", stage.needs},
                      {"done", work.IsDone(stage.key)},
                      {"seconds", stage.seconds},
                      {"memory_bytes", stage.memory_bytes},
                      {"disk_bytes", stage.disk_bytes}});
  }

  // The stages, and which tests have no data.
  return {{"study", plan.spec.name},
          {"cells", plan.cells.size()},
          {"skipped", plan.skipped},
          {"stages", std::move(stages)}};
}

// What a run would do, how long it would take, and what is reused.
int PrintPlan(const StudyPlan& plan, const WorkFolder& work, const Globals& globals) {
  // JSON lists the stages, the table sums them by kind.
  if (globals.json) {
    PrintJson(PlanJson(plan, work));
    return kOk;
  }

  std::vector<std::vector<std::string>> rows = {
      {"stage", "all", "done before", "to do", "time", "most memory", "disk"}};
  // One row per kind, and a last one for all.
  PlanTotals all;
  for (const auto& [kind, sum] : TotalsOf(plan, work)) {
    rows.push_back({std::string(StageKindName(kind)), StrCat(sum.stages), StrCat(sum.reused),
                    StrCat(sum.stages - sum.reused), HumanSeconds(sum.seconds),
                    HumanBytes(sum.memory_bytes), HumanBytes(sum.disk_bytes)});
    all.stages += sum.stages;
    all.reused += sum.reused;
    all.seconds += sum.seconds;
    all.disk_bytes += sum.disk_bytes;
    all.memory_bytes = std::max(all.memory_bytes, sum.memory_bytes);
  }

  rows.push_back({"total", StrCat(all.stages), StrCat(all.reused), StrCat(all.stages - all.reused),
                  HumanSeconds(all.seconds), HumanBytes(all.memory_bytes),
                  HumanBytes(all.disk_bytes)});

  Print(StrCat("study ", plan.spec.name, ": ", plan.spec.title.en, "\n", plan.spec.question.en,
               "\n", plan.spec.models.size(), " models, ", plan.spec.recipes.size(), " recipes, ",
               plan.spec.calibrations.size(), " calibration sets, ", plan.spec.seeds, " seeds, ",
               plan.spec.tests.size() - plan.skipped.size(), " tests: ", plan.cells.size(),
               " cells\n\n", FormatTable(rows, {false, true, true, true, true, true, true}),
               "Times for one process after another, from shapes and this machine's speed; where "
               "three stages of a kind are done, from what they took.\n"));

  for (const std::string& test : plan.skipped) Print(StrCat("left out: ", test, "\n"));
  return kOk;
}

// "done_now" and "done_before" together are what the study has.
Json SummaryJson(const StudyPlan& plan, const WorkFolder& work, const RunSummary& summary) {
  return {{"study", plan.spec.name},      {"work", work.path().string()},
          {"stages", summary.total},      {"done_now", summary.done},
          {"done_before", summary.found}, {"failed", summary.failed},
          {"blocked", summary.blocked},   {"seconds", summary.seconds},
          {"failures", summary.failures}, {"skipped", plan.skipped}};
}

// How the run ended, and the command that comes next.
int PrintSummary(const StudyPlan& plan, const WorkFolder& work, const RunSummary& summary,
                 const Globals& globals) {
  if (globals.json) {
    PrintJson(SummaryJson(plan, work, summary));
  } else {
    // What was done, then what failed and why, then how to continue.
    Print(StrCat(plan.spec.name, ": ", summary.done + summary.found, " of ", summary.total,
                 " stages done (", summary.found, " before), ", summary.failed, " failed, ",
                 summary.blocked, " blocked by failures; ", HumanSeconds(summary.seconds), "\n"));
    for (const std::string& failure : summary.failures) Print(StrCat("failed: ", failure, "\n"));
    if (summary.is_interrupted) Print("interrupted; the same command continues\n");
    if (summary.failed == 0 && !summary.is_interrupted) {
      Print(StrCat("qualm report ", plan.spec.name, " --work ", work.path().string(),
                   " -o report.html\n"));
    }
  }

  // The exit code is 0 only if nothing is left to do.
  const bool is_whole = summary.failed == 0 && summary.blocked == 0 && !summary.is_interrupted;
  return is_whole ? kOk : kFailed;
}

// Sends all open stages to Slurm and returns at once.
int Submit(const Flags& flags, const StudyPlan& plan, const WorkFolder& work,
           const Globals& globals) {
  // Stages become job arrays; this process does not wait for them.
  SlurmOptions options;
  options.command = StageCommand(globals);
  options.cpus = flags.cpus;
  options.at_once = flags.at_once;
  options.extra = flags.slurm_options;
  options.retry_failed = !flags.keep_failed;

  // The next step for the user is qualm status, so its command is printed.
  const SlurmSubmission sent = SubmitToSlurm(plan, work, options);
  if (globals.json) {
    PrintJson({{"study", plan.spec.name},
               {"work", work.path().string()},
               {"submitted", sent.submitted},
               {"arrays", sent.arrays},
               {"done_before", sent.done_before},
               {"queued_before", sent.queued_before},
               {"left_alone", sent.left_alone},
               {"failures", sent.failures}});
  } else {
    for (const std::string& failure : sent.failures) {
      Print(StrCat(flags.keep_failed ? "failed, left alone: " : "failed, tried again: ", failure,
                   "\n"));
    }
    Print(StrCat(plan.spec.name, ": ", sent.submitted, " stages submitted in ", sent.arrays,
                 " job arrays; ", sent.done_before, " were done and ", sent.queued_before,
                 " in the queue before\nqualm status ", plan.spec.name, " --work ",
                 work.path().string(), "\n"));
  }
  return kOk;
}

int Run(const Flags& flags, const Globals& globals) {
  // The plan, with times from earlier stages where there are some.
  const std::unique_ptr<Progress> progress = MakeProgress(globals);
  ThreadPool pool(globals.threads);
  const Context context{pool, *progress};
  const WorkFolder work(flags.study.work);
  StudyPlan plan = PlanOf(flags.study, MeasureFlops(context), *progress);
  ScaleByHistory(plan, work);

  if (flags.plan) return PrintPlan(plan, work, globals);
  if (flags.executor == "slurm") return Submit(flags, plan, work, globals);

  // Locally, each group of stages runs in a separate process, and the display shows them.
  ExecutorOptions options;
  options.jobs = flags.jobs;
  options.threads = globals.threads;
  options.memory_bytes = flags.memory_mib << 20;
  options.retry_failed = !flags.keep_failed;
  options.command = StageCommand(globals);

  RunDisplay display(globals);
  options.on_change = [&](const RunView& view) { display.Show(view); };
  const RunSummary summary = RunLocally(plan, work, options);
  display.Finish();

  // Results go into the database even if stages failed.
  CollectResults(plan, work);
  return PrintSummary(plan, work, summary, globals);
}

}  // namespace

Command AddRun(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  // Which study, and where.
  AddStudyFlags(arguments, flags->study);
  arguments
      .Add("--jobs", flags->jobs,
           "Processes at once, as far as memory allows; they share the threads")
      .ShowDefault()
      .Positive();
  arguments.Add("--memory", flags->memory_mib,
                "MiB that they may take together; default: four fifths of what is available");

  // Where stages run.
  arguments.Add("--executor", flags->executor, "Where stages run")
      .OneOf({"local", "slurm"})
      .ShowDefault();
  arguments.Add("--cpus", flags->cpus, "Slurm: processors of each stage").ShowDefault().Positive();
  arguments.Add("--at-once", flags->at_once,
                "Slurm: stages of one array at the same time, at most");
  arguments
      .Add("--slurm-option", flags->slurm_options,
           "Slurm: an option for sbatch, --slurm-option=--partition=long; may be given several "
           "times")
      .OnePerFlag();

  arguments.Flag("--plan", flags->plan, "Print stages, reuse, time, memory and disk; do nothing");
  arguments.Flag("--keep-failed", flags->keep_failed, "Do not try again what failed before");

  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm run demo\n"
      "  qualm run s2-boss-small --data ~/datasets --jobs 2\n"
      "  qualm run s1-standard --model llama=~/models/Llama-2-7b --work /scratch/qualm --plan\n"
      "  qualm run s1-standard --work /shared/qualm --executor slurm --cpus 16 \\\n"
      "      --slurm-option=--partition=long\n"
      "  qualm run mine.yaml");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
