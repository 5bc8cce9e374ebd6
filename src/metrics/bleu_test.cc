// BLEU and chrF against values that sacreBLEU's own tests expect, and counts by hand.
#include "metrics/bleu.h"

#include <gmock/gmock.h>

#include <cmath>

namespace qualm {
namespace {

using ::testing::ElementsAre;

std::vector<double> Sum(const std::vector<std::vector<double>>& all) {
  std::vector<double> sum(all[0].size(), 0);
  for (const auto& one : all) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += one[i];
  }
  return sum;
}

const std::vector<std::string> kTexts = {"The dog bit the man.", "It wasn't surprising.",
                                         "The man had just bitten him."};
const std::vector<std::vector<std::string>> kReferences = {
    {"The dog bit the man.", "The dog had bit the man."},
    {"It was not unexpected.", "No one was surprised."},
    {"The man bit him first.", "The man had bitten the dog."}};

double CorpusBleu(const std::vector<std::string>& texts, const BleuTokenizer& tokenizer) {
  std::vector<std::vector<double>> counts;
  for (size_t i = 0; i < texts.size(); ++i) {
    counts.push_back(CountBleu(texts[i], kReferences[i], tokenizer));
  }
  return BleuOf(Sum(counts));
}

TEST(Bleu, PublishedValues) {
  EXPECT_NEAR(CorpusBleu(kTexts, Tokenize13a), 48.530827, 1e-6);
  EXPECT_NEAR(CorpusBleu(kTexts, TokenizeBlanks), 49.1919566, 1e-6);
  EXPECT_EQ(CorpusBleu({"", "", ""}, Tokenize13a), 0);
}

TEST(Bleu, CountsOfTheDefinition) {
  // sacreBLEU's test_case_statistics: characters of both sides as lines are not meant; by words.
  const std::vector<std::string> reference = {"the cat is on the mat"};
  EXPECT_THAT(CountBleu("the the the cat", reference, Tokenize13a),
              ElementsAre(3, 1, 0, 0, 4, 3, 2, 1, 4, 6));
  // The closest reference; of two equally close ones the shorter.
  const std::vector<std::string> two = {"a b c d e f", "a b"};
  EXPECT_EQ(CountBleu("a b c d", two, Tokenize13a)[9], 2);
}

TEST(Bleu, ScoreOfGivenCounts) {
  EXPECT_NEAR(BleuOf(std::vector<double>{9, 7, 5, 3, 10, 8, 6, 4, 11, 11}), 83.75922397, 1e-6);
  EXPECT_EQ(BleuOf(std::vector<double>{0, 0, 0, 0, 10, 11, 12, 0, 14, 10}), 0);
}

TEST(Bleu, OrdersWithoutAMatchAreSmoothedByHand) {
  const std::vector<std::string> reference = {"this is a test"};
  // 3/4, 2/3, 1/2, and 1/2 for none of one.
  EXPECT_NEAR(BleuOf(CountBleu("this is a fest", reference, Tokenize13a)),
              100 * std::pow(3.0 / 4 * 2 / 3 * 1 / 2 * 1 / 2, 0.25), 1e-9);
  // 2/4, 1/3, then 1/2 for none of two and 1/4 for none of one.
  EXPECT_NEAR(BleuOf(CountBleu("this is the end", reference, Tokenize13a)),
              100 * std::pow(2.0 / 4 * 1 / 3 * (1.0 / 2 / 2) * (1.0 / 4 / 1), 0.25), 1e-9);
}

TEST(Bleu, WordsOfMteval) {
  EXPECT_THAT(Tokenize13a("It's 3.5 %, isn't it? (1,000-2) &quot;x&quot; a.b"),
              ElementsAre("It's", "3.5", "%", ",", "isn't", "it", "?", "(", "1,000", "-", "2", ")",
                          "\"", "x", "\"", "a", ".", "b"));
}

TEST(Bleu, ChineseBySigns) {
  EXPECT_THAT(TokenizeZh("他说：“有 4 个ab.”"),
              ElementsAre("他", "说", "：", "“", "有", "4", "个", "ab", ".", "”"));
}

double Chrf(const std::vector<std::string>& texts, const std::vector<std::string>& references,
            double beta) {
  std::vector<std::vector<double>> counts;
  for (size_t i = 0; i < texts.size(); ++i) {
    counts.push_back(CountChrf(texts[i], std::vector<std::string>{references[i]}));
  }
  return ChrfOf(Sum(counts), beta);
}

TEST(Chrf, PublishedValuesOfBeta3) {
  EXPECT_NEAR(Chrf({"a"}, {"a"}, 3), 100, 1e-4);
  EXPECT_NEAR(Chrf({""}, {"reference"}, 3), 0, 1e-4);
  EXPECT_NEAR(Chrf({"a b c"}, {"abc"}, 3), 100, 1e-4);
  EXPECT_NEAR(Chrf({"a", "b"}, {"a", "c"}, 3), 50, 1e-4);
  EXPECT_NEAR(Chrf({"aa"}, {"ab"}, 3), 25, 1e-4);
  EXPECT_NEAR(Chrf({" risk assessment must be made of those who are qualified and expertise in the "
                    "sector - these are the scientists ."},
                   {"risk assessment has to be undertaken by those who are qualified and expert in "
                    "that area - that is the scientists ."},
                   3),
              63.361730, 1e-4);
  EXPECT_NEAR(Chrf({" Die    Beziehung zwischen  Obama und Netanjahu ist nicht gerade  "
                    "freundlich. "},
                   {"Das Verhältnis zwischen Obama und Netanyahu ist nicht gerade "
                    "freundschaftlich."},
                   3),
              64.1302698, 1e-4);
}

TEST(Chrf, TheBestReferenceCounts) {
  const std::vector<std::string> two = {"zzz", "abc"};
  EXPECT_EQ(ChrfOf(CountChrf("abc", two)), 100);
}

}  // namespace
}  // namespace qualm
