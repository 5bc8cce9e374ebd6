// What a family may ask of a config.json, what it gets, and which keys nobody asked for.
#include "model/config_reader.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "support/errors.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What is said about unknown keys after `ask` has read some.
template <typename Ask>
std::string Unknown(const Json& json, Ask ask) {
  const ConfigReader config(json);
  ask(config);
  return ErrorOf([&] { config.RefuseUnknownKeys(); });
}

void AskNothing(const ConfigReader&) {}

TEST(ConfigReaderTest, AKeyThatNobodyAskedForIsRefusedByItsName) {
  const Json json = {{"depth", 3}, {"twist", 0.5}};
  const std::string message =
      Unknown(json, [](const ConfigReader& config) { (void)config.Size("depth"); });
  EXPECT_THAT(message, HasSubstr("[:twist] expected keys that the family understands; got 0.5"));
  EXPECT_THAT(message, HasSubstr("--config twist=null"));
  // false is a value, too.
  EXPECT_THAT(Unknown({{"twist", false}}, AskNothing), HasSubstr("[:twist]"));
}

TEST(ConfigReaderTest, EveryWayOfAskingCounts) {
  const Json json = {{"a", 1},      {"b", 1.5},   {"c", true}, {"d", -4},
                     {"e", "text"}, {"f", {"x"}}, {"g", {1}},  {"h", {2.5}},
                     {"i", 1},      {"j", 1},     {"k", 1},    {"l", {{"m", 1}}},
                     {"n", true},   {"o", "p"},   {"q", 1},    {"r", "s"}};
  EXPECT_EQ(Unknown(json,
                    [](const ConfigReader& config) {
                      EXPECT_EQ(config.Size("a"), 1u);
                      EXPECT_EQ(config.Positive("b", 2), 1.5);
                      EXPECT_TRUE(config.Bool("c", false));
                      EXPECT_EQ(config.Int("d", 0), -4);
                      EXPECT_EQ(config.Text("e", ""), "text");
                      EXPECT_THAT(config.Texts("f", 1), ElementsAre("x"));
                      EXPECT_THAT(config.Ints("g", 1), ElementsAre(1));
                      EXPECT_THAT(config.Numbers("h", 1), ElementsAre(2.5));
                      EXPECT_TRUE(config.Has("i"));
                      EXPECT_FALSE(config.HasNull("j"));
                      EXPECT_NE(config.Value("k"), nullptr);
                      EXPECT_TRUE(config.HasObject("l"));
                      config.Require("n", true);
                      config.RequireText("o", "p");
                      config.Ignore({"q"});
                      EXPECT_TRUE(config.HasText("r"));
                    }),
            "no error");
}

TEST(ConfigReaderTest, NullKeysAndKeysWithoutInfluenceNeedNobody) {
  EXPECT_EQ(
      Unknown({{"twist", nullptr}, {"torch_dtype", "bfloat16"}, {"use_cache", true}}, AskNothing),
      "no error");
}

TEST(ConfigReaderTest, InsideAnObjectThatIsReadKeysAreKnownOneByOne) {
  const Json json = {{"scaling", {{"factor", 2}, {"twist", 1}, {"empty", nullptr}}}};
  const auto ask = [](const ConfigReader& config) {
    (void)config.Inner("scaling").Positive("factor", 1);
  };
  EXPECT_THAT(Unknown(json, ask), HasSubstr("[:scaling:twist]"));
  // Configurations inside others repeat the keys that have no influence.
  EXPECT_EQ(Unknown({{"scaling", {{"factor", 2}, {"use_cache", true}}}}, ask), "no error");
  EXPECT_EQ(Unknown({{"scaling", {{"factor", 2}}}}, ask), "no error");
  // An object that is taken as a whole is known with all that is in it.
  EXPECT_EQ(Unknown(json, [](const ConfigReader& config) { config.Ignore({"scaling"}); }),
            "no error");
}

TEST(ConfigReaderTest, AKeyInsideDoesNotStandForOneOutside) {
  const Json json = {{"factor", 2}, {"scaling", {{"factor", 2}}}};
  EXPECT_THAT(Unknown(json,
                      [](const ConfigReader& config) {
                        (void)config.Inner("scaling").Positive("factor", 1);
                      }),
              HasSubstr("[:factor]"));
}

// "scale" comes before "scale:" and "scale_b" in the order of keys.
TEST(ConfigReaderTest, NamesThatBeginAlikeAreToldApart) {
  const auto ask = [](const ConfigReader& config) { (void)config.Has("scale"); };
  EXPECT_THAT(Unknown({{"scale", {{"x", 1}}}, {"scale_b", 1}}, ask), HasSubstr("[:scale_b]"));
}

