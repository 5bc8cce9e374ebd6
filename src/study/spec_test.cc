#include "study/spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "study/calibration_source.h"

namespace qualm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kStudy = R"(
name: one
title: T
question: {en: Q, zh: 问}
models: [m]
recipes: [rtn-w4-g64]
seeds: 3
defaults: {samples: 8, length: 32}
limits: {rows: 5, windows: 7, seqlen: 64}
calibration:
  - {name: a, corpus: a.txt, about: {dataset: d, task: t, language: en}}
  - {name: b, corpus: b.txt, samples: [1, 4], length: [16, 32]}
  - {name: again, again: a}
  - {name: mixed, mixed: [a, b-1x16]}
tests:
  - {tasks: [sst2, rte], shots: 5, about: {task: standard, language: en}}
  - {name: text, corpus: c.txt, limit: 2}
exclude: [{recipe: "gptq-*", relation: control}]
)";

std::string ErrorOf(const std::string& text) {
  try {
    ParseStudy(text, "x.yaml");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Study, ListsMakeSetsAndTests) {
  const StudySpec spec = ParseStudy(kStudy, "x.yaml");
  std::vector<std::string> sets, tests;
  for (const CalibrationSpec& set : spec.calibrations) sets.push_back(set.name);
  for (const TestSpec& test : spec.tests) tests.push_back(test.name);
  EXPECT_THAT(sets, ElementsAre("a", "b-1x16", "b-1x32", "b-4x16", "b-4x32", "again", "mixed"));
  EXPECT_THAT(tests, ElementsAre("sst2-5shot", "rte-5shot", "text"));
  EXPECT_EQ(spec.calibrations[3].sampler.samples, 4U);
  EXPECT_EQ(spec.calibrations[0].sampler.length, 32U);
  EXPECT_EQ(spec.calibrations[5].corpus, "a.txt");  // a twin has everything of the other
  EXPECT_EQ(spec.tests[0].limit, 5U);
  EXPECT_EQ(spec.tests[0].about.dataset, "sst2");
  EXPECT_EQ(spec.tests[2].limit, 2U);
  EXPECT_EQ(spec.tests[2].seqlen, 64U);
}

TEST(Study, MistakesNameTheirLine) {
  EXPECT_THAT(ErrorOf(Replaced(kStudy, "seeds: 3", "seedz: 3")), HasSubstr("x.yaml:7"));
  EXPECT_THAT(ErrorOf(Replaced(kStudy, "again: a", "again: aa")), HasSubstr("did you mean 'a'"));
  EXPECT_THAT(ErrorOf(Replaced(kStudy, "relation: control", "relation: controls")),
              HasSubstr("did you mean 'control'"));
  EXPECT_THAT(ErrorOf(Replaced(kStudy, "corpus: a.txt,", "corpus: a.txt, random_tokens: true,")),
              HasSubstr("corpus and random_tokens"));
  EXPECT_THAT(ErrorOf(Replaced(kStudy, "name: one", "name: ../one")), HasSubstr("x.yaml:2"));
  EXPECT_THAT(ErrorOf(Replaced(kStudy, "{name: again,", "{name: a,")), HasSubstr("'a' twice"));
  EXPECT_THAT(ErrorOf(Replaced(kStudy, "mixed: [a, b-1x16]", "mixed: [a]")),
              HasSubstr("two names or more"));
  EXPECT_THAT(ErrorOf("name: x\nextends: nothing\n"), HasSubstr("unknown study"));
}

TEST(Study, RelationsAreTheFirstThatDiffers) {
  const About base{"d", "s", "t", "en"};
  EXPECT_EQ(RelationOf(base, base), Relation::kIid);
  EXPECT_EQ(RelationOf({"d", "other", "t", "en"}, base), Relation::kCrossSubject);
  EXPECT_EQ(RelationOf({"other", "other", "t", "en"}, base), Relation::kCrossDataset);
  EXPECT_EQ(RelationOf({"other", "s", "other", "en"}, base), Relation::kCrossTask);
  EXPECT_EQ(RelationOf({"d", "s", "other", "zh"}, base), Relation::kCrossLanguage);
}

// All that ship can be read, and every one has the controls: random tokens, the model's own text, a
// mixture and a twin.
TEST(Study, ThoseThatShipHaveTheControls) {
  const std::vector<std::string> names = StudyNames();
  EXPECT_GE(names.size(), 17U);
  for (const std::string& name : names) {
    const StudySpec spec = FindStudy(name);
    EXPECT_EQ(spec.name, name);
    EXPECT_FALSE(spec.title.zh.empty());
    int random = 0, self = 0, mixed = 0, twins = 0;
    for (const CalibrationSpec& set : spec.calibrations) {
      random += set.kind == CalibrationKind::kRandomTokens ? 1 : 0;
      self += set.kind == CalibrationKind::kSelfGenerated ? 1 : 0;
      mixed += set.kind == CalibrationKind::kMixed ? 1 : 0;
      twins += set.again.empty() ? 0 : 1;
    }
    EXPECT_TRUE(random > 0 && self > 0 && mixed > 0 && twins > 0) << name;
  }
}

TEST(Stratify, SpreadsRowsEvenly) {
  EXPECT_THAT(Stratify({10, 10, 10, 10}, 8, 0), ElementsAre(2, 2, 2, 2));
  EXPECT_THAT(Stratify({1, 10, 10}, 9, 0), ElementsAre(1, 4, 4));
  EXPECT_THAT(Stratify({1, 2}, 9, 0), ElementsAre(1, 2));  // no more than there are
  size_t sum = 0;
  std::vector<size_t> firsts;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const std::vector<size_t> quota = Stratify({50, 50, 50}, 128, seed);
    sum += quota[0] + quota[1] + quota[2];
    firsts.push_back(quota[0]);
  }
  EXPECT_EQ(sum, 8 * 128U);
  EXPECT_THAT(firsts, testing::Contains(42U));  // who gets one less depends on the seed
  EXPECT_THAT(firsts, testing::Contains(43U));
}

TEST(MixedSet, TakesTurns) {
  const auto set = [](TokenId token) {
    CalibrationSet one;
    one.length = 2;
    one.sequences.assign(3, {token, token});
    one.corpus = "c";
    HashCalibration(one);
    return one;
  };
  SamplerOptions options;
  options.samples = 4;
  options.length = 2;
  options.held_out = 0;
  const CalibrationSet mixed = MixedSet({set(1), set(2)}, options);
  ASSERT_EQ(mixed.sequences.size(), 4U);
  EXPECT_EQ(mixed.sequences[0][0], 1);
  EXPECT_EQ(mixed.sequences[3][1], 2);
  options.samples = 8;
  EXPECT_THROW(MixedSet({set(1), set(2)}, options), Error);
}

TEST(CalibrationSetJson, ADamagedFileIsRefused) {
  CalibrationSet set;
  set.length = 2;
  set.sequences = {{1, 2}, {3, 4}};
  set.sampler = "random-crop";
  HashCalibration(set);
  Json json = ParseJson(ToJson(set).dump(), "x");
  EXPECT_EQ(CalibrationSetFromJson(json, "x").hash, set.hash);
  json["sequences"][0][1] = 5;
  EXPECT_THROW(CalibrationSetFromJson(json, "x"), Error);
  json["sequences"][0] = {1};
  EXPECT_THROW(CalibrationSetFromJson(json, "x"), Error);
}

}  // namespace
}  // namespace qualm
