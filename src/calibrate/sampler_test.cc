#include "calibrate/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/strings.h"
#include "data/corpus.h"
#include "support/errors.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::UnorderedElementsAre;
using Sequence = std::vector<TokenId>;

constexpr TokenId kBos = 1000000;

// Texts are numbers between blanks; each is its own token. So a token tells where it stood.
class NumberTokenizer final : public Tokenizer {
 public:
  explicit NumberTokenizer(bool add_bos) {
    special_.bos = kBos;
    special_.add_bos = add_bos;
  }
  std::vector<TokenId> Encode(std::string_view text) const override {
    Sequence ids;
    while (!(text = Trim(text)).empty()) {
      TokenId id = 0;
      auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
      QUALM_CHECK(error == std::errc());
      text.remove_prefix(static_cast<size_t>(end - text.data()));
      ids.push_back(id);
    }
    return ids;
  }
  std::string Decode(std::span<const TokenId>, bool) const override { return ""; }
  std::string Piece(TokenId id) const override { return StrCat(id); }
  std::optional<TokenId> IdOfPiece(std::string_view) const override { return std::nullopt; }
  size_t vocab_size() const override { return kBos + 1; }
  std::string_view kind() const override { return "numbers"; }
};

// "first first+1 ... first+count-1".
std::string Numbers(int first, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += StrCat(i > 0 ? " " : "", first + i);
  return text;
}

// Documents 0, 1, 2, ... of `length` numbers; document d counts up from 1000·d.
Corpus Documents(int count, int length) {
  std::vector<std::string> documents;
  for (int d = 0; d < count; ++d) documents.push_back(Numbers(1000 * d, length));
  return MakeCorpus("documents", documents);
}

CalibrationSet Sample(const Corpus& corpus, std::string_view sampler, size_t samples, size_t length,
                      uint64_t seed = 0, size_t held_out = 4, bool add_bos = false) {
  SamplerOptions options;
  options.sampler = sampler;
  options.samples = samples;
  options.length = length;
  options.seed = seed;
  options.held_out = held_out;
  return SampleCalibration(corpus, NumberTokenizer(add_bos), options);
}

bool CountsUp(const Sequence& tokens) {
  return std::ranges::adjacent_find(tokens, [](TokenId a, TokenId b) { return b != a + 1; }) ==
         tokens.end();
}

std::set<TokenId> TokensOf(const std::vector<Sequence>& sequences) {
  std::set<TokenId> tokens;
  for (const Sequence& sequence : sequences) tokens.insert(sequence.begin(), sequence.end());
  return tokens;
}

std::multiset<int> DocumentsOf(const std::vector<Sequence>& sequences) {
  std::multiset<int> documents;
  for (const Sequence& sequence : sequences) documents.insert(sequence[0] / 1000);
  return documents;
}

void ExpectNoSharedTokens(const CalibrationSet& set) {
  const std::set<TokenId> used = TokensOf(set.sequences);
  for (TokenId token : TokensOf(set.held_out)) ASSERT_EQ(used.count(token), 0u) << token;
}

TEST(RandomCrop, WindowsAreCropsOfTheJoinedCorpus) {
  // Joined, the two documents count from 0 to 99.
  const Corpus corpus = MakeCorpus("c", {Numbers(0, 50), Numbers(50, 50)});
  const CalibrationSet set = Sample(corpus, "random-crop", 20, 30);
  ASSERT_EQ(set.sequences.size(), 20u);
  for (const Sequence& sequence : set.sequences) {
    EXPECT_EQ(sequence.size(), 30u);
    EXPECT_TRUE(CountsUp(sequence));
  }
  EXPECT_EQ(set.tokens(), 600u);
  EXPECT_EQ(set.documents, 2u);
}

// 98 starts, 3000 draws: the chance that a given one never comes is (97/98)^3000 < 1e-13.
TEST(RandomCrop, EveryStartComesUp) {
  const CalibrationSet set = Sample(MakeCorpus("c", {Numbers(0, 100)}), "random-crop", 3000, 3);
  std::set<TokenId> starts;
  for (const Sequence& sequence : set.sequences) starts.insert(sequence[0]);
  EXPECT_EQ(starts.size(), 98u);
  EXPECT_TRUE(set.held_out.empty());  // nothing is left
}

