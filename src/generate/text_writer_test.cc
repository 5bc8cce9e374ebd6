// Texts that are shown while they grow: the same as texts that are not, whatever watches them.
#include "generate/text_writer.h"

#include <gmock/gmock.h>

#include "support/demo_model.h"
#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;
using Ids = std::vector<TokenId>;

class TextWriterTest : public testing::DemoModelTest {
 protected:
  TextWriter Make(size_t capacity = 200) {
    return TextWriter(decoder(), tokenizer(), capacity, context_);
  }
  static GenerateOptions Tokens(size_t max_tokens) {
    GenerateOptions options;
    options.max_tokens = max_tokens;
    return options;
  }
};

TEST_F(TextWriterTest, ThePiecesAreTheText) {
  const Ids prompt = Prompt("Once upon a time");
  std::string shown;
  TextWatch watch;
  watch.on_text = [&](std::string_view piece) {
    shown += piece;
    return true;
  };
  TextWriter writer = Make();
  const WrittenText whole = writer.Write(prompt, Tokens(24), {}, watch);
  EXPECT_EQ(whole.ids, Continuation(prompt, 24));
  EXPECT_EQ(whole.reason, FinishReason::kLength);
  EXPECT_EQ(shown, whole.text);
  ASSERT_GT(whole.text.size(), 20u);

  // Cut at every middle of it: what was shown is never more than the text.
  for (size_t at = 0; at + 4 < whole.text.size(); ++at) {
    shown.clear();
    const std::vector<std::string> stop = {whole.text.substr(at, 4)};
    const WrittenText cut = writer.Write(prompt, Tokens(24), stop, watch);
    EXPECT_EQ(cut.text, whole.text.substr(0, whole.text.find(stop[0])));
    EXPECT_EQ(shown, cut.text);
    EXPECT_EQ(cut.reason, FinishReason::kStop);
  }
}

TEST_F(TextWriterTest, TheNextPromptComputesWhatIsNew) {
  const Ids prompt = Prompt("Once upon a time");
  TextWriter writer = Make();
  const WrittenText first = writer.Write(prompt, Tokens(12), {});
  EXPECT_EQ(first.computed_tokens, prompt.size());

  Ids next = prompt;
  next.insert(next.end(), first.ids.begin(), first.ids.end());
  const Ids more = Prompt(" The cat sat");
  next.insert(next.end(), more.begin(), more.end());
  const WrittenText second = writer.Write(next, Tokens(12), {});
  EXPECT_EQ(second.ids, Continuation(next, 12));
  // The last token of the first text was not read again by the model.
  EXPECT_EQ(second.computed_tokens, more.size() + 1);
}

TEST_F(TextWriterTest, AnInterruptionEndsThisTextOnly) {
  const Ids prompt = Prompt("Once upon a time");
  const Ids expected = Continuation(prompt, 24);
  size_t passes = 0;
  TextWatch watch;
  watch.is_interrupted = [&] { return ++passes == 5; };
  TextWriter writer = Make();
  const WrittenText cut = writer.Write(prompt, Tokens(24), {}, watch);
  EXPECT_EQ(cut.reason, FinishReason::kInterrupted);
  EXPECT_EQ(cut.ids, Ids(expected.begin(), expected.begin() + 5));
  EXPECT_EQ(writer.Write(prompt, Tokens(24), {}).ids, expected);

  watch = {};
  watch.on_text = [](std::string_view) { return false; };
  EXPECT_EQ(writer.Write(prompt, Tokens(24), {}, watch).reason, FinishReason::kInterrupted);
}

TEST_F(TextWriterTest, ATextEndsAtItsEndsAndWhereTheCapacityEnds) {
  const Ids prompt = Prompt("Once upon a time");
  const Ids expected = Continuation(prompt, 24);
  GenerateOptions options = Tokens(24);
  options.ends = {expected[6]};
  TextWriter writer = Make(prompt.size() + 9);
  const WrittenText ended = writer.Write(prompt, options, {});
  EXPECT_EQ(ended.reason, FinishReason::kEos);
  EXPECT_EQ(ended.ids, Ids(expected.begin(), std::ranges::find(expected, expected[6])));

  // The last token takes no room in the cache.
  const WrittenText full = writer.Write(prompt, Tokens(24), {});
  EXPECT_EQ(full.reason, FinishReason::kLength);
  EXPECT_EQ(full.ids.size(), 10u);
  EXPECT_TRUE(writer.Write(prompt, Tokens(0), {}).ids.empty());

  const Ids longer(prompt.size() + 10, 5);
  EXPECT_THAT(ErrorOf([&] { (void)writer.Write(longer, Tokens(1), {}); }),
              HasSubstr("[prompt] expected at most"));
}

}  // namespace
}  // namespace qualm
