// qualm generate: continues a prompt. Only the continuation goes to stdout, and each piece as soon
// as its bytes are complete.
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/context.h"
#include "base/error.h"
#include "cli.h"
#include "generate/text_writer.h"
#include "model/model.h"
#include "text_flags.h"

namespace qualm::cli {
namespace {

struct Flags {
  std::string model, prompt;
  TextFlags text;
};

// Some tokenizers end every text with EOS. After EOS the model would begin a new text.
std::vector<TokenId> PromptOf(const Flags& flags, const Tokenizer& tokenizer) {
  std::vector<TokenId> prompt = tokenizer.EncodeWithSpecial(flags.prompt);
  if (!prompt.empty() && tokenizer.special().add_eos && prompt.back() == tokenizer.special().eos) {
    prompt.pop_back();
  }
  if (prompt.empty()) ThrowBadInput("--prompt", "at least one token", "an empty prompt");
  return prompt;
}

Json AsJson(const Flags& flags, const std::vector<TokenId>& prompt, const GenerateOptions& options,
            const WrittenText& written, const Tokenizer& tokenizer) {
  return {{"model", flags.model},
          {"prompt", flags.prompt},
          {"prompt_ids", prompt},
          {"ids", written.ids},
          {"text", written.text},
          {"finish_reason", FinishReasonName(written.reason)},
          {"end_of_text", TokensAsJson(options.ends, &tokenizer)},
          {"stop", flags.text.stop},
          {"temperature", options.sampling.temperature},
          {"top_p", options.sampling.top_p},
          {"sampling", SamplingAsJson(options.sampling)},
          {"seed", options.seed}};
}

int Run(const Flags& flags, const Globals& globals) {
  ThreadPool pool(globals.threads);
  const std::unique_ptr<Progress> progress = MakeProgress(globals);
  const Context context{pool, *progress};
  const Model model = LoadModel(flags.model, {}, context);
  const Tokenizer& tokenizer = model.RequireTokenizer();
  const GenerateOptions options = TextOptionsOf(flags.text, model);
  const std::vector<TokenId> prompt = PromptOf(flags, tokenizer);
  ShowTextOptions(flags.text, options, model, *progress);

  // Generation stops if standard output cannot be written any more.
  TextWatch watch;
  watch.on_text = [&](std::string_view piece) {
    if (globals.json) return true;
    Print(piece);
    return std::fflush(stdout) == 0;
  };

  // A cache as long as this text can become.
  const size_t room =
      model.decoder->plan.context - std::min(model.decoder->plan.context, prompt.size());
  const size_t capacity = prompt.size() + std::min<size_t>(options.max_tokens, room);
  TextWriter writer(*model.decoder, tokenizer, capacity, context);
  const WrittenText written = writer.Write(prompt, options, flags.text.stop, watch);

  if (globals.json) {
    PrintJson(AsJson(flags, prompt, options, written, tokenizer));
  } else {
    if (isatty(STDOUT_FILENO) != 0) Print("\n");  // only the continuation goes into a pipe
  }
  return kOk;
}

}  // namespace

Command AddGenerate(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  // The prompt, and how its continuation is drawn.
  arguments.Add("model", flags->model, "Model folder, float or quantized").Required();
  arguments.Add("--prompt", flags->prompt, "Text to continue").Required();
  AddTextFlags(arguments, flags->text);

  AddJsonFlag(arguments, globals);
  arguments.Check([flags] { return ComplaintAbout(flags->text); });
  arguments.Examples(
      "  qualm generate MODEL --prompt \"Once upon a time\"\n"
      "  qualm generate MODEL --prompt \"The\" --temperature 0.8 --top-p 0.9 --seed 7\n"
      "  qualm generate MODEL --prompt \"Q: 2+2?\" --stop \"Q:\" --stop \"<|im_end|>\"\n"
      "  qualm generate MODEL --prompt \"The\" --sampling model --json");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
