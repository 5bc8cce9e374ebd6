// qualm generate: continues a prompt. Only the continuation goes to stdout, and each piece as soon
// as its bytes are complete.
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/context.h"
#include "base/error.h"
#include "chat_flags.h"
#include "cli.h"
#include "generate/conversation.h"
#include "generate/text_writer.h"
#include "model/model.h"
#include "model_flags.h"
#include "text_flags.h"

namespace qualm::cli {
namespace {

struct Flags {
  ModelFlags model;
  std::string system, messages;
  std::optional<std::string> prompt;
  bool is_chat = false;
  ChatSettings chat;
  TextFlags text;
};

// What the model is asked: a text, or a conversation in the form of its template.
struct Question {
  std::vector<TokenId> tokens;
  std::vector<ChatMessage> messages;  // of a conversation
  std::string shown;                  // the template that was used; empty: none
  Json chat;                          // the same as JSON
};

// Some tokenizers end every text with EOS. After EOS the model would begin a new text.
std::vector<TokenId> PromptOf(const Flags& flags, const Tokenizer& tokenizer) {
  std::vector<TokenId> prompt = tokenizer.EncodeWithSpecial(*flags.prompt);
  if (!prompt.empty() && tokenizer.special().add_eos && prompt.back() == tokenizer.special().eos) {
    prompt.pop_back();
  }
  if (prompt.empty()) ThrowBadInput("--prompt", "at least one token", "an empty prompt");
  return prompt;
}

// The messages of --system, --messages and --prompt, in this order.
std::vector<ChatMessage> MessagesOf(const Flags& flags) {
  std::vector<ChatMessage> messages = OpeningMessages(flags.system, flags.messages);
  if (flags.prompt) messages.push_back({"user", *flags.prompt});
  return messages;
}

Question ConversationOf(const Flags& flags, const Model& model) {
  const ChatOptions options = ChatOptionsOfToday(flags.chat);
  const ChatTemplate chat = FindChatTemplate(flags.chat.chat_template, model.folder, options);
  Question question;
  question.messages = MessagesOf(flags);
  question.tokens = EncodeGenerationPrompt(*model.tokenizer, chat.Render(question.messages));
  question.shown = ChatText(chat, options);
  question.chat = ChatAsJson(chat, options);
  return question;
}

Json AsJson(const Flags& flags, const Question& question, const GenerateOptions& options,
            const WrittenText& written, const Tokenizer& tokenizer) {
  Json json = {{"model", flags.model.name},
               {"prompt", flags.prompt ? Json(*flags.prompt) : Json()},
               {"prompt_ids", question.tokens},
               {"ids", written.ids},
               {"text", written.text},
               {"finish_reason", FinishReasonName(written.reason)},
               {"end_of_text", TokensAsJson(options.ends, &tokenizer)},
               {"stop", flags.text.stop},
               {"temperature", options.sampling.temperature},
               {"top_p", options.sampling.top_p},
               {"sampling", SamplingAsJson(options.sampling)},
               {"seed", options.seed}};
  if (flags.is_chat) {
    json["chat"] = question.chat;
    json["messages"] = ToJson(question.messages);
  }
  return json;
}

int Run(const Flags& flags, const Globals& globals) {
  ThreadPool pool(globals.threads);
  const std::unique_ptr<Progress> progress = MakeProgress(globals);
  const Context context{pool, *progress};
  WarnOfBytes(flags.prompt.value_or(""), "--prompt", *progress);
  WarnOfBytes(flags.system, "--system", *progress);
  const Model model = LoadModel(SourceOf(flags.model), {}, context);
  const Tokenizer& tokenizer = model.RequireTokenizer();
  const GenerateOptions options = TextOptionsOf(flags.text, model);
  Question question;
  if (flags.is_chat) {
    question = ConversationOf(flags, model);
    progress->Info(question.shown);
  } else {
    question.tokens = PromptOf(flags, tokenizer);
  }
  const std::vector<TokenId>& prompt = question.tokens;
  ShowTextOptions(flags.text, options, model, *progress);

  // Generation stops if standard output cannot be written any more.
  TextWatch watch;
  watch.on_text = [&](std::string_view piece) {
    if (globals.json) return true;
    Print(piece);
    return FlushOutput();
  };

  // A cache as long as this text can become.
  const size_t room =
      model.decoder->plan.context - std::min(model.decoder->plan.context, prompt.size());
  const size_t capacity = prompt.size() + std::min<size_t>(options.max_tokens, room);
  TextWriter writer(*model.decoder, tokenizer, capacity, context);
  const WrittenText written = writer.Write(prompt, options, flags.text.stop, watch);

  if (globals.json) {
    PrintJson(AsJson(flags, question, options, written, tokenizer));
  } else {
    if (isatty(STDOUT_FILENO) != 0) Print("\n");  // only the continuation goes into a pipe
  }
  return kOk;
}

}  // namespace

Command AddGenerate(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  // The prompt, and how its continuation is drawn.
  AddModelFlags(arguments, flags->model, "model", "Model, float or quantized");
  arguments.Add("--prompt", flags->prompt, "Text to continue; with --chat the user's message");
  arguments.Flag("--chat", flags->is_chat, "Ask in the form of the model's chat template");
  arguments.Add("--system", flags->system, "With --chat: the system message");
  arguments.Add("--messages", flags->messages,
                "With --chat: the conversation before the prompt, a JSON list of {\"role\": ..., "
                "\"content\": ...}");
  AddChatFlags(arguments, flags->chat, "today");
  AddTextFlags(arguments, flags->text);

  AddJsonFlag(arguments, globals);
  arguments.Check([flags]() -> std::string {
    const bool has_messages = !flags->messages.empty();
    if (!flags->prompt && !has_messages)
      return "[generate] expected --prompt, or --chat with --messages; got neither";
    if (!flags->is_chat && (AreSet(flags->chat) || has_messages || !flags->system.empty())) {
      return "[--chat] expected with --system, --messages, --chat-template, --date and "
             "--chat-option; "
             "got none";
    }
    return ComplaintAbout(flags->text);
  });
  arguments.Examples(
      "  qualm generate MODEL --prompt \"Once upon a time\"\n"
      "  qualm generate MODEL --prompt \"The\" --temperature 0.8 --top-p 0.9 --seed 7\n"
      "  qualm generate MODEL --prompt \"Q: 2+2?\" --stop \"Q:\" --stop \"<|im_end|>\"\n"
      "  qualm generate MODEL --prompt \"The\" --sampling model --json\n"
      "  qualm generate MODEL --chat --system \"Be brief.\" --prompt \"Why is the sky blue?\"");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
