// qualm export: writes the results of a study for other programs, as SQLite (always), CSV, Parquet
// or JSON.
#include <nlohmann/json.hpp>

#include "base/context.h"
#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "cli.h"
#include "io/json_text.h"
#include "report/observations.h"
#include "study/collect.h"
#include "study_cli.h"

namespace qualm::cli {
namespace {

// Without a form, only the database is brought up to date.
struct Flags {
  StudyFlags study;
  std::string out;
  bool csv = false, parquet = false;
};

int Run(const Flags& flags, const Globals& globals) {
  // The database is brought up to date first, whatever else is written.
  const WorkFolder work(flags.study.work);
  const StudyPlan plan = PlannedStudy(flags.study, work);
  const CollectCounts counts = CollectResults(plan, work);
  if (!flags.csv && !flags.parquet && !globals.json) {
    Print(StrCat(work.Results().string(), ": ", counts.stages, " stages and ", counts.items,
                 " items added\n"));
    return kOk;
  }

  // Everything else is made from the same table that reports read.
  ThreadPool pool(globals.threads);
  SilentProgress silent;
  const Context context{pool, silent};
  const StudyTable table = ReadStudyTable(plan, work);
  // Only the JSON text contains the analysis, which costs time.
  const StudyAnalysis analysis = globals.json ? AnalyseStudy(table, context) : StudyAnalysis();
  const ReportData data{plan, table, analysis, work};

  // Parquet needs a file; text goes to standard output without one.
  if (flags.parquet) {
    WriteParquet(flags.out, ObservationTable(data));
  } else {
    const std::string text =
        globals.json ? StrCat(JsonText(StudyJson(data)), "\n") : CsvOf(ObservationTable(data));
    if (flags.out.empty()) {
      Print(text);
      return kOk;
    }
    WriteFileAtomically(flags.out, text);
  }

  std::fprintf(stderr, "%s\n", flags.out.c_str());
  return kOk;
}

}  // namespace

Command AddExport(Arguments& arguments, Globals& globals) {
  // Which study.
  auto flags = std::make_shared<Flags>();
  AddPlannedStudyFlags(arguments, flags->study);

  arguments.Flag("--csv", flags->csv, "Every item of every cell as CSV");
  arguments.Flag("--parquet", flags->parquet, "The same as a Parquet file; needs --out");
  arguments.Add("-o,--out", flags->out, "File to write; default: standard output");

  AddJsonFlag(arguments, globals);
  arguments.Check([flags, &globals]() -> std::string {
    if (flags->csv + flags->parquet + globals.json > 1) {
      return "[export] expected one of --csv, --json and --parquet; got several";
    }
    if (flags->parquet && flags->out.empty())
      return "[--parquet] expected --out FILE in addition; got only --parquet";
    return "";
  });

  arguments.Examples(
      "  qualm export demo                          # brings WORK/results.db (SQLite) up to date\n"
      "  qualm export demo --csv -o items.csv\n"
      "  qualm export demo --parquet -o items.parquet\n"
      "  qualm export demo --json                   # summaries, comparisons, guidance");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
