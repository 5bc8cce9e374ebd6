#include "evaluate/reference_states.h"

#include <gmock/gmock.h>

#include <fstream>

#include "base/file.h"
#include "evaluate/perplexity.h"
#include "support/demo_model.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

const std::vector<TokenId> kFirst = {1, 2, 3}, kSecond = {1, 2, 4, 5};

Matrix StatesOf(const std::vector<TokenId>& window) {
  Matrix states(window.size(), 2);
  for (size_t t = 0; t < window.size(); ++t) {
    states.row(t)[0] = static_cast<float>(window[t]) / 3;
    states.row(t)[1] = -static_cast<float>(t);
  }
  return states;
}

void ExpectStates(const ReferenceStates& states, const std::vector<TokenId>& window) {
  Matrix found(window.size(), 2);
  states.Get(window, found);
  const Matrix wanted = StatesOf(window);
  for (size_t t = 0; t < window.size(); ++t) {
    EXPECT_EQ(found.row(t)[0], wanted.row(t)[0]);
    EXPECT_EQ(found.row(t)[1], wanted.row(t)[1]);
  }
}

TEST(ReferenceStates, AreFoundAgainByTheirTokens) {
  const testing::TemporaryFolder folder;
  {
    ReferenceStates states(folder / "states", "key", 2);
    states.Put(kFirst, StatesOf(kFirst));
    states.Put(kSecond, StatesOf(kSecond));
    EXPECT_FALSE(states.Has(std::vector<TokenId>{1, 2}));
  }
  const ReferenceStates states(folder / "states", "key", 2);
  ExpectStates(states, kSecond);
  ExpectStates(states, kFirst);
  EXPECT_FALSE(ReferenceStates(folder / "states", "other", 2).Has(kFirst));
}

// Cut and changed anywhere: what is taken is whole, and writing continues after it.
TEST(ReferenceStates, TornAndDamagedEndsAreDropped) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path file = folder / "states";
  {
    ReferenceStates states(file, "key", 2);
    states.Put(kFirst, StatesOf(kFirst));
    states.Put(kSecond, StatesOf(kSecond));
  }
  const std::string whole = ReadFile(file);
  for (size_t size = 0; size < whole.size(); ++size) {
    for (const bool is_changed : {false, true}) {
      std::string bytes = is_changed ? whole : whole.substr(0, size);
      if (is_changed) bytes[size] = static_cast<char>(bytes[size] ^ 1);
      std::ofstream(file, std::ios::binary) << bytes;
      ReferenceStates states(file, "key", 2);
      EXPECT_FALSE(states.Has(kSecond)) << size;
      states.Put(kSecond, StatesOf(kSecond));
      ExpectStates(states, kSecond);
      if (states.Has(kFirst)) ExpectStates(states, kFirst);
    }
  }
}

TEST(ReferenceStates, ChangedWhileItIsUsedIsAnError) {
  const testing::TemporaryFolder folder;
  ReferenceStates states(folder / "states", "key", 2);
  states.Put(kFirst, StatesOf(kFirst));
  std::string bytes = ReadFile(folder / "states");
  bytes[bytes.size() - 12] ^= 1;
  {
    std::fstream file(folder / "states", std::ios::in | std::ios::out | std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  Matrix found(kFirst.size(), 2);
  EXPECT_THAT(ErrorOf([&] { states.Get(kFirst, found); }), HasSubstr("were changed"));
}

// The head on kept states gives the bits of the whole reference, so every comparison does.
using RecordedReference = testing::DemoModelTest;

TEST_F(RecordedReference, ComparesAsTheReferenceItself) {
  const testing::TemporaryFolder folder;
  const PerplexityText text = PrepareText(FindProtocol("gptq"), "text",
                                          "Once there was a cat that liked to read in the sun, "
                                          "and one day it found a book about a small dog.",
                                          tokenizer(), 8);
  const Model rounded = LoadModel(model_.source, {.compute_in_bf16 = true}, context_);
  const DecoderScoringModel reference(decoder()), other(*rounded.decoder);
  ReferenceStates states(folder / "states", "key", decoder().plan.hidden_size);
  const RecordingModel recording(reference, states);
  (void)ScorePerplexity({.model = &recording}, {&text, 1}, {}, context_);

  const Model head = LoadModel(model_.source, {.without_blocks = true}, context_);
  EXPECT_TRUE(head.decoder->blocks.empty());
  const RecordedModel recorded(*head.decoder, states);
  const auto score = [&](const ScoringModel& with) {
    return ScorePerplexity({.model = &other, .reference = &with}, {&text, 1}, {.batch = 2},
                           context_)[0];
  };
  const TextScores wanted = score(reference), found = score(recorded);
  EXPECT_GT(wanted.comparison->kl_mean.value, 0);
  EXPECT_EQ(found.comparison->kl_mean.value, wanted.comparison->kl_mean.value);
  EXPECT_EQ(found.comparison->kl_p999.value, wanted.comparison->kl_p999.value);
  EXPECT_EQ(found.reference_ppl->value, wanted.reference_ppl->value);

  // From the numbers of its windows alone the same scores come out.
  std::vector<WindowRows> rows;
  (void)ScorePerplexity({.model = &other, .reference = &recorded}, {&text, 1},
                        {.keep =
                             [&](size_t, size_t, const WindowRows& one) {
                               size_t used = 0;
                               rows.push_back(*WindowRowsOf(BytesOf(one), used));
                             }},
                        context_);
  const TextScores again = ScoresOfWindows(text, [&](size_t w) { return rows[w]; });
  EXPECT_EQ(again.ppl.value, wanted.ppl.value);
  EXPECT_EQ(again.comparison->kl_median.standard_error,
            wanted.comparison->kl_median.standard_error);
}

}  // namespace
}  // namespace qualm
