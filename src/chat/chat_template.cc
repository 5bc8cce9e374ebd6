// Chat templates by name, by file and of a model folder, and the variables that transformers'
// apply_chat_template renders them with.
#include "chat/chat_template.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "chat/chat_settings.h"
#include "chat/model_templates.h"
#include "io/hash.h"
#include "tokenize/blanks.h"

namespace qualm {
namespace {

constexpr uint64_t kLargestFile = uint64_t{16} << 20;

void CheckListOfObjects(const Json& list, std::string_view what) {
  if (list.is_null()) return;
  if (!list.is_array()) ThrowBadInput(what, "a list of objects", list.type_name());
  for (const Json& one : list) {
    if (!one.is_object())
      ThrowBadInput(what, "a list of objects", StrCat("a list with ", one.dump()));
  }
}

// All variables of a template but its messages.
Json VariablesOf(const ChatOptions& options, const Json& special_tokens) {
  CheckListOfObjects(options.tools, options.places.tools);
  CheckListOfObjects(options.documents, options.places.documents);

  Json variables = special_tokens;
  for (const char* name : {"bos_token", "eos_token"}) {
    if (!variables.contains(name)) variables[name] = "";
  }
  if (options.bos) variables["bos_token"] = *options.bos;
  if (options.eos) variables["eos_token"] = *options.eos;
  variables["tools"] = options.tools;
  variables["documents"] = options.documents;
  variables["add_generation_prompt"] = options.add_generation_prompt;

  for (const auto& [name, value] : options.variables.items()) variables[name] = value;
  return variables;
}

Json ListOf(const std::vector<ChatMessage>& messages) {
  Json list = Json::array();
  for (const ChatMessage& message : messages) {
    list.push_back({{"role", message.role}, {"content", message.content}});
  }
  return list;
}

JinjaOptions JinjaOptionsOf(const ChatOptions& options) {
  if (!options.date.empty()) CheckDate(options.date, options.places.date);
  JinjaOptions jinja;
  jinja.date = options.date;
  return jinja;
}

// transformers drops keys without a value, and hands reasoning under the names "thinking" and
// "reasoning_content", whichever the conversation uses.
Json NormalizedMessage(const Json& message) {
  Json kept = Json::object();
  const Json* reasoning = nullptr;
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const auto found = message.find(name);
    if (found == message.end() || found->is_null()) continue;
    reasoning = &*found;
    kept["thinking"] = *reasoning;
    break;
  }

  for (const auto& [name, value] : message.items()) {
    if (!value.is_null()) kept[name] = value;
  }
  if (reasoning != nullptr) kept["reasoning_content"] = *reasoning;
  return kept;
}

}  // namespace

const std::vector<NamedChatTemplate>& NamedChatTemplates() {
  // ADD A CHAT TEMPLATE: a name, where it is from, its text.
  static const std::vector<NamedChatTemplate> all = {
      {"chatml", "ChatML: <|im_start|>role ... <|im_end|>",
       "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + "
       "'<|im_end|>\n' }}{% endfor %}"
       "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"},
      {"qwen", "Qwen, Qwen2: ChatML with a system message of their own",
       "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are a helpful "
       "assistant.<|im_end|>\n' }}{% endif %}"
       "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + "
       "'<|im_end|>\n' }}{% endfor %}"
       "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"},
      {"llama2", "Llama 2: [INST] ... [/INST]",
       "{% set ns = namespace(system='') %}{% for message in messages %}"
       "{% if message.role == 'system' %}"
       "{% set ns.system = '<<SYS>>\n' + message.content.strip() + '\n<</SYS>>\n\n' %}"
       "{% elif message.role == 'user' %}"
       "{{ bos_token + '[INST] ' + (ns.system + message.content).strip() + ' [/INST]' }}"
       "{% set ns.system = '' %}"
       "{% else %}{{ ' ' + message.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"},
      {"llama3", "Llama 3: header ids around the role",
       "{{ bos_token }}{% for message in messages %}"
       "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim "
       "+ '<|eot_id|>' }}{% endfor %}"
       "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
       "{% endif %}"},
      {"baichuan", "Baichuan 13B Chat: reserved tokens 102 and 103",
       "{% for message in messages %}{% if message.role == 'system' %}{{ message.content }}"
       "{% elif message.role == 'user' %}{{ '<reserved_102>' + message.content }}"
       "{% else %}{{ '<reserved_103>' + message.content + eos_token }}{% endif %}{% endfor %}"
       "{% if add_generation_prompt %}{{ '<reserved_103>' }}{% endif %}"},
      {"baichuan2", "Baichuan 2 Chat: reserved tokens 106 and 107",
       "{% for message in messages %}{% if message.role == 'system' %}{{ message.content }}"
       "{% elif message.role == 'user' %}{{ '<reserved_106>' + message.content }}"
       "{% else %}{{ '<reserved_107>' + message.content + eos_token }}{% endif %}{% endfor %}"
       "{% if add_generation_prompt %}{{ '<reserved_107>' }}{% endif %}"},
      {"chatglm2", "ChatGLM 2: rounds of question and answer in Chinese",
       "{% set ns = namespace(round=0) %}{% for message in messages %}"
       "{% if message.role == 'user' %}{% set ns.round = ns.round + 1 %}"
       "{{ '[Round ' ~ ns.round ~ ']\n\n问：' + message.content + '\n\n答：' }}"
       "{% elif message.role == 'assistant' %}{{ message.content + '\n\n' }}"
       "{% else %}{{ message.content + '\n\n' }}{% endif %}{% endfor %}"},
      {"chatglm3", "ChatGLM 3, GLM-4: [gMASK]sop and role tokens",
       "[gMASK]sop{% for message in messages %}"
       "{{ '<|' + message.role + '|>\n ' + message.content }}{% endfor %}"
       "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"},
  };
  return all;
}

