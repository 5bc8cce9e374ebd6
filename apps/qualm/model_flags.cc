// One home for the flags that say which model is meant, so that they mean the same everywhere.
#include "model_flags.h"

#include "base/strings.h"

namespace qualm::cli {

void AddModelFlags(Arguments& arguments, ModelFlags& flags, const std::string& positional,
                   const std::string& help) {
  arguments
      .Add(positional, flags.name,
           StrCat(help, ": a folder, or ORG/NAME[@REVISION] in the Hugging Face cache"))
      .Required();
  arguments.Add("--adapter", flags.adapter,
                "A folder of PEFT (LoRA) whose additions are merged into the model's weights");
  AddOverrideFlags(arguments, flags, "the model");
}

void AddOverrideFlags(Arguments& arguments, ModelFlags& flags, const std::string& model) {
  arguments
      .Add("--config", flags.config,
           StrCat("KEY=VALUE in place of what the config.json of ", model,
                  " says, such as rope_theta=1e6 or rope_scaling.factor=4; may be given several "
                  "times"))
      .OnePerFlag();
  arguments
      .Add("--ignore-tensors", flags.ignored_tensors,
           StrCat("Leave out tensors of ", model,
                  " in whose names this regular expression is found; may be given several times"))
      .OnePerFlag();
  arguments
      .Add("--gptq-zeros", flags.gptq_zeros,
           "How stored zero points of GPTQ's first version are read; auto: as the library that "
           "wrote the file does")
      .OneOf({"auto", "word", "masked", "unmasked"})
      .ShowDefault();
  arguments
      .Add("--weights", flags.weights,
           "Weights of a quantized file rounded as its own library does, or to float32 only")
      .OneOf({"library", "float32"})
      .ShowDefault();
  arguments.Flag("--weights-only", flags.weights_only,
                 "Leave out the rounding of activations and caches that a quantized file "
                 "configures");
}

ModelSource SourceOf(const ModelFlags& flags) {
  ModelSource source = MakeModelSource(flags.name, flags.config, flags.ignored_tensors);
  source.read.gptq_zeros = EnumFromName<GptqZeros>(flags.gptq_zeros, "--gptq-zeros");
  source.read.float32_weights = flags.weights == "float32";
  source.read.weights_only = flags.weights_only;
  source.adapter = flags.adapter;
  return source;
}

}  // namespace qualm::cli