TEST(RandomCrop, CorpusOfOneWindowIsThatWindow) {
  const CalibrationSet set = Sample(MakeCorpus("c", {"7 8 9"}), "random-crop", 2, 3);
  EXPECT_THAT(set.sequences, ElementsAre(Sequence{7, 8, 9}, Sequence{7, 8, 9}));
}

TEST(RandomCrop, BosStandsOnlyWhereTheEncodingPutsIt) {
  const Corpus corpus = MakeCorpus("c", {"1 2", "3"});
  const CalibrationSet set = Sample(corpus, "random-crop", 100, 3, 0, 0, /*add_bos=*/true);
  EXPECT_THAT(std::set<Sequence>(set.sequences.begin(), set.sequences.end()),
              UnorderedElementsAre(Sequence{kBos, 1, 2}, Sequence{1, 2, 3}));
}

TEST(RandomCrop, HeldOutWindowsDoNotOverlapAnything) {
  const Corpus corpus = MakeCorpus("c", {Numbers(0, 1000)});
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const CalibrationSet set = Sample(corpus, "random-crop", 10, 20, seed, 8);
    ASSERT_EQ(set.held_out.size(), 8u);  // 10 windows leave at least 800 tokens in 11 parts
    ASSERT_EQ(TokensOf(set.held_out).size(), 160u);  // nor each other
    for (const Sequence& sequence : set.held_out) ASSERT_TRUE(CountsUp(sequence));
    ExpectNoSharedTokens(set);
  }
}

TEST(RandomCrop, HeldOutReachesBothEndsOfTheCorpus) {
  // Windows of 4 from 12 tokens, one of them taken: what is free is 8 tokens around it.
  const Corpus corpus = MakeCorpus("c", {Numbers(0, 12)});
  std::set<TokenId> starts;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const CalibrationSet set = Sample(corpus, "random-crop", 1, 4, seed, 9);
    ExpectNoSharedTokens(set);
    const TokenId taken = set.sequences[0][0];
    const size_t fit = static_cast<size_t>(taken / 4) + static_cast<size_t>((8 - taken) / 4);
    EXPECT_EQ(set.held_out.size(), fit) << taken;
    for (const Sequence& sequence : set.held_out) starts.insert(sequence[0]);
  }
  EXPECT_EQ(*starts.begin(), 0);
  EXPECT_EQ(*starts.rbegin(), 8);
}

TEST(RandomCrop, ShortCorpusSaysWhatItHasAndWhatIsNeeded) {
  EXPECT_EQ(
      ErrorOf([] {
        Sample(MakeCorpus("short.txt", {"1 2", "3"}), "random-crop", 1, 4);
      }),
      "[short.txt] expected at least 4 tokens for one sample; got 3 tokens; use a longer text "
      "or shorter samples");
}