ChatTemplate::ChatTemplate(Source source, Json variables, const ChatOptions& options)
    : name_(std::move(source.name)),
      label_(std::move(source.label)),
      text_(std::move(source.text)),
      messages_place_(options.places.messages),
      variables_(std::move(variables)),
      jinja_(text_, source.place, JinjaOptionsOf(options)),
      inputs_(std::move(source.inputs)) {}

std::string ChatTemplate::Render(const std::vector<ChatMessage>& messages) const {
  return RenderJson(ListOf(messages));
}

std::string ChatTemplate::RenderJson(const Json& messages) const {
  return RenderWith(variables_, messages);
}

// The end of the message is found by a mark after it, which ends in a blank: where the template
// strips messages, the blank is gone, and so are those in front of the mark.
std::string ChatTemplate::RenderContinued(std::vector<ChatMessage> messages) const {
  constexpr std::string_view kMark = "CONTINUE_FINAL_MESSAGE_TAG ";
  QUALM_CHECK(!messages.empty());
  messages.back().content += kMark;
  Json variables = variables_;
  variables["add_generation_prompt"] = false;
  std::string text = RenderWith(std::move(variables), ListOf(messages));

  const size_t at = text.rfind(Trim(kMark));
  if (at == std::string::npos) {
    ThrowBadInput(name_, "a chat template that shows the last message", "none of its words",
                  "the answer's beginning cannot be given");
  }
  const bool keeps_blanks = std::string_view(text).substr(at).starts_with(kMark);
  text.resize(at);
  return keeps_blanks ? text : std::string(WithoutBlanksAtEnd(text));
}

std::string ChatTemplate::RenderWith(Json variables, const Json& messages) const {
  CheckListOfObjects(messages, messages_place_);
  if (!messages.is_array() || messages.empty()) {
    ThrowBadInput(messages_place_, "at least one message", "none");
  }

  Json list = Json::array();
  for (const Json& message : messages) list.push_back(NormalizedMessage(message));
  variables["messages"] = std::move(list);
  return jinja_.Render(variables);
}

bool IsTemplateFile(std::string_view name) {
  return name.find('/') != std::string_view::npos || name.ends_with(".jinja");
}

ChatTemplate FindChatTemplate(const std::string& name, const std::filesystem::path& model_folder,
                              const ChatOptions& options) {
  ModelTemplates model = ReadModelTemplates(model_folder, /*with_templates=*/name.empty());
  const Json variables = VariablesOf(options, model.special_tokens);
  const std::string& place = options.places.chat_template;
  if (name.empty()) {
    const ModelTemplate& chosen =
        ChooseModelTemplate(model, !options.tools.is_null(), model_folder.string(), place);
    return {{"model", "model", chosen.text, chosen.place, model.inputs}, variables, options};
  }

  std::vector<std::string> names;
  for (const NamedChatTemplate& one : NamedChatTemplates()) {
    names.emplace_back(one.name);
    if (name != one.name) continue;
    const std::string what = StrCat("chat template ", name);
    model.inputs.AddText(what, one.text);
    return {{name, name, one.text, what, model.inputs}, variables, options};
  }

  if (!IsTemplateFile(name)) ThrowUnknownName(place, "chat template", name, names);
  const std::filesystem::path file = name;
  const std::string stem = file.stem().string(), text = ReadFile(file, kLargestFile);
  model.inputs.Add(file.filename().string(), file);
  const std::string label = StrCat(PlainOrQuoted(stem), "-", HashBytes(text).substr(0, 8));
  return {{stem, label, text, name, model.inputs}, variables, options};
}

}  // namespace qualm
