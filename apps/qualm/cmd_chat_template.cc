// qualm chat-template: prints exactly the text that a chat template makes of a conversation, as
// transformers' apply_chat_template renders it.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "chat/chat_template.h"
#include "cli.h"
#include "model/hub_cache.h"

namespace qualm::cli {

namespace {

struct Options {
  std::string source;
  std::string messages;
  std::optional<std::string> tools, documents, bos, eos, date;
  std::vector<std::string> variables;
  bool no_generation_prompt = false;
};

// --messages: a list of messages, or an object with messages, tools and documents. Returns the
// messages; the others go into `chat`.
Json ReadConversation(const std::string& file, ChatOptions* chat) {
  Json read = ReadJsonFile(file);
  if (!read.is_object()) return read;
  RequireObject(read, {"messages", "tools", "documents"}, file);
  if (read.contains("tools")) chat->tools = read["tools"];
  if (read.contains("documents")) chat->documents = read["documents"];
  return GetChild(read, "messages", file);
}

// A flag's file, which excludes a list of the conversation's own.
void ReadList(const std::optional<std::string>& file, std::string_view flag, Json* list) {
  if (!file) return;
  if (!list->is_null()) {
    ThrowBadInput(flag, "one list", "a second one in the file of --messages");
  }
  *list = ReadJsonFile(*file);
}

// A model, a template's file, or the name of a template.
ChatTemplate Find(const std::string& named, const ChatOptions& chat) {
  const std::string source = FindModelFolder(named, ModelParts::kWithoutWeights).string();
  std::error_code ignored;
  if (std::filesystem::is_directory(source, ignored)) return FindChatTemplate("", source, chat);
  const bool is_file = std::filesystem::exists(source, ignored);
  // A name of a template has no '/', a path here has one.
  const bool has_folder = source.find('/') != std::string::npos;
  return FindChatTemplate(is_file && !has_folder ? StrCat("./", source) : source, "", chat);
}

int Run(const Options& options, const Globals& globals) {
  ChatOptions chat;
  const Json messages = ReadConversation(options.messages, &chat);
  ReadList(options.tools, "--tools", &chat.tools);
  ReadList(options.documents, "--documents", &chat.documents);
  chat.bos = options.bos;
  chat.eos = options.eos;
  chat.date = options.date.value_or("");
  chat.variables = ParseChatVariables(options.variables, "--chat-option");
  chat.add_generation_prompt = !options.no_generation_prompt;

  const ChatTemplate found = Find(options.source, chat);
  const std::string text = found.RenderJson(messages);
  if (globals.json) {
    PrintJson({{"template", found.name()}, {"text", text}});
  } else {
    Print(text);
  }
  return kOk;
}

}  // namespace

Command AddChatTemplate(Arguments& arguments, Globals& globals) {
  auto options = std::make_shared<Options>();
  arguments
      .Add("MODEL_OR_TEMPLATE", options->source,
           "A model folder, a template's file, or a name of qualm list chat-templates")
      .Required();
  arguments
      .Add("--messages", options->messages,
           "A JSON file: a list of messages, or an object with messages, tools and documents")
      .Required();
  arguments.Add("--tools", options->tools, "A JSON file with a list of tools");
  arguments.Add("--documents", options->documents, "A JSON file with a list of documents");

  // What the template sees in addition.
  arguments.Add("--bos", options->bos, "The text of bos_token (default: the model's, else empty)");
  arguments.Add("--eos", options->eos, "The text of eos_token (default: the model's, else empty)");
  arguments.Add("--date", options->date,
                "The day that strftime_now says, YYYY-MM-DD (default: today)");
  arguments
      .Add("--chat-option", options->variables,
           "KEY=VALUE: a variable of the template; a VALUE that is JSON is taken as such")
      .OnePerFlag();
  arguments.Flag("--no-generation-prompt", options->no_generation_prompt,
                 "End after the last message, not where the assistant's answer begins");

  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm chat-template MODEL --messages talk.json\n"
      "  qualm chat-template MODEL --messages talk.json --tools tools.json --date 2024-07-26\n"
      "  qualm chat-template mine.jinja --messages talk.json --bos '<s>' --eos '</s>'\n"
      "  qualm chat-template MODEL --messages talk.json --chat-option enable_thinking=false");
  return [options, &globals] { return Run(*options, globals); };
}

}  // namespace qualm::cli
