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
}

ModelSource SourceOf(const ModelFlags& flags) {
  return MakeModelSource(flags.name, flags.config, flags.ignored_tensors);
}

}  // namespace qualm::cli
