#include "chat/chat_template.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"

namespace qualm {
namespace {

constexpr uint64_t kLargestFile = uint64_t{16} << 20;

// Empty where there is none, or something else than a text.
std::string TextOrNone(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// A special token is a text or an object with its "content".
std::string PieceOf(const Json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  return found->is_object() ? TextOrNone(*found, "content") : "";
}

// One text, or a list of named ones, of which "default" is meant.
std::string TextOfConfig(const Json& config, std::string_view place) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array()) {
    for (const Json& one : *found) {
      if (one.is_object() && TextOrNone(one, "name") == "default") {
        return GetString(one, "template", place);
      }
    }
  }
  ThrowBadInput(place, "chat_template as a text, or a list with one named default",
                found->type_name());
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

ChatTemplate::ChatTemplate(std::string name, std::string_view text, std::string_view place,
                           std::string bos, std::string eos, InputSet inputs)
    : name_(std::move(name)),
      bos_(std::move(bos)),
      eos_(std::move(eos)),
      jinja_(text, place),
      inputs_(std::move(inputs)) {}

std::string ChatTemplate::Render(const std::vector<ChatMessage>& messages) const {
  Json list = Json::array();
  for (const ChatMessage& message : messages) {
    list.push_back({{"role", message.role}, {"content", message.content}});
  }
  return jinja_.Render({{"messages", list},
                        {"add_generation_prompt", true},
                        {"bos_token", bos_},
                        {"eos_token", eos_}});
}

ChatTemplate FindChatTemplate(const std::string& name, const std::filesystem::path& model_folder) {
  const std::filesystem::path config_file = model_folder / "tokenizer_config.json";
  std::error_code ignored;
  Json config = Json::object();
  InputSet inputs;
  if (std::filesystem::exists(config_file, ignored)) {
    inputs.Add("tokenizer_config.json", config_file);
    config = ParseJson(ReadFile(config_file, kLargestFile), config_file.string());
    if (!config.is_object()) ThrowBadInput(config_file.string(), "an object", config.type_name());
  }
  const std::string bos = PieceOf(config, "bos_token"), eos = PieceOf(config, "eos_token");
  if (name.empty()) {
    const std::filesystem::path beside = model_folder / "chat_template.jinja";
    if (std::filesystem::exists(beside, ignored)) {
      inputs.Add("chat_template.jinja", beside);
      return {"model", ReadFile(beside, kLargestFile), beside.string(), bos, eos, inputs};
    }
    const std::string text = TextOfConfig(config, config_file.string());
    if (text.empty()) {
      ThrowBadInput(model_folder.string(), "a chat template in tokenizer_config.json", "none",
                    "--chat-template takes one by name");
    }
    return {"model", text, StrCat(config_file.string(), ", chat_template"), bos, eos, inputs};
  }
  std::vector<std::string> names;
  for (const NamedChatTemplate& one : NamedChatTemplates()) {
    names.emplace_back(one.name);
    if (name != one.name) continue;
    inputs.AddText(StrCat("chat template ", name), one.text);
    return {name, one.text, StrCat("chat template ", name), bos, eos, inputs};
  }
  if (name.find('/') != std::string::npos || name.ends_with(".jinja")) {
    const std::filesystem::path file = name;
    inputs.Add(file.filename().string(), file);
    return {file.stem().string(), ReadFile(file, kLargestFile), name, bos, eos, inputs};
  }
  ThrowUnknownName("--chat-template", "chat template", name, names);
}

}  // namespace qualm
