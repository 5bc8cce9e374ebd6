// qualm verify: checks bit for bit that a quantized folder is what its manifest says, or that a
// file of another tool runs on the weights that it holds (quantize/verify.h).
#include <nlohmann/json.hpp>

#include "artefact/store.h"
#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "model_flags.h"
#include "quantize/verify.h"

namespace qualm::cli {
namespace {

struct Flags {
  ModelFlags model, against;
};

// A file of another tool: its layers are read and multiplied.
int RunForeign(const Flags& flags, const Globals& globals, const Context& context) {
  if (!flags.against.name.empty()) {
    ThrowBadInput("--against", "none: only folders of qualm say what they were made from",
                  flags.against.name);
  }
  const VerifyReport report = VerifyForeign(SourceOf(flags.model), context);
  if (globals.json) {
    PrintJson(Json{{"model", flags.model.name},
                   {"passed", report.passed()},
                   {"layers", report.layers},
                   {"weights", report.weights},
                   {"products", report.products},
                   {"problems", report.problems}});
    return report.passed() ? kOk : kFailed;
  }
  for (const std::string& problem : report.problems) Print(problem + "\n");
  if (!report.passed()) return kFailed;
  Print(StrCat(report.layers, " layers, ", report.weights, " weights read; ", report.products,
               " products of the real kernels equal to the dequantized weights' product, bit for "
               "bit; nothing was packed again\nverified\n"));
  return kOk;
}

// The library compares; this only prints what it found.
int Run(const Flags& flags, const Globals& globals) {
  ThreadPool pool(globals.threads);
  std::unique_ptr<Progress> progress = MakeProgress(globals);
  const Context context{pool, *progress};
  if (!HasManifest(flags.model.name)) return RunForeign(flags, globals, context);
  std::optional<ModelSource> against;
  if (!flags.against.name.empty()) against = SourceOf(flags.against);
  VerifyReport report = VerifyArtefact(flags.model.name, against, context);

  // Scripts get the counts in both cases and the exit code.
  if (globals.json) {
    PrintJson(Json{{"model", flags.model.name},
                   {"passed", report.passed()},
                   {"files", report.files},
                   {"layers", report.layers},
                   {"weights", report.weights},
                   {"products", report.products},
                   {"tensors_against", report.tensors_against},
                   {"errors_against", report.errors_against},
                   {"problems", report.problems}});
    return report.passed() ? kOk : kFailed;
  }

  // Problems replace the summary.
  for (const std::string& problem : report.problems) Print(problem + "\n");
  if (!report.passed()) {
    Print(
        StrCat(report.problems.size(), report.problems.size() == 1 ? " problem\n" : " problems\n"));
    return kFailed;
  }

  Print(StrCat(report.files, " files with their hashes; ", report.layers, " layers, ",
               report.weights, " weights unpacked and packed again; ", report.products,
               " products of the real kernels equal to the dequantized weights' product, bit for "
               "bit\n"));

  // Against the source, only weights that were not transformed can be compared.
  if (against) {
    Print(StrCat(report.tensors_against, " unquantized tensors and the weight errors of ",
                 report.errors_against, " layers compared with ", flags.against.name, "\n"));
    if (const size_t rest = report.layers - report.errors_against; rest > 0) {
      Print(StrCat(
          rest, " layers were rounded from transformed weights, which the source does not hold\n"));
    }
  }
  Print("verified\n");
  return kOk;
}

}  // namespace

Command AddVerify(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  arguments
      .Add("folder", flags->model.name,
           "A folder of qualm quantize, or a quantized model of another tool")
      .Required();
  arguments.Add("--against", flags->against.name, "The float checkpoint it was made from");
  AddOverrideFlags(arguments, flags->against, "that checkpoint");
  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm verify OUT\n  qualm verify OUT --against MODEL\n  qualm verify model.gguf");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
