// qualm convert: a quantized model of any format in another form (formats/hf_export.h).
#include <nlohmann/json.hpp>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "formats/hf_export.h"
#include "formats/peft_adapter.h"
#include "model/model_source.h"

namespace qualm::cli {
namespace {

struct Flags {
  std::string model, to = "hf", out, base, dtype = "library", gptq_zeros = "auto";
  uint64_t shard_megabytes = 5000;
  bool plan = false;
};

HfExportOptions OptionsFrom(const Flags& flags) {
  HfExportOptions options;
  options.model = PeftAdapter::IsOne(flags.model) ? std::filesystem::path(flags.model)
                                                  : MakeModelSource(flags.model, {}, {}).folder;
  if (!flags.base.empty()) options.base = MakeModelSource(flags.base, {}, {}).folder;
  options.out = flags.out;
  options.shard_bytes = flags.shard_megabytes * 1'000'000;
  options.read.gptq_zeros = EnumFromName<GptqZeros>(flags.gptq_zeros, "--gptq-zeros");
  if (flags.dtype == "float32") options.dtype = DType::kF32;
  if (flags.dtype == "float16") options.dtype = DType::kF16;
  if (flags.dtype == "bfloat16") options.dtype = DType::kBF16;
  return options;
}

int Run(const Flags& flags, const Globals& globals) {
  if (!flags.plan && flags.out.empty()) ThrowBadInput("-o", "a folder", "none");
  ThreadPool pool(globals.threads);
  const std::unique_ptr<Progress> progress = MakeProgress(globals);
  const HfExportOptions options = OptionsFrom(flags);
  const HfExportPlan plan =
      flags.plan ? PlanHfExport(options) : ExportHf(options, Context{pool, *progress});
  for (const std::string& warning : plan.description.warnings) progress->Warn(warning);
  for (const std::string& warning : plan.warnings) progress->Warn(warning);

  if (globals.json) {
    PrintJson({{"model", flags.model},
               {"format", plan.description.name},
               {"variant", plan.description.variant},
               {"tool", plan.description.tool},
               {"out", flags.out},
               {"dtype", flags.dtype},
               {"layers", plan.layers},
               {"tensors", plan.tensors},
               {"bytes", plan.bytes},
               {"files", plan.shards},
               {"warnings", plan.warnings},
               {"written", !flags.plan}});
    return kOk;
  }
  Print(StrCat(plan.description.name, " (", plan.description.variant, "): ", plan.layers,
               " layers dequantized as ", flags.dtype, ", ", plan.tensors, " tensors, ", plan.bytes,
               " bytes in ", plan.shards.size(), plan.shards.size() == 1 ? " file" : " files",
               flags.plan ? "; nothing was written\n" : "\n"));
  return kOk;
}

}  // namespace

Command AddConvert(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  arguments
      .Add("MODEL", flags->model,
           "A quantized model: a folder, a GGUF file, or ORG/NAME[@REVISION] in the Hugging Face "
           "cache; or an adapter of PEFT, which is merged into its base")
      .Required();
  arguments.Add("--to", flags->to, "The form: hf, a float checkpoint").OneOf({"hf"}).ShowDefault();
  arguments.Add("-o,--out", flags->out, "The folder to write");
  arguments.Add("--base", flags->base,
                "The model that an adapter belongs to; default: what adapter_config.json names, if "
                "it is a folder here, or the only model next to the adapter");
  arguments
      .Add("--dtype", flags->dtype,
           "Type of the dequantized weights; library: what the format's own library rounds each "
           "to. Other tensors keep theirs")
      .OneOf({"library", "float32", "float16", "bfloat16"})
      .ShowDefault();
  arguments
      .Add("--gptq-zeros", flags->gptq_zeros,
           "How stored zero points of GPTQ's first version are read; auto: as the library that "
           "wrote the file does")
      .OneOf({"auto", "word", "masked", "unmasked"})
      .ShowDefault();
  arguments.Add("--shard-size", flags->shard_megabytes, "Most megabytes of tensors in one file")
      .Positive()
      .ShowDefault();
  arguments.Flag("--plan", flags->plan, "Say what would be written, and write nothing");
  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm convert MODEL-GPTQ -o MODEL-FLOAT\n"
      "  qualm convert model-Q4_K_M.gguf -o MODEL-FLOAT --dtype float16\n"
      "  qualm convert MODEL-AWQ --plan --json\n"
      "  qualm convert ADAPTER --base MODEL -o MERGED");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
