// qualm stress: writes a model with the same float function and outliers in its activations
// (quantize/stress.h).
#include <nlohmann/json.hpp>

#include "base/context.h"
#include "base/strings.h"
#include "cli.h"
#include "model_flags.h"
#include "quantize/stress.h"

namespace qualm::cli {
namespace {

struct Flags {
  ModelFlags model;
  std::string out;
  StressOptions options;
};

int Run(const Flags& flags, const Globals& globals) {
  // The library takes paths, the command line has texts.
  StressOptions options = flags.options;
  options.model = SourceOf(flags.model);
  options.out = flags.out;
  ThreadPool pool(globals.threads);
  std::unique_ptr<Progress> progress = MakeProgress(globals);
  const Context context{pool, *progress};

  const StressReport report = MakeStressModel(options, context);

  if (globals.json) {
    PrintJson(Json{{"model", flags.model.name},
                   {"out", flags.out},
                   {"channels", options.channels},
                   {"factor", options.factor},
                   {"seed", options.seed},
                   {"tensors_changed", report.tensors_changed},
                   {"groups", report.inputs_changed},
                   {"left_out", report.left_out}});
    return kOk;
  }

  // What was changed, and where no factor could go in.
  Print(StrCat(flags.out, ": ", options.channels, " channels of each of ", report.inputs_changed,
               " inputs of linear layers are ", options.factor, " times larger; ",
               report.tensors_changed, " tensors changed\n"));
  if (!report.left_out.empty()) {
    Print(StrCat("left as they are, nothing before them can take a factor: ",
                 Join(report.left_out, ", "), "\n"));
  }
  return kOk;
}

}  // namespace

Command AddStress(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  // Which model, where to, and how strong the outliers are.
  AddModelFlags(arguments, flags->model, "model", "Float model");
  arguments.Add("-o,--out", flags->out, "A new or empty folder").Required();
  arguments.Add("--channels", flags->options.channels, "Channels of each input that get larger")
      .ShowDefault()
      .Positive();
  arguments
      .Add("--factor", flags->options.factor,
           "What they are multiplied by; with powers of two the model gives the same bits")
      .ShowDefault()
      .Within("a number above 0, usually 30 to 100", [](double value) { return value > 0; });
  arguments.Add("--seed", flags->options.seed, "Chooses the inputs").ShowDefault();

  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm stress MODEL -o STRESSED\n"
      "  qualm stress MODEL -o STRESSED --channels 2 --factor 32 --seed 1");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
