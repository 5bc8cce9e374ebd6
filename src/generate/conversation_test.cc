// Conversations of the demo model: what it sees of them, and what is kept.
#include "generate/conversation.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "io/json.h"
#include "support/demo_model.h"
#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

class Listener final : public Progress {
 public:
  void Begin(std::string_view, uint64_t) override {}
  void Advance(uint64_t, std::string_view) override {}
  void End() override {}
  void Warn(std::string_view message) override { warnings.emplace_back(message); }
  void Info(std::string_view) override {}
  std::vector<std::string> warnings;
};

class ConversationTest : public testing::DemoModelTest {
 protected:
  // The answer to these messages alone, without a cache from before.
  std::string AnswerTo(const std::vector<ChatMessage>& messages, size_t max_tokens) {
    TextWriter writer(decoder(), tokenizer(), 200, context_);
    GenerateOptions options;
    options.max_tokens = max_tokens;
    const WrittenText text = writer.Write(Prompt(chat_.Render(messages)), options, {});
    return text.text.substr(std::min(text.text.find_first_not_of(" \n"), text.text.size()));
  }
  static GenerateOptions Tokens(size_t max_tokens) {
    GenerateOptions options;
    options.max_tokens = max_tokens;
    return options;
  }

  const ChatTemplate chat_ = FindChatTemplate("chatml", "");
  const ChatMessage system_ = {"system", "Be brief."};
  Listener listener_;
};

TEST_F(ConversationTest, EachAnswerSeesAllThatWasSaid) {
  TextWriter writer(decoder(), tokenizer(), 200, context_);
  Conversation conversation(chat_, tokenizer(), writer, {system_}, listener_);
  const ChatAnswer first = conversation.Say("The cat", Tokens(8), {}, {});
  EXPECT_EQ(first.content, AnswerTo({system_, {"user", "The cat"}}, 8));
  const ChatAnswer second = conversation.Say("The dog", Tokens(8), {}, {});
  EXPECT_EQ(
      second.content,
      AnswerTo({system_, {"user", "The cat"}, {"assistant", first.content}, {"user", "The dog"}},
               8));
  EXPECT_LT(second.written.computed_tokens, second.prompt_tokens) << "the cache was not used";
  EXPECT_EQ(conversation.messages().size(), 5u);
  EXPECT_TRUE(listener_.warnings.empty());

  // After a reset nothing of it is there.
  conversation.Reset();
  EXPECT_EQ(conversation.messages().size(), 1u);
  EXPECT_EQ(conversation.Say("The cat", Tokens(8), {}, {}).content, first.content);
}

TEST_F(ConversationTest, TheOldestTurnsGoWhereTheContextEnds) {
  // Room for the system message and about two turns.
  const size_t turn = Prompt(chat_.Render({system_, {"user", "The cat"}})).size();
  TextWriter writer(decoder(), tokenizer(), 2 * turn, context_);
  Conversation conversation(chat_, tokenizer(), writer, {system_}, listener_);
  std::vector<std::string> answers;
  std::vector<size_t> left_out;
  for (int i = 0; i < 4; ++i) {
    const ChatAnswer answer = conversation.Say("The cat", Tokens(6), {}, {});
    answers.push_back(answer.content);
    left_out.push_back(answer.turns_left_out);
    EXPECT_LE(answer.prompt_tokens + 6, 2 * turn);
  }
  EXPECT_EQ(left_out.front(), 0u);
  EXPECT_GT(left_out.back(), 0u);
  ASSERT_FALSE(listener_.warnings.empty());
  EXPECT_THAT(listener_.warnings[0], HasSubstr("the model no longer sees its first 1 turn"));

  // What the last answer was given to: the system message and the newest turns.
  std::vector<ChatMessage> seen = {system_};
  for (size_t i = left_out.back(); i < 4; ++i) {
    seen.push_back({"user", "The cat"});
    if (i < 3) seen.push_back({"assistant", answers[i]});
  }
  EXPECT_EQ(answers.back(), AnswerTo(seen, 6));
  EXPECT_EQ(conversation.messages().size(), 9u) << "all is kept for /save";
}

TEST_F(ConversationTest, AMessageThatIsRefusedIsForgotten) {
  TextWriter writer(decoder(), tokenizer(), 60, context_);
  Conversation conversation(chat_, tokenizer(), writer, {system_}, listener_);
  EXPECT_THAT(ErrorOf([&] { (void)conversation.Say(std::string(200, 'x'), Tokens(4), {}, {}); }),
              HasSubstr("[message] expected fewer than 60 tokens"));
  EXPECT_EQ(conversation.messages().size(), 1u);
  EXPECT_EQ(conversation.Say("Hi", Tokens(4), {}, {}).turns_left_out, 0u);
}

TEST_F(ConversationTest, AnInterruptedAnswerIsKept) {
  TextWriter writer(decoder(), tokenizer(), 200, context_);
  Conversation conversation(chat_, tokenizer(), writer, {}, listener_);
  size_t passes = 0;
  TextWatch watch;
  watch.is_interrupted = [&] { return ++passes == 3; };
  const ChatAnswer answer = conversation.Say("The cat", Tokens(20), {}, watch);
  EXPECT_EQ(answer.written.reason, FinishReason::kInterrupted);
  ASSERT_EQ(conversation.messages().size(), 2u);
  EXPECT_EQ(conversation.messages()[1].content, answer.content);
}

TEST(ChatMessages, ComeBackFromTheirJson) {
  const std::vector<ChatMessage> messages = {{"system", "a"}, {"user", "b\n"}, {"assistant", "你"}};
  const std::vector<ChatMessage> back =
      ChatMessagesFromJson(ParseJson(ToJson(messages).dump(), "m"), "m");
  ASSERT_EQ(back.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(back[i].role, messages[i].role);
    EXPECT_EQ(back[i].content, messages[i].content);
  }
  const auto refusal = [](const char* json) {
    return ErrorOf([&] { (void)ChatMessagesFromJson(ParseJson(json, "m"), "m.json"); });
  };
  EXPECT_EQ(refusal("{}"), "[m.json] expected a list of messages; got object");
  EXPECT_THAT(refusal(R"([{"role": "user"}])"), HasSubstr("m.json[0]"));
  EXPECT_THAT(refusal(R"([{"role": "user", "content": [1]}])"), HasSubstr("content"));
  EXPECT_THAT(refusal(R"([{"role": "user", "content": "a", "name": "b"}])"), HasSubstr("name"));
}

}  // namespace
}  // namespace qualm
