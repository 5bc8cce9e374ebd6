#include "evaluate/protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/errors.h"
#include "support/fake_language.h"

namespace qualm {
namespace {

using testing::ByteTokenizer;
using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
using testing::kFakeBos;

std::vector<size_t> Begins(const std::vector<Window>& windows) {
  std::vector<size_t> begins;
  for (const Window& window : windows) begins.push_back(window.begin);
  return begins;
}

TEST(Protocol, GptqWindowsStartAtZeroDropTheTailAndScoreAllButTheFirstToken) {
  const std::vector<Window> windows = PlanWindows(FindProtocol("gptq"), 11, 4);
  EXPECT_THAT(Begins(windows), ElementsAre(0, 4));
  for (const Window& window : windows) {
    EXPECT_EQ(window.tokens, 4);
    EXPECT_EQ(window.first_target, 1);
    EXPECT_EQ(window.targets(), 3);
    EXPECT_EQ(window.weight, 1);
  }
}

TEST(Protocol, GptqHas166WindowsOf2048In341469Tokens) {
  EXPECT_EQ(PlanWindows(FindProtocol("gptq"), 341469, 2048).size(), 166);
}

TEST(Protocol, GptqKeepsALastWindowThatIsFull) {
  EXPECT_THAT(Begins(PlanWindows(FindProtocol("gptq"), 12, 4)), ElementsAre(0, 4, 8));
}

TEST(Protocol, MiOptimizeKeepsTheTailAndWeighsByTokensNotTargets) {
  const std::vector<Window> windows = PlanWindows(FindProtocol("mi-optimize"), 11, 4);
  EXPECT_THAT(Begins(windows), ElementsAre(0, 4, 8));
  EXPECT_EQ(windows[0].weight, 4);
  EXPECT_EQ(windows[0].targets(), 3);
  EXPECT_EQ(windows[2].tokens, 3);
  EXPECT_EQ(windows[2].weight, 3);
  EXPECT_EQ(windows[2].targets(), 2);
}

TEST(Protocol, MiOptimizeDropsATailOfOneTokenWhichHasNothingToScore) {
  EXPECT_THAT(Begins(PlanWindows(FindProtocol("mi-optimize"), 9, 4)), ElementsAre(0, 4));
}

TEST(Protocol, LlamaCppScores255Of512AndDropsTheTail) {
  const std::vector<Window> windows = PlanWindows(FindProtocol("llama.cpp"), 1500, 512);
  EXPECT_THAT(Begins(windows), ElementsAre(0, 512));
  EXPECT_EQ(windows[0].first_target, 257);
  EXPECT_EQ(windows[0].targets(), 255);
  EXPECT_EQ(windows[0].weight, 255);
}

TEST(Protocol, TooFewTokensGiveNoWindow) {
  for (const PerplexityProtocol& protocol : AllProtocols()) {
    EXPECT_TRUE(PlanWindows(protocol, 0, 4).empty()) << protocol.name;
    EXPECT_TRUE(PlanWindows(protocol, 1, 4).empty()) << protocol.name;
  }
}

TEST(Protocol, SeqlenDefaultsToTheProtocolsWindowOrTheContext) {
  EXPECT_EQ(ResolveSeqlen(FindProtocol("gptq"), 0, 4096), 2048);
  EXPECT_EQ(ResolveSeqlen(FindProtocol("gptq"), 0, 512), 512);
  EXPECT_EQ(ResolveSeqlen(FindProtocol("mi-optimize"), 0, 4096), 2048);
  EXPECT_EQ(ResolveSeqlen(FindProtocol("llama.cpp"), 0, 4096), 512);
  EXPECT_EQ(ResolveSeqlen(FindProtocol("gptq"), 4096, 4096), 4096);
}

TEST(Protocol, SeqlenBeyondTheContextOrWithoutTargetsIsRefused) {
  EXPECT_THAT(ErrorOf([] { ResolveSeqlen(FindProtocol("gptq"), 4096, 2048); }),
              HasSubstr("at most the model's context of 2048 tokens; got 4096"));
  EXPECT_THAT(ErrorOf([] { ResolveSeqlen(FindProtocol("gptq"), 1, 2048); }),
              HasSubstr("a window with a token to score (protocol gptq); got 1"));
  EXPECT_EQ(ResolveSeqlen(FindProtocol("gptq"), 2, 2048), 2);
  // Half of 2 is 1 and the token after it does not exist.
  EXPECT_THAT(ErrorOf([] { ResolveSeqlen(FindProtocol("llama.cpp"), 2, 2048); }),
              HasSubstr("a token to score"));
  EXPECT_EQ(ResolveSeqlen(FindProtocol("llama.cpp"), 3, 2048), 3);
}

TEST(Protocol, UnknownNameGetsTheNearestAndTheList) {
  const std::string message = ErrorOf([] { FindProtocol("gtpq"); });
  EXPECT_THAT(message, HasSubstr("gptq"));
  EXPECT_THAT(message, HasSubstr("llama.cpp"));
}

TEST(PrepareText, BosStandsOnceAtTheStartWhereTheTokenizerAsksForIt) {
  const auto with = PrepareText(FindProtocol("gptq"), "t", "abcdefg", ByteTokenizer(true), 4);
  EXPECT_THAT(with.ids, ElementsAre(kFakeBos, 'a', 'b', 'c', 'd', 'e', 'f', 'g'));
  EXPECT_THAT(with.WindowIds(with.windows[0]), ElementsAre(kFakeBos, 'a', 'b', 'c'));
  EXPECT_THAT(with.WindowIds(with.windows[1]), ElementsAre('d', 'e', 'f', 'g'));
  const auto without = PrepareText(FindProtocol("gptq"), "t", "abcdefg", ByteTokenizer(false), 4);
  EXPECT_THAT(without.ids, ElementsAre('a', 'b', 'c', 'd', 'e', 'f', 'g'));
  EXPECT_EQ(without.windows.size(), 1);
}

TEST(PrepareText, LlamaCppReplacesTheFirstTokenOfEveryWindowByBos) {
  const auto with = PrepareText(FindProtocol("llama.cpp"), "t", "abcdefg", ByteTokenizer(true), 4);
  EXPECT_THAT(with.WindowIds(with.windows[0]), ElementsAre(kFakeBos, 'a', 'b', 'c'));
  EXPECT_THAT(with.WindowIds(with.windows[1]), ElementsAre(kFakeBos, 'e', 'f', 'g'));
  const auto without =
      PrepareText(FindProtocol("llama.cpp"), "t", "abcdefgh", ByteTokenizer(false), 4);
  EXPECT_THAT(without.WindowIds(without.windows[1]), ElementsAre('e', 'f', 'g', 'h'));
}

TEST(PrepareText, OnlyLlamaCppStripsOneFinalNewline) {
  const ByteTokenizer tokenizer(false);
  EXPECT_THAT(PrepareText(FindProtocol("llama.cpp"), "t", "abc\n\n", tokenizer, 4).ids,
              ElementsAre('a', 'b', 'c', '\n'));
  EXPECT_THAT(PrepareText(FindProtocol("gptq"), "t", "abc\n\n", tokenizer, 4).ids,
              ElementsAre('a', 'b', 'c', '\n', '\n'));
}

TEST(PrepareText, LimitKeepsTheFirstWindows) {
  const auto text =
      PrepareText(FindProtocol("gptq"), "t", std::string(40, 'x'), ByteTokenizer(false), 4, 3);
  EXPECT_THAT(Begins(text.windows), ElementsAre(0, 4, 8));
  EXPECT_EQ(text.targets(), 9);
}

TEST(PrepareText, ATextShorterThanAWindowIsNamed) {
  const std::string message =
      ErrorOf([] { PrepareText(FindProtocol("gptq"), "tiny.txt", "abc", ByteTokenizer(true), 8); });
  EXPECT_THAT(message, HasSubstr("[tiny.txt] expected at least one window of 8 tokens"));
  EXPECT_THAT(message, HasSubstr("got 4 tokens"));
}

}  // namespace
}  // namespace qualm