TEST(DocumentCrop, TakesEveryLongDocumentOnceBeforeAnyTwice) {
  std::vector<std::string> documents = Documents(6, 12).documents;
  documents.push_back(Numbers(9000, 10));  // not longer than the length
  const Corpus corpus = MakeCorpus("c", documents);
  const CalibrationSet set = Sample(corpus, "document-crop", 6, 10);
  EXPECT_THAT(DocumentsOf(set.sequences), UnorderedElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_EQ(set.documents, 6u);
  EXPECT_TRUE(set.held_out.empty());
  for (const Sequence& sequence : set.sequences) {
    EXPECT_EQ(sequence.size(), 10u);
    EXPECT_TRUE(CountsUp(sequence));
  }
  const CalibrationSet more = Sample(corpus, "document-crop", 12, 10);
  EXPECT_THAT(DocumentsOf(more.sequences),
              UnorderedElementsAre(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5));
  EXPECT_EQ(more.documents, 6u);
}

TEST(DocumentCrop, EveryStartComesUp) {
  const CalibrationSet set = Sample(Documents(1, 12), "document-crop", 300, 10);
  std::set<TokenId> starts;
  for (const Sequence& sequence : set.sequences) starts.insert(sequence[0]);
  EXPECT_THAT(starts, ElementsAre(0, 1, 2));
}

TEST(DocumentCrop, HeldOutComesFromOtherDocuments) {
  const CalibrationSet set = Sample(Documents(10, 30), "document-crop", 6, 10, 3, 3);
  EXPECT_EQ(set.held_out.size(), 3u);
  const std::multiset<int> used = DocumentsOf(set.sequences);
  for (int document : DocumentsOf(set.held_out)) EXPECT_EQ(used.count(document), 0u);
  EXPECT_EQ(Sample(Documents(10, 30), "document-crop", 8, 10, 3, 9).held_out.size(), 2u);
}

TEST(DocumentCrop, ShortDocumentsSayWhatTheyHave) {
  EXPECT_EQ(
      ErrorOf([] { Sample(Documents(3, 10), "document-crop", 1, 10); }),
      "[documents] expected a document of more than 10 tokens; got 10 tokens in the longest of "
      "3; use shorter samples or the sampler random-crop, which joins documents");
}

TEST(Concat, JoinsShortDocumentsAndDropsTheRest) {
  // Five documents of 3 tokens and one too long: 15 tokens are three sequences of 4 and a rest.
  std::vector<std::string> documents = Documents(5, 3).documents;
  documents.push_back(Numbers(9000, 5));
  documents.push_back(" \n");
  const CalibrationSet set = Sample(MakeCorpus("c", documents), "concat", 10, 4);
  ASSERT_EQ(set.sequences.size(), 3u);
  EXPECT_EQ(set.documents, 5u);
  Sequence joined;
  for (const Sequence& sequence : set.sequences) {
    EXPECT_EQ(sequence.size(), 4u);
    joined.insert(joined.end(), sequence.begin(), sequence.end());
  }
  std::set<int> order;
  for (size_t i = 0; i + 3 <= joined.size(); i += 3) {
    EXPECT_EQ(joined[i] % 1000, 0);
    EXPECT_EQ(joined[i + 2], joined[i] + 2);
    order.insert(joined[i] / 1000);
  }
  EXPECT_EQ(order.size(), 4u);
  EXPECT_EQ(order.count(9), 0u);
}

TEST(Concat, SamplesCountDocuments) {
  const CalibrationSet set = Sample(Documents(20, 4), "concat", 5, 4, 0, 100);
  EXPECT_EQ(set.sequences.size(), 5u);  // a document of exactly the length is not skipped
  EXPECT_EQ(set.documents, 5u);
  EXPECT_EQ(set.held_out.size(), 15u);
  ExpectNoSharedTokens(set);
}

TEST(Concat, EveryDocumentIsTokenisedForItself) {
  const Corpus corpus = MakeCorpus("c", {"  1 2\n", "\t3 4 "});
  const CalibrationSet set = Sample(corpus, "concat", 2, 3, 0, 0, /*add_bos=*/true);
  EXPECT_THAT(set.sequences, UnorderedElementsAre(Sequence{kBos, 1, 2}, Sequence{kBos, 3, 4}));
}

TEST(Concat, HeldOutSequencesAreAsManyAsAskedFor) {
  EXPECT_EQ(Sample(Documents(20, 3), "concat", 4, 4, 0, 2).held_out.size(), 2u);
  EXPECT_EQ(Sample(Documents(20, 3), "concat", 4, 4, 0, 0).held_out.size(), 0u);
}

TEST(Concat, ShortCorpusSaysWhatItHas) {
  EXPECT_EQ(
      ErrorOf([] { Sample(Documents(3, 3), "concat", 2, 10); }),
      "[documents] expected at least 10 tokens for one sample; got 6 tokens in 2 documents of "
      "at most that length, of 3; use more documents, shorter samples or the sampler "
      "random-crop");
  EXPECT_NE(ErrorOf([] { Sample(Documents(3, 30), "concat", 2, 10); }).find("got 0 tokens in 0"),
            std::string::npos);
}

TEST(Samplers, SameInputSameSet) {
  const Corpus corpus = Documents(30, 12);
  for (const std::string& sampler : SamplerNames()) {
    const CalibrationSet first = Sample(corpus, sampler, 8, sampler == "concat" ? 12 : 10, 5);
    const CalibrationSet again = Sample(corpus, sampler, 8, sampler == "concat" ? 12 : 10, 5);
    const CalibrationSet other = Sample(corpus, sampler, 8, sampler == "concat" ? 12 : 10, 6);
    EXPECT_EQ(first.sequences, again.sequences);
    EXPECT_EQ(first.held_out, again.held_out);
    EXPECT_EQ(first.hash, again.hash);
    EXPECT_EQ(first.held_out_hash, again.held_out_hash);
    EXPECT_NE(first.sequences, other.sequences) << sampler;
    EXPECT_NE(first.hash, other.hash);
    EXPECT_NE(first.held_out_hash, other.held_out_hash);
  }
}

TEST(Samplers, HeldOutDoesNotChangeTheCalibrationSet) {
  const Corpus corpus = Documents(30, 12);
  for (const std::string& sampler : SamplerNames()) {
    const CalibrationSet without = Sample(corpus, sampler, 8, sampler == "concat" ? 12 : 10, 5, 0);
    const CalibrationSet with = Sample(corpus, sampler, 8, sampler == "concat" ? 12 : 10, 5, 9);
    EXPECT_EQ(without.sequences, with.sequences);
    EXPECT_EQ(without.hash, with.hash);
    EXPECT_TRUE(without.held_out.empty());
    EXPECT_FALSE(with.held_out.empty());
  }
}

TEST(Samplers, HashCoversEverythingThatDefinesTheSet) {
  // The same two tokens every time; what differs is only what was asked for.
  auto hash = [](std::string_view sampler, size_t samples, uint64_t seed, std::string_view text) {
    return Sample(MakeCorpus("c", {std::string(text)}), sampler, samples, 2, seed).hash;
  };
  const std::set<std::string> hashes = {
      hash("random-crop", 1, 0, "1 2"), hash("random-crop", 1, 1, "1 2"),
      hash("random-crop", 2, 0, "1 2"), hash("random-crop", 1, 0, "1  2"),
      hash("concat", 1, 0, "1 2"),      hash("concat", 2, 0, "1 2"),
      hash("random-crop", 1, 0, "1 3")};
  EXPECT_EQ(hashes.size(), 7u);
  EXPECT_EQ(Sample(MakeCorpus("other", {"1 2"}), "random-crop", 1, 2).hash,
            hash("random-crop", 1, 0, "1 2"));
}

TEST(Samplers, SetKnowsWhereItComesFrom) {
  const Corpus corpus = Documents(5, 12);
  const CalibrationSet set = Sample(corpus, "document-crop", 3, 10, 7);
  EXPECT_EQ(set.sampler, "document-crop");
  EXPECT_EQ(set.corpus, "documents");
  EXPECT_EQ(set.corpus_hash, corpus.hash);
  EXPECT_EQ(set.samples, 3u);
  EXPECT_EQ(set.length, 10u);
  EXPECT_EQ(set.seed, 7u);
  EXPECT_EQ(set.hash.size(), 32u);
}

TEST(Samplers, TableIsSortedAndDescribed) {
  EXPECT_THAT(SamplerNames(), ElementsAre("concat", "document-crop", "random-crop"));
  for (const std::string& name : SamplerNames()) EXPECT_FALSE(SamplerDescription(name).empty());
}

TEST(Samplers, UnknownNamesAndEmptyRequestsAreErrors) {
  const Corpus corpus = Documents(5, 12);
  EXPECT_EQ(ErrorOf([&] { Sample(corpus, "random-crops", 1, 1); }),
            "[calibration] unknown sampler 'random-crops'; did you mean 'random-crop'? available: "
            "concat, document-crop, random-crop");
  EXPECT_EQ(
      ErrorOf([&] { Sample(corpus, "random-crop", 0, 8); }),
      "[calibration] expected samples and length of 1 to 4294967296 tokens; got 0 samples of 8 "
      "tokens");
  EXPECT_NE(ErrorOf([&] { Sample(corpus, "random-crop", 8, 0); }), "no error");
  EXPECT_NE(ErrorOf([&] { Sample(corpus, "random-crop", size_t{1} << 40, size_t{1} << 40); }),
            "no error");
}

}  // namespace
}  // namespace qualm