TEST(ConfigReaderTest, WasAskedForFollowsTheKeys) {
  const Json json = {{"scaling", {{"factor", 2}}}};
  const ConfigReader config(json);
  (void)config.Inner("scaling").Positive("factor", 1);
  (void)config.Size("depth", 3);
  EXPECT_TRUE(config.WasAskedFor({"scaling"}));
  EXPECT_TRUE(config.WasAskedFor({"scaling", "factor"}));
  EXPECT_TRUE(config.WasAskedFor({"depth"}));
  EXPECT_FALSE(config.WasAskedFor({"factor"}));
  EXPECT_FALSE(config.WasAskedFor({"scaling", "depth"}));
}

TEST(ConfigReaderTest, NullMeansMissing) {
  const Json json = {{"key", nullptr}};
  const ConfigReader config(json);
  EXPECT_FALSE(config.Has("key"));
  EXPECT_TRUE(config.HasNull("key"));
  EXPECT_FALSE(config.HasNull("other"));
  EXPECT_EQ(config.Value("key"), nullptr);
  EXPECT_EQ(config.Size("key", 7), 7u);
  EXPECT_TRUE(config.Bool("key", true));
  EXPECT_EQ(config.Int("key", -7), -7);
  EXPECT_EQ(config.Text("key", "seven"), "seven");
  EXPECT_THAT(config.Texts("key", 2), IsEmpty());
  EXPECT_THAT(config.Ints("key", 2), IsEmpty());
  EXPECT_THAT(config.Numbers("key", 2), IsEmpty());
  EXPECT_FALSE(config.HasObject("key"));
  // But not where the library computes with it.
  EXPECT_THAT(ErrorOf([&] { (void)config.Positive("key", 1); }), HasSubstr("got null"));
  EXPECT_THAT(ErrorOf([&] { (void)config.Size("key"); }), HasSubstr("key"));
}

TEST(ConfigReaderTest, ListsAreAsLongAsTheyMustBeAndOfOneKind) {
  const Json json = {{"texts", {"a", "b"}}, {"ints", {1, true, -2}}, {"numbers", {1, 2.5}},
                     {"mixed", {"a", 1}},   {"zero", {1.0, 0.0}},    {"text", "a"}};
  const ConfigReader config(json);
  EXPECT_THAT(config.Texts("texts", 2), ElementsAre("a", "b"));
  EXPECT_THAT(config.Ints("ints", 3), ElementsAre(1, 1, -2));
  EXPECT_THAT(config.Numbers("numbers", 2), ElementsAre(1, 2.5));

  EXPECT_THAT(ErrorOf([&] { (void)config.Texts("texts", 3); }),
              HasSubstr("[:texts] expected a list of 3 texts; got a list of 2"));
  EXPECT_THAT(ErrorOf([&] { (void)config.Texts("text", 1); }), HasSubstr("got \"a\""));
  EXPECT_THAT(ErrorOf([&] { (void)config.Texts("mixed", 2); }), HasSubstr("texts; got 1"));
  EXPECT_THAT(ErrorOf([&] { (void)config.Ints("mixed", 2); }), HasSubstr("integers; got \"a\""));
  EXPECT_THAT(ErrorOf([&] { (void)config.Ints("numbers", 2); }), HasSubstr("integers; got 2.5"));
  EXPECT_THAT(ErrorOf([&] { (void)config.Numbers("zero", 2); }), HasSubstr("got 0.0"));
  EXPECT_THAT(ErrorOf([&] { (void)config.Numbers("mixed", 2); }), HasSubstr("got \"a\""));
}

TEST(ConfigReaderTest, AnIntegerThatNoTypeHoldsIsRefused) {
  const Json json = {{"ints", {uint64_t{1} << 63}}};
  const ConfigReader config(json);
  EXPECT_THAT(ErrorOf([&] { (void)config.Ints("ints", 1); }), HasSubstr("9223372036854775808"));
}

TEST(ConfigReaderTest, OtherValuesThanTheRequiredOneAreRefused) {
  const Json json = {{"flag", true}, {"text", "other"}};
  const ConfigReader config(json);
  EXPECT_THAT(ErrorOf([&] { config.Require("flag", false); }),
              HasSubstr("[:flag] expected false; got true"));
  EXPECT_THAT(ErrorOf([&] { config.RequireText("text", "this"); }),
              HasSubstr("[:text] expected this; got other"));
  EXPECT_EQ(ErrorOf([&] { config.Require("missing", true); }), "no error");
}

TEST(ConfigReaderTest, LongValuesAreCutInMessages) {
  const Json json = {{"key", std::string(1000, 'x')}};
  const ConfigReader config(json);
  const std::string message = ErrorOf([&] { config.RequireText("key", "y"); });
  EXPECT_LT(message.size(), 200u);
  EXPECT_THAT(message, HasSubstr("xxx..."));
}

TEST(ConfigReaderTest, InnerNeedsAnObject) {
  const Json json = {{"list", {1}}, {"null", nullptr}};
  const ConfigReader config(json);
  EXPECT_THAT(ErrorOf([&] { (void)config.Inner("list"); }),
              HasSubstr("an object or null; got [1]"));
  EXPECT_THAT(ErrorOf([&] { (void)config.Inner("null"); }), HasSubstr("got null"));
}

}  // namespace
}  // namespace qualm
