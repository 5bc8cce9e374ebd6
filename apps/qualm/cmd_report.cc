// qualm report: writes what a study found as a page (HTML) or as text (Markdown, CSV, LaTeX).
#include "analysis/study_analysis.h"
#include "base/context.h"
#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "cli.h"
#include "report/report.h"
#include "study_cli.h"

namespace qualm::cli {
namespace {

// Without a form, the report is an HTML page.
struct Flags {
  StudyFlags study;
  std::string out;
  bool markdown = false, csv = false, latex = false;
};

int Run(const Flags& flags, const Globals& globals) {
  // The study must have been planned and must have results.
  const WorkFolder work(flags.study.work);
  const StudyPlan plan = PlannedStudy(flags.study, work);
  ThreadPool pool(globals.threads);
  SilentProgress silent;
  const Context context{pool, silent};
  const StudyTable table = ReadStudyTable(plan, work);
  if (table.runs == table.missing_runs) {
    ThrowBadInput(plan.spec.name, "results", "none in this work folder", "qualm run makes them");
  }

  // One analysis serves all forms of the report.
  const StudyAnalysis analysis = AnalyseStudy(table, context);
  const ReportData data{plan, table, analysis, work};
  const std::string text = flags.markdown ? MarkdownReport(data)
                           : flags.csv    ? CsvReport(data)
                           : flags.latex  ? LatexReport(data)
                                          : HtmlReport(data);

  // Text on standard output can be piped on; a file is announced.
  if (flags.out.empty()) {
    Print(text);
    return kOk;
  }

  // A report with gaps is useful, but it must not pass for a complete one.
  WriteFileAtomically(flags.out, text);
  if (table.missing_runs > 0) {
    MakeProgress(globals)->Warn(
        StrCat(table.missing_runs, " of ", table.runs, " cells are missing in ", flags.out));
  }
  Print(StrCat(flags.out, ": ", HumanBytes(text.size()), "\n"));
  return kOk;
}

}  // namespace

Command AddReport(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  // Which study, and in which form.
  AddPlannedStudyFlags(arguments, flags->study);
  arguments.Add("-o,--out", flags->out, "File to write; default: standard output");
  arguments.Flag("--markdown", flags->markdown, "Markdown in place of a page");
  arguments.Flag("--csv", flags->csv, "All cells as CSV");
  arguments.Flag("--latex", flags->latex, "Tables for LaTeX (booktabs)");

  arguments.Check([flags]() -> std::string {
    return flags->markdown + flags->csv + flags->latex > 1
               ? "[report] expected one of --markdown, --csv and --latex; got several"
               : "";
  });

  arguments.Examples(
      "  qualm report demo -o report.html\n"
      "  qualm report s2-boss-small --markdown\n"
      "  qualm report s1-standard --work /scratch/qualm --latex -o tables.tex");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
