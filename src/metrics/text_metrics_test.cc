#include "metrics/text_metrics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "metrics/answers.h"
#include "metrics/follow_rules.h"
#include "metrics/words.h"

namespace qualm {
namespace {

double Value(std::string_view metric, std::string_view text,
             const std::vector<std::string>& references, const MetricOptions& options = {}) {
  const TextMetric* found = FindTextMetric(metric);
  EXPECT_NE(found, nullptr) << metric;
  return found->value(found->count(text, references, options));
}

TEST(TextMetrics, SquadByHand) {
  EXPECT_EQ(NormalizeSquad("The  Quick, an (old) fox-trot!"), "quick old foxtrot");
  EXPECT_EQ(Value("squad_em", "the Eiffel Tower.", {"Paris", "Eiffel tower"}), 1);
  EXPECT_EQ(Value("exact_match", "the Eiffel Tower.", {"Eiffel tower"}), 0);
  // 2 of 3 words are right, 2 of 4 are found: 2·2/(3+4).
  EXPECT_DOUBLE_EQ(Value("squad_f1", "big red dog", {"red dog runs away"}), 4.0 / 7);
  // Words that come twice count twice only on both sides.
  EXPECT_DOUBLE_EQ(Value("squad_f1", "no no no", {"no way"}), 2.0 / 5);
  EXPECT_EQ(Value("squad_f1", "", {"the"}), 1);  // nothing on both sides
}

// The examples of rouge_score's documentation and of Lin 2004, section 3.1.
TEST(TextMetrics, RougeOfPublishedExamples) {
  const char* target = "The quick brown fox jumps over the lazy dog";
  const char* text = "The quick brown dog jumps on the log.";
  EXPECT_NEAR(RougeN(text, target, 1), 2 * 6.0 / (8 + 9), 1e-12);  // 0.7058
  EXPECT_NEAR(RougeL(text, target), 2 * 5.0 / (8 + 9), 1e-12);     // 0.5882
  EXPECT_NEAR(RougeL("police kill the gunman", "police killed the gunman"), 0.75, 1e-12);
  EXPECT_NEAR(RougeL("the gunman kill police", "police killed the gunman"), 0.5, 1e-12);
  EXPECT_NEAR(RougeN("testing one two", "testing", 1), 0.5, 1e-12);
  EXPECT_EQ(RougeN("testing one two", "testing", 2), 0);
  EXPECT_EQ(RougeL("", ""), 0);
}

TEST(TextMetrics, EntitiesByHand) {
  const TextMetric& metric = *FindTextMetric("entity_f1");
  const std::vector<std::string> gold = {
      "Person: Ann, Bo Li || Location: Rome || Organization: None"};
  const std::vector<double> counts =
      metric.count("Person: ann , Cy. || Place: Rome || Location: rome", gold, {});
  EXPECT_EQ(counts, (std::vector<double>{2, 4, 3}));
  EXPECT_DOUBLE_EQ(metric.value(counts), 4.0 / 7);
  EXPECT_TRUE(std::isnan(metric.value(std::vector<double>{0, 0, 0})));
}

TEST(TextMetrics, NumbersAndMath) {
  EXPECT_EQ(NormalizeNumber(" $1,234.0. "), "1234");
  EXPECT_EQ(NormalizeNumber("about 5"), "about 5");
  EXPECT_EQ(NormalizeNumber("-0"), "0");
  EXPECT_EQ(LastNumber("Then 3 + 4 = 7, so $1,207.50."), "1207.5");
  EXPECT_EQ(LastNumber("it is -3 degrees"), "-3");
  EXPECT_EQ(LastNumber("that is 5-2"), "2");
  EXPECT_EQ(LastNumber("none"), "");
  EXPECT_EQ(LastBoxed("so \\boxed{1} and \\boxed{\\frac{1}{2}}."), "\\frac{1}{2}");
  EXPECT_EQ(LastBoxed("\\boxed{open"), "");
  EXPECT_EQ(NormalizeMath("\\dfrac12"), "\\frac{1}{2}");
  EXPECT_EQ(NormalizeMath("\\frac1{72}"), "\\frac{1}{72}");
  EXPECT_EQ(NormalizeMath("x = 1/2"), "\\frac{1}{2}");
  EXPECT_EQ(NormalizeMath("\\sqrt3 + .5\\text{ cm}"), "\\sqrt{3}+0.5");
  EXPECT_EQ(NormalizeMath("50\\%"), "50");
  EXPECT_EQ(Value("math_match", "0.5", {"\\tfrac{1}{2}"}), 1);
  EXPECT_EQ(Value("number_match", "1,000", {"1000.0"}), 1);
}

TEST(TextMetrics, PassAtKByHand) {
  EXPECT_DOUBLE_EQ(PassAtK(10, 3, 1), 0.3);
  EXPECT_DOUBLE_EQ(PassAtK(5, 2, 2), 0.7);  // 1 - C(3,2)/C(5,2)
  EXPECT_EQ(PassAtK(5, 4, 2), 1);
  EXPECT_EQ(PassAtK(5, 0, 5), 0);
}

TEST(TextMetrics, CodeIsNotRunWithoutPermission) {
  EXPECT_ANY_THROW((void)FindTextMetric("pass@1")->count("x", {}, {}));
}

TEST(FollowRules, LevelsAddUp) {
  const auto headline = [](std::string_view text, const char* level) {
    return FollowedRules(text, std::vector<std::string>{"format", "gigaword", "7", level, ""});
  };
  EXPECT_EQ(headline("two killed in a bomb attack on train", "5"),
            (std::vector<bool>{true, true, true, true, true}));
  EXPECT_EQ(headline("Two killed, near a bus in the town", "5"),
            (std::vector<bool>{true, false, false, false, true}));
  EXPECT_EQ(headline("short", "2"), (std::vector<bool>{false, true}));
}

TEST(FollowRules, TargetsAndTemplates) {
  const auto follows = [](const char* category, const char* source, const char* target,
                          std::string_view text) -> bool {
    return FollowedRules(text, std::vector<std::string>{category, source, "1", "1", target})[0];
  };
  EXPECT_TRUE(follows("situation", "BBH_logical", "(B)", "Not (A) but (B)."));
  EXPECT_FALSE(follows("situation", "gsm_8k", "$14", "$14 or $15"));
  EXPECT_TRUE(follows("content", "CONLL2003", "['Britain', \"Hawke's Bay\"]", "Hawke's Bay"));
  EXPECT_FALSE(follows("content", "CONLL2003", "['Britain']", "Brit"));
  const char* pattern = "{instruction}\n{{'AI assistant': '{answer}'}}";
  EXPECT_TRUE(follows("example", "aeslc", pattern, "{'AI assistant': 'Lost car'}"));
  EXPECT_FALSE(follows("example", "aeslc", pattern, "Lost car"));
  EXPECT_FALSE(HasFollowRules("style", "quora", "3"));
  EXPECT_ANY_THROW((void)follows("style", "quora", "", "x"));
}

}  // namespace
}  // namespace qualm
