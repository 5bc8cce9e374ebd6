// qualm chat-template: prints exactly the text that a chat template makes of a conversation, as
// transformers' apply_chat_template renders it.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "chat/chat_json.h"
#include "chat/chat_template.h"
#include "chat_flags.h"
#include "cli.h"
#include "model/hub_cache.h"

namespace qualm::cli {

namespace {

// The argument that names the template.
constexpr const char* kSource = "MODEL_OR_TEMPLATE";

struct Options {
  std::string source;
  std::string messages;
  std::optional<std::string> tools, documents, bos, eos;
  ChatSettings settings;  // without the template, which is the source
  bool no_generation_prompt = false;
};

// A list of tools or documents, which can come from a file of a flag, from the file of --messages
// and from --chat-option; but only from one of them.
void SetList(Json list, const std::string& place, std::string_view name, ChatOptions* chat) {
  Json& known = name == "tools" ? chat->tools : chat->documents;
  std::string& known_place = name == "tools" ? chat->places.tools : chat->places.documents;
  if (list.is_null()) return;
  if (!known.is_null()) ThrowBadInput(place, "one list", StrCat("another one in ", known_place));
  known = std::move(list);
  known_place = place;
}

// --messages: a list of messages, or an object with messages, tools and documents. Returns the
// messages; the others go into `chat`.
Json ReadConversation(const std::string& file, ChatOptions* chat) {
  Json read = ReadChatJson(file);
  chat->places.messages = file;
  if (!read.is_object()) return read;

  RequireObject(read, {"messages", "tools", "documents"}, file);
  chat->places.messages = StrCat(file, ": messages");
  for (const char* name : {"tools", "documents"}) {
    if (read.contains(name)) SetList(read[name], StrCat(file, ": ", name), name, chat);
  }
  return GetChild(read, "messages", file);
}

// A model, a template's file, or the name of a template.
ChatTemplate Find(const std::string& named, const ChatOptions& chat) {
  const std::string source = FindModelFolder(named, ModelParts::kWithoutWeights).string();
  std::error_code ignored;
  if (std::filesystem::is_directory(source, ignored)) return FindChatTemplate("", source, chat);
  // A file is one whatever its name: a path with '/' is never the name of a template.
  const bool is_file = std::filesystem::exists(source, ignored) && !IsTemplateFile(source);
  return FindChatTemplate(is_file ? StrCat("./", source) : source, "", chat);
}

int Run(const Options& options, const Globals& globals) {
  ChatOptions chat = ChatOptionsOf(options.settings);
  chat.date = options.settings.date;  // empty: now
  chat.places.chat_template = kSource;
  const Json messages = ReadConversation(options.messages, &chat);
  if (options.tools) SetList(ReadChatJson(*options.tools), *options.tools, "tools", &chat);
  if (options.documents) {
    SetList(ReadChatJson(*options.documents), *options.documents, "documents", &chat);
  }
  chat.bos = options.bos;
  chat.eos = options.eos;
  if (options.no_generation_prompt) chat.add_generation_prompt = false;

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
      .Add(kSource, options->source,
           "A model folder, a template's file, or a name of qualm list chat-templates")
      .Required()
      .NotEmpty("a model folder, a template's file or a template's name");
  arguments
      .Add("--messages", options->messages,
           "A JSON file: a list of messages, or an object with messages, tools and documents")
      .Required();
  arguments.Add("--tools", options->tools, "A JSON file with a list of tools");
  arguments.Add("--documents", options->documents, "A JSON file with a list of documents");

  // What the template sees in addition.
  arguments.Add("--bos", options->bos, "The text of bos_token (default: the model's, else empty)");
  arguments.Add("--eos", options->eos, "The text of eos_token (default: the model's, else empty)");
  AddChatVariableFlags(arguments, options->settings, "today");
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
