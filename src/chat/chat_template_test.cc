#include "chat/chat_template.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "support/errors.h"
#include "support/shared_data.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

const std::vector<ChatMessage> kTalk = {
    {"system", " Be kind. "}, {"user", "Hi\nthere"}, {"assistant", "Hello"}, {"user", "天气?"}};

class ChatTemplates : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / (std::string("qualm_chat_") + test->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

// What the families' documentation shows.
TEST_F(ChatTemplates, ByName) {
  WriteFileAtomically(folder_ / "tokenizer_config.json",
                      R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>"})");
  const std::vector<ChatMessage> one = {{"user", "Hi"}};
  const auto render = [&](const char* name, const std::vector<ChatMessage>& messages) {
    return FindChatTemplate(name, folder_).Render(messages);
  };
  EXPECT_EQ(render("chatml", one), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render("qwen", one),
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render("llama2", kTalk),
            "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi\nthere [/INST] Hello </s><s>[INST] 天气? "
            "[/INST]");
  EXPECT_EQ(render("llama3", one),
            "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(render("baichuan", one), "<reserved_102>Hi<reserved_103>");
  EXPECT_EQ(render("baichuan2", one), "<reserved_106>Hi<reserved_107>");
  EXPECT_EQ(render("chatglm2", {{"user", "a"}, {"assistant", "b"}, {"user", "c"}}),
            "[Round 1]\n\n问：a\n\n答：b\n\n[Round 2]\n\n问：c\n\n答：");
  EXPECT_EQ(render("chatglm3", one), "[gMASK]sop<|user|>\n Hi<|assistant|>");
}

TEST_F(ChatTemplates, TheFilesThatWereReadAreKnown) {
  const auto roles_of = [&](const std::string& name) {
    std::vector<std::string> roles;
    const ChatTemplate chat = FindChatTemplate(name, folder_);
    for (const InputFile& file : chat.inputs().files()) roles.push_back(file.role);
    return roles;
  };
  using ::testing::ElementsAre;
  EXPECT_THAT(roles_of("chatml"), ElementsAre("chat template chatml"));
  WriteFileAtomically(folder_ / "tokenizer_config.json", R"({"chat_template": "x"})");
  EXPECT_THAT(roles_of(""), ElementsAre("tokenizer_config.json"));
  WriteFileAtomically(folder_ / "chat_template.jinja", "y");
  EXPECT_THAT(roles_of(""), ElementsAre("tokenizer_config.json", "chat_template.jinja"));
  EXPECT_THAT(roles_of((folder_ / "chat_template.jinja").string()),
              ElementsAre("tokenizer_config.json", "chat_template.jinja"));
}

// The expected texts are Jinja's own.
TEST_F(ChatTemplates, OfRealTokenizers) {
  QUALM_SHARED_OR_SKIP(tokenizers, "tokenizers");
  EXPECT_EQ(FindChatTemplate("", tokenizers / "qwen2").Render(kTalk),
            "<|im_start|>system\n Be kind. <|im_end|>\n<|im_start|>user\nHi\nthere<|im_end|>\n"
            "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\n天气?<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(FindChatTemplate("", tokenizers / "qwen2").Render({kTalk[1]}),
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\nHi\nthere<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(
      FindChatTemplate("", tokenizers / "llama-hf").Render(kTalk),
      "<s>[INST] <<SYS>>\n Be kind. \n<</SYS>>\n\nHi\nthere [/INST] Hello </s><s>[INST] 天气? "
      "[/INST]");
  EXPECT_THAT(
      ErrorOf([&] { (void)FindChatTemplate("", tokenizers / "llama-hf").Render({kTalk[2]}); }),
      HasSubstr("Conversation roles must alternate"));
}

TEST_F(ChatTemplates, OfAFolderAndAFile) {
  EXPECT_THAT(ErrorOf([&] { (void)FindChatTemplate("", folder_); }),
              HasSubstr("--chat-template takes one by name"));
  EXPECT_THAT(ErrorOf([&] { (void)FindChatTemplate("lama2", folder_); }),
              HasSubstr("did you mean 'llama2'"));
  WriteFileAtomically(folder_ / "tokenizer_config.json", R"({"chat_template": [
      {"name": "tool_use", "template": "no"}, {"name": "default", "template": "{{ messages[0].content }}!"}]})");
  EXPECT_EQ(FindChatTemplate("", folder_).Render({{"user", "Hi"}}), "Hi!");
  WriteFileAtomically(
      folder_ / "tokenizer_config.json",
      R"({"bos_token": {"content": 3}, "chat_template": [{"name": "rag", "template": ""}]})");
  EXPECT_THAT(ErrorOf([&] { (void)FindChatTemplate("", folder_); }), HasSubstr("named default"));
  WriteFileAtomically(folder_ / "tokenizer_config.json", R"({"chat_template": [{"name": 1}]})");
  EXPECT_THAT(ErrorOf([&] { (void)FindChatTemplate("", folder_); }), HasSubstr("name"));
  WriteFileAtomically(folder_ / "chat_template.jinja", "{{ messages[0].role }}");
  EXPECT_EQ(FindChatTemplate("", folder_).Render({{"user", "Hi"}}), "user");
  WriteFileAtomically(folder_ / "mine.jinja", "<{{ messages[0].content }}>");
  const ChatTemplate mine = FindChatTemplate((folder_ / "mine.jinja").string(), folder_);
  EXPECT_EQ(mine.Render({{"user", "Hi"}}), "<Hi>");
  EXPECT_EQ(mine.name(), "mine");
}

// As transformers' get_chat_template chooses among several.
TEST_F(ChatTemplates, WithToolsTheOneForToolsIsTaken) {
  WriteFileAtomically(folder_ / "tokenizer_config.json", R"({"chat_template": [
      {"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]})");
  ChatOptions options;
  EXPECT_EQ(FindChatTemplate("", folder_, options).Render({{"user", "Hi"}}), "plain");
  options.tools = Json::array();
  EXPECT_EQ(FindChatTemplate("", folder_, options).Render({{"user", "Hi"}}), "tools");
  // Files win over the configuration; what is only in the configuration is then not there.
  WriteFileAtomically(folder_ / "chat_template.jinja", "file");
  EXPECT_EQ(FindChatTemplate("", folder_, options).Render({{"user", "Hi"}}), "file");
  std::filesystem::create_directory(folder_ / "additional_chat_templates");
  WriteFileAtomically(folder_ / "additional_chat_templates" / "tool_use.jinja", "file of tools");
  EXPECT_EQ(FindChatTemplate("", folder_, options).Render({{"user", "Hi"}}), "file of tools");
}

TEST_F(ChatTemplates, OptionsAreVariables) {
  WriteFileAtomically(folder_ / "tokenizer_config.json",
                      R"({"bos_token": "<s>", "pad_token": {"content": "<p>"}})");
  WriteFileAtomically(folder_ / "chat_template.jinja",
                      "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ add_generation_prompt }}"
                      "{{ tools is none }}{{ kind }}{{ n + 1 }}");
  ChatOptions options;
  options.variables = {{"kind", "a=b"}, {"n", 2}};
  EXPECT_EQ(FindChatTemplate("", folder_, options).Render({{"user", "Hi"}}), "<s><p>TrueTruea=b3");
  options.bos = "[";
  options.eos = "]";
  options.add_generation_prompt = false;
  EXPECT_EQ(FindChatTemplate("", folder_, options).Render({{"user", "Hi"}}), "[]<p>FalseTruea=b3");
}

// transformers' order: special_tokens_map.json, unless tokenizer_config.json describes the tokens.
TEST_F(ChatTemplates, TokensOfTheOlderFile) {
  WriteFileAtomically(folder_ / "chat_template.jinja", "{{ bos_token }}{{ image_token }}");
  WriteFileAtomically(folder_ / "special_tokens_map.json", R"({"bos_token": "<map>"})");
  WriteFileAtomically(folder_ / "tokenizer_config.json",
                      R"({"bos_token": "<config>", "image_token": "<i>", "add_bos_token": true})");
  EXPECT_EQ(FindChatTemplate("", folder_).Render({{"user", "Hi"}}), "<map><i>");
  WriteFileAtomically(folder_ / "tokenizer_config.json",
                      R"({"bos_token": "<config>", "added_tokens_decoder": {}})");
  EXPECT_EQ(FindChatTemplate("", folder_).Render({{"user", "Hi"}}), "<config>");
}

// transformers drops null and passes reasoning under two names.
TEST_F(ChatTemplates, MessagesAreNormalized) {
  WriteFileAtomically(folder_ / "chat_template.jinja",
                      "{% for m in messages %}{{ m.keys() | list }}{% endfor %}");
  const ChatTemplate chat = FindChatTemplate("", folder_);
  EXPECT_EQ(
      chat.RenderJson(Json::parse(R"([{"role": "user", "content": null, "reasoning": "r"}])")),
      "['thinking', 'role', 'reasoning', 'reasoning_content']");
  EXPECT_THAT(ErrorOf([&] { (void)chat.RenderJson(Json::parse("[3]")); }),
              HasSubstr("[messages] expected a list of objects; got a list with 3"));
}

}  // namespace
}  // namespace qualm
