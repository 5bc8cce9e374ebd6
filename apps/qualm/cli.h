// Shared by the subcommands: registration, output, the terminal's progress display, exit codes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "arguments.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "io/json.h"

namespace qualm {
struct Corpus;
}

namespace qualm::cli {

enum ExitCode { kOk = 0, kFailed = 1, kUsage = 2, kBadInput = 3 };

// Flags that every subcommand takes, before or after its name.
struct Globals {
  int threads = 0;  // 0: one per core
  bool quiet = false;
  std::string isa;    // empty: the best that the processor has
  bool json = false;  // see AddJsonFlag
};

// A subcommand adds its options to `arguments` and returns a function that runs after parsing; its
// result is the exit code. Errors are thrown; main() turns them into messages and codes. `globals`
// outlives the command.
using Command = std::function<int()>;
// A line of the table in main.cc.
struct CommandEntry {
  const char* name;
  const char* summary;
  Command (*add)(Arguments& arguments, Globals& globals);
};

// One per cmd_<name>.cc, listed in main.cc.
Command AddInspect(Arguments& arguments, Globals& globals);
Command AddPrompts(Arguments& arguments, Globals& globals);
Command AddTokenize(Arguments& arguments, Globals& globals);
Command AddChatTemplate(Arguments& arguments, Globals& globals);
Command AddGenerate(Arguments& arguments, Globals& globals);
Command AddChat(Arguments& arguments, Globals& globals);
Command AddQuantize(Arguments& arguments, Globals& globals);
Command AddConvert(Arguments& arguments, Globals& globals);
Command AddVerify(Arguments& arguments, Globals& globals);
Command AddEval(Arguments& arguments, Globals& globals);
Command AddLayer(Arguments& arguments, Globals& globals);
Command AddBench(Arguments& arguments, Globals& globals);
Command AddData(Arguments& arguments, Globals& globals);
Command AddSamples(Arguments& arguments, Globals& globals);
Command AddCompare(Arguments& arguments, Globals& globals);
Command AddJudge(Arguments& arguments, Globals& globals);
Command AddExplain(Arguments& arguments, Globals& globals);
Command AddRoofline(Arguments& arguments, Globals& globals);
Command AddStress(Arguments& arguments, Globals& globals);
Command AddRun(Arguments& arguments, Globals& globals);
Command AddReport(Arguments& arguments, Globals& globals);
Command AddExport(Arguments& arguments, Globals& globals);
Command AddStatus(Arguments& arguments, Globals& globals);
Command AddCancel(Arguments& arguments, Globals& globals);
Command AddStage(Arguments& arguments, Globals& globals);
Command AddList(Arguments& arguments, Globals& globals);

// --json
void AddJsonFlag(Arguments& arguments, Globals& globals);
// Warns if the corpus has bytes that are not UTF-8.
void WarnOfBytes(const Corpus& corpus, Progress& progress);
// The same for a text, with the first of the bytes.
void WarnOfBytes(std::string_view text, std::string_view place, Progress& progress);
// --data FOLDER, the folder with the files of corpora that are known by name.
void AddDataFlag(Arguments& arguments, std::string& folder);

// See progress_display.h.
std::unique_ptr<Progress> MakeProgress(const Globals& globals);

// All of standard output goes through here. If the reader has gone away, that is not an error until
// the end; see FinishOutput.
void Print(std::string_view text);
void PrintJson(const Json& value);  // one object on one line

// Flushes standard output; false if anything could not be written (reported on stderr, except for a
// closed pipe).
bool FinishOutput();
// Writes what is buffered now; false, with the reason kept for FinishOutput, if that fails.
bool FlushOutput();

// Columns padded to equal width, with two spaces between them; `right` columns are aligned to the
// right. Cells are measured in code points.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows,
                        const std::vector<bool>& right);

}  // namespace qualm::cli
