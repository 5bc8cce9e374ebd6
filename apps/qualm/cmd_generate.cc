// qualm generate: continues a prompt. Only the continuation goes to stdout, and each piece as soon
// as its bytes are complete.
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "generate/generate.h"
#include "model/model.h"

namespace qualm::cli {
namespace {

struct Flags {
  std::string model, prompt;
  GenerateOptions options;
  bool ignore_eos = false;
};

// Values outside of the ranges that sampling is defined for.
void CheckFlags(const Flags& flags) {
  const GenerateOptions& options = flags.options;
  if (!(options.temperature >= 0)) {
    ThrowBadInput("--temperature", "0 or more", StrCat(options.temperature));
  }
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    ThrowBadInput("--top-p", "a number in (0, 1]", StrCat(options.top_p));
  }
}

int Run(const Flags& flags, const Globals& globals) {
  // The model and the prompt's tokens.
  CheckFlags(flags);
  ThreadPool pool(globals.threads);
  SilentProgress silent;
  const Context context{pool, silent};
  Model model = LoadModel(flags.model, {}, context);
  const Tokenizer& tokenizer = model.RequireTokenizer();
  std::vector<TokenId> prompt = tokenizer.EncodeWithSpecial(flags.prompt);

  // Some tokenizers end every text with EOS. After EOS the model would begin a new text.
  if (!prompt.empty() && tokenizer.special().add_eos && prompt.back() == tokenizer.special().eos) {
    prompt.pop_back();
  }
  if (prompt.empty()) ThrowBadInput("--prompt", "at least one token", "an empty prompt");

  GenerateOptions options = flags.options;
  options.stop_at_eos = !flags.ignore_eos;
  options.eos = tokenizer.special().eos;

  StreamingDecoder decoder(tokenizer);
  // The decoder sees the prompt first, because the leading space of the first word belongs to the
  // continuation.
  for (TokenId id : prompt) decoder.Push(id);

  std::string text;
  // False if the reader of standard output has gone away.
  auto show = [&](const std::string& piece) {
    text += piece;
    if (!globals.json) Print(piece);
    return globals.json || std::fflush(stdout) == 0;
  };

  // Generation stops if standard output cannot be written any more.
  std::vector<TokenId> ids = Generate(*model.decoder, prompt, options, context,
                                      [&](TokenId id) { return show(decoder.Push(id)); });
  show(decoder.Flush());

  if (globals.json) {
    PrintJson(Json{{"model", flags.model},
                   {"prompt", flags.prompt},
                   {"prompt_ids", prompt},
                   {"ids", ids},
                   {"text", text},
                   {"temperature", options.temperature},
                   {"top_p", options.top_p},
                   {"seed", options.seed}});
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
  arguments.Add("--max-tokens", flags->options.max_tokens, "New tokens at most").ShowDefault();
  arguments.Add("--temperature", flags->options.temperature, "0: greedy").ShowDefault();
  arguments.Add("--top-p", flags->options.top_p, "Nucleus sampling").ShowDefault();
  arguments.Add("--seed", flags->options.seed, "Seed of the sampling").ShowDefault();
  arguments.Flag("--ignore-eos", flags->ignore_eos, "Go on behind the end-of-text token");

  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm generate MODEL --prompt \"Once upon a time\"\n"
      "  qualm generate MODEL --prompt \"The\" --temperature 0.8 --top-p 0.9 --seed 7");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
