#include "io/fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "base/error.h"
#include "io/json_fields.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

enum class Loss { kModule, kLayers };

EnumNames NamesOfEnum(Loss) {
  static constexpr std::array<std::string_view, 2> kNames = {"module", "layers"};
  return {"", kNames};
}

struct Part {
  int bits = 4;
  double share = 0.5;
  bool operator==(const Part&) const = default;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("bits", self.bits, {.range = InRange(1, 8)});
    visit("share", self.share, {.range = Above(0, 1), .expected = "a share above 0 and up to 1"});
  }
};

// One field of each kind.
struct Sample {
  bool act_order = false;
  bool static_groups = false;  // as act_order unless it is said
  int64_t block = 128;
  size_t count = 0;
  uint64_t seed = 0;
  double damp = 0.01;
  double threshold = std::numeric_limits<double>::infinity();
  std::string name = "x";
  Loss loss = Loss::kModule;
  std::optional<double> damping;
  std::optional<Part> calibration;
  std::optional<Part> cache;
  std::vector<std::string> notes;
  std::vector<uint32_t> dims;
  std::vector<Part> parts;
  Part part;
  std::string source_name;
  int source_bytes = 0;
  bool operator==(const Sample&) const = default;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("act_order", self.act_order, {.meaning = "columns by falling diag(H)"});
    visit("static_groups", self.static_groups, {.meaning = "as act_order"}, self.act_order);
    visit("block", self.block, {.range = InRange(1, 65536)});
    visit("count", self.count, {.optional = true});
    visit("seed", self.seed, {.is_seed = true});
    visit("damp", self.damp, {.range = InRange(0, 100), .hint = "0.01 is usual"});
    visit("threshold", self.threshold, {.range = InRange(0, 1e9), .infinite_as_none = true});
    visit("name", self.name, {.required = true});
    visit.Within(self.name);
    visit("loss", self.loss);
    visit("damping", self.damping);
    visit("calibration", self.calibration);
    visit("cache", self.cache, {.null_when_empty = true, .inner_place = "cache"});
    visit("notes", self.notes, {.one_or_many = true});
    visit("dims", self.dims);
    visit("parts", self.parts);
    visit("part", self.part, {.optional = true, .is_written = self.part != Part{}});
    visit.Shown("part_count", [&] { return self.parts.size(); });
    visit.Shown("kind", "sample");
    visit.Map("source", [&](auto& inner) {
      inner("name", self.source_name);
      inner("bytes", self.source_bytes);
    });
  }
};

struct WithText {
  std::string recipe = "{}";

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("recipe", self.recipe, {.is_json_text = true});
  }
};

struct Checked {
  int low = 0, high = 1;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("low", self.low);
    visit("high", self.high);
  }
  void Validate() const {
    if (low > high) ThrowExpected("low up to high", StrCat(low, " and ", high));
  }
};

// Every field differs from its default.
Sample FilledSample() {
  Sample sample;
  sample.act_order = true;
  sample.static_groups = true;
  sample.block = 64;
  sample.count = 7;
  sample.seed = std::numeric_limits<uint64_t>::max();
  sample.damp = 2;
  sample.threshold = 0.25;
  sample.name = "down \"q\"";
  sample.loss = Loss::kLayers;
  sample.damping = 0.5;
  sample.calibration = Part{2, 0.25};
  sample.cache = Part{3, 1};
  sample.notes = {"one", "two"};
  sample.dims = {4, 8};
  sample.parts = {Part{5, 0.125}, Part{}};
  sample.part.bits = 6;
  sample.source_name = "toy";
  sample.source_bytes = 9;
  return sample;
}

template <class T>
std::string YamlError(const std::string& text) {
  try {
    const Yaml yaml = Yaml::Parse(text, "r.yaml");
    (void)OptionsFrom<T>(&yaml);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string JsonError(const Json& json) {
  try {
    (void)FieldsFrom<Sample>(json, "r.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// The record of a filled sample after one change.
std::string JsonErrorWith(std::string_view key, const Json& value) {
  Json json = FieldsJson(FilledSample());
  json[std::string(key)] = value;
  return JsonError(json);
}

std::string JsonErrorWithout(const char* key) {
  Json json = FieldsJson(FilledSample());
  json.erase(key);
  return JsonError(json);
}

TEST(Fields, JsonHasTheStatedOrderAndOnlyWhatIsWritten) {
  EXPECT_EQ(FieldsJson(Sample{}).dump(),
            R"({"act_order":false,"static_groups":false,"block":128,"count":0,"seed":0,)"
            R"("damp":0.01,"threshold":"none","name":"x","loss":"module","cache":null,)"
            R"("notes":[],"dims":[],"parts":[],"part_count":0,"kind":"sample",)"
            R"("source":{"name":"","bytes":0}})");
  EXPECT_EQ(FieldsJson(FilledSample()).dump(),
            R"({"act_order":true,"static_groups":true,"block":64,"count":7,)"
            R"("seed":18446744073709551615,"damp":2.0,"threshold":0.25,"name":"down \"q\"",)"
            R"("loss":"layers","damping":0.5,"calibration":{"bits":2,"share":0.25},)"
            R"("cache":{"bits":3,"share":1.0},"notes":["one","two"],"dims":[4,8],)"
            R"("parts":[{"bits":5,"share":0.125},{"bits":4,"share":0.5}],)"
            R"("part":{"bits":6,"share":0.5},"part_count":2,"kind":"sample",)"
            R"("source":{"name":"toy","bytes":9}})");
}

TEST(Fields, TextHasSpacesAndWholeNumbersWithoutPoint) {
  EXPECT_EQ(FieldsText(Part{3, 1}), R"({"bits": 3, "share": 1})");
  const std::string text = FieldsText(FilledSample());
  EXPECT_THAT(text, HasSubstr(R"("damp": 2, "threshold": 0.25, "name": "down \"q\"")"));
  EXPECT_THAT(text, HasSubstr(R"("notes": ["one", "two"], "dims": [4, 8])"));
  EXPECT_THAT(text, HasSubstr(R"("part_count": 2, "kind": "sample", "source": {"name": "toy", )"));
}

TEST(Fields, JsonReadsBackWhatWasWritten) {
  EXPECT_EQ(FieldsFrom<Sample>(FieldsJson(FilledSample()), "r.json"), FilledSample());
  EXPECT_EQ(FieldsFrom<Sample>(FieldsJson(Sample{}), "r.json"), Sample{});
}

TEST(Fields, TextThatHoldsJsonIsWrittenAsJson) {
  const WithText value{R"({"a":[1,2.5]})"};
  EXPECT_EQ(FieldsJson(value).dump(), R"({"recipe":{"a":[1,2.5]}})");
  EXPECT_EQ(FieldsFrom<WithText>(FieldsJson(value), "r.json").recipe, value.recipe);
  EXPECT_EQ(FieldsText(value), R"({"recipe": {"a":[1,2.5]}})");
}

TEST(Fields, YamlReadsWhatTextSays) {
  Sample sample = FilledSample();
  sample.seed = 5;  // YAML's integers end at 2^63 - 1
  const Yaml yaml = Yaml::Parse(FieldsJson(sample).dump(), "r.yaml");
  EXPECT_EQ(OptionsFrom<Sample>(&yaml), sample);
}

TEST(Fields, MissingKeysOfYamlLeaveDefaults) {
  const Yaml yaml = Yaml::Parse("name: x", "r.yaml");
  EXPECT_EQ(OptionsFrom<Sample>(&yaml), Sample{});
  EXPECT_EQ(OptionsFrom<Sample>(nullptr), Sample{});
}

TEST(Fields, AMissingFieldFollowsAnotherOneUnlessItIsSaid) {
  const Yaml follows = Yaml::Parse("{name: x, act_order: true}", "r.yaml");
  EXPECT_TRUE(OptionsFrom<Sample>(&follows).static_groups);
  const Yaml said = Yaml::Parse("{name: x, act_order: true, static_groups: false}", "r.yaml");
  EXPECT_FALSE(OptionsFrom<Sample>(&said).static_groups);
}

TEST(Fields, ASingleValueIsAListOfOne) {
  const Yaml yaml = Yaml::Parse("{name: x, notes: one}", "r.yaml");
  EXPECT_THAT(OptionsFrom<Sample>(&yaml).notes, ElementsAre("one"));
  EXPECT_EQ(YamlError<Sample>("{name: x, notes: {a: 1}}"), "[r.yaml:1] expected a list; got a map");
}

TEST(Fields, UnknownKeysAreAnsweredWithTheNearest) {
  EXPECT_EQ(YamlError<Part>("bits: 3\nshara: 1"),
            "[r.yaml:2] unknown key 'shara'; did you mean 'share'? available: bits, share");
  EXPECT_THAT(JsonErrorWith("part_cuont", 1), HasSubstr("[r.json] unknown key 'part_cuont'; did "
                                                        "you mean 'part_count'? available: "));
}

TEST(Fields, YamlMessagesNameKeyAndBounds) {
  EXPECT_EQ(YamlError<Part>("bits: 9"), "[r.yaml:1] expected bits in 1..8; got 9");
  EXPECT_EQ(YamlError<Part>("bits: no"), "[r.yaml:1] expected an integer; got 'no'");
  EXPECT_EQ(YamlError<Part>("share: 0"), "[r.yaml:1] expected a share above 0 and up to 1; got 0");
  EXPECT_EQ(YamlError<Sample>("name: x\ndamp: 100.5"),
            "[r.yaml:2] expected damp in 0..100; got 100.5; 0.01 is usual");
  EXPECT_EQ(YamlError<Sample>("name: x\nthreshold: -1"),
            "[r.yaml:2] expected threshold in 0..1e+09; got -1");
  EXPECT_EQ(YamlError<Sample>("name: x\nblock: 70000"),
            "[r.yaml:2] expected block in 1..65536; got 70000");
  EXPECT_EQ(YamlError<Sample>("name: x\nloss: layer"),
            "[r.yaml:2] unknown loss 'layer'; did you mean 'layers'? available: module, layers");
  EXPECT_EQ(YamlError<Sample>("name: x\nsource:\n  byte: 1"),
            "[r.yaml:3] unknown key 'byte'; did you mean 'bytes'? available: name, bytes");
  EXPECT_EQ(YamlError<Sample>("damp: 1"), "[r.yaml:1] expected the key 'name'; got none");
  EXPECT_EQ(YamlError<Sample>("name: x\nparts:\n  - bits: 0"),
            "[r.yaml:3] expected bits in 1..8; got 0");
}

TEST(Fields, JsonMessagesNameThePlace) {
  EXPECT_EQ(JsonErrorWith("block", 0), "[r.json:block] expected 1..65536; got 0");
  EXPECT_EQ(JsonErrorWith("block", "a"), "[r.json] expected 'block' to be an integer; got \"a\"");
  EXPECT_EQ(JsonErrorWith("count", -1), "[r.json:count] expected a size; got -1");
  EXPECT_EQ(JsonErrorWith("seed", -1), "[r.json] expected a seed in 0..2^64-1; got -1");
  EXPECT_EQ(JsonErrorWith("act_order", nullptr),
            "[r.json] expected the key 'act_order', true or false; got none");
  const std::string inner = "[r.json: down \"q\"";
  EXPECT_EQ(JsonErrorWith("notes", 1), inner + ":notes] expected a list; got number");
  EXPECT_EQ(JsonErrorWith("notes", {1}), inner + "] expected notes as text; got 1");
  EXPECT_EQ(JsonErrorWith("dims", {-1}), inner + "] expected dims as 32-bit sizes; got -1");
  EXPECT_EQ(JsonErrorWith("cache", {{"bits", 9}, {"share", 1}}),
            inner + ": cache:bits] expected 1..8; got 9");
  EXPECT_EQ(JsonErrorWith("source", {{"name", "toy"}, {"byte", 1}}),
            inner + "] unknown key 'byte'; did you mean 'bytes'? available: name, bytes");
  EXPECT_EQ(JsonErrorWith("cache", 1), inner + ": cache] expected an object; got number");
  EXPECT_EQ(JsonErrorWithout("cache"), inner + "] expected the key 'cache'; got none");
}

TEST(Fields, EveryKeyOfARecordMustBeThereUnlessItsRuleSaysOtherwise) {
  const Json whole = FieldsJson(FilledSample());
  for (const std::string& key : KeysOf(Sample{})) {
    Json json = whole;
    json.erase(key);
    const bool can_miss = key == "count" || key == "damping" || key == "calibration" ||
                          key == "part" || key == "part_count" || key == "kind";
    EXPECT_EQ(JsonError(json).empty(), can_miss) << key;
  }
}

// Columns of a table, one value for each row.
struct Columns {
  std::vector<double> loss;
  std::vector<int64_t> picked;
  std::vector<uint8_t> right;
  std::vector<std::vector<double>> choices;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("loss", self.loss);
    visit("picked", self.picked);
    visit("right", self.right);
    visit("choices", self.choices);
  }
};

TEST(Fields, ColumnsKeepTheirTypes) {
  const int64_t large = (int64_t{1} << 53) + 1;  // a double does not hold it
  const Columns columns{{0.1, std::nan("")}, {-1, large}, {1, 0}, {{-1.5, -2}, {}}};
  const std::string text = FieldsJson(columns).dump();
  EXPECT_EQ(text, R"({"loss":[0.1,null],"picked":[-1,9007199254740993],"right":[1,0],)"
                  R"("choices":[[-1.5,-2.0],[]]})");
  const auto read = FieldsFrom<Columns>(ParseJson(text, "r.json"), "r.json");
  EXPECT_TRUE(std::isnan(read.loss[1]));
  EXPECT_EQ(read.loss[0], 0.1);
  EXPECT_EQ(read.picked, columns.picked);
  EXPECT_EQ(read.right, columns.right);
  EXPECT_EQ(read.choices, columns.choices);

  const auto error_with = [&](const char* key, const Json& value) {
    Json json = FieldsJson(columns);
    json[key] = value;
    try {
      (void)FieldsFrom<Columns>(json, "r.json");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(error_with("loss", {"a"}), "[r.json] expected loss as numbers; got \"a\"");
  EXPECT_EQ(error_with("picked", {0.5}),
            "[r.json] expected picked in -9223372036854775808..9223372036854775807; got 0.5");
  EXPECT_EQ(error_with("picked", {uint64_t{1} << 63}),
            "[r.json] expected picked in -9223372036854775808..9223372036854775807; got "
            "9223372036854775808");
  EXPECT_EQ(error_with("right", {256}), "[r.json] expected right in 0..255; got 256");
  EXPECT_EQ(error_with("choices", {1}), "[r.json] expected choices as lists; got 1");
}

TEST(Fields, AValueOfAnEnumThatHasNoNameIsFound) {
  EXPECT_EQ(NameOfEnum(Loss::kLayers), "layers");
  EXPECT_DEATH((void)NameOfEnum(static_cast<Loss>(2)), "index < names.size");
}

TEST(Fields, StructsRefuseCombinationsAtTheirPlace) {
  EXPECT_EQ(YamlError<Checked>("\nlow: 2"), "[r.yaml:2] expected low up to high; got 2 and 1");
  EXPECT_THROW((void)FieldsFrom<Checked>(Json{{"low", 2}, {"high", 1}}, "r.json"), Error);
}

TEST(Fields, DescriptionsShowTypesDefaultsAndBounds) {
  const std::vector<FieldDescription> fields = DescribeFields<Sample>();
  EXPECT_EQ(fields[0], (FieldDescription{"act_order", "true or false", "false", "",
                                         "columns by falling diag(H)"}));
  EXPECT_EQ(fields[2], (FieldDescription{"block", "integer", "128", "1..65536", ""}));
  EXPECT_EQ(fields[6], (FieldDescription{"threshold", "number", "\"none\"", "0..1e+09, none", ""}));
  EXPECT_EQ(fields[8], (FieldDescription{"loss", "name", "\"module\"", "module, layers", ""}));
  EXPECT_EQ(DescribeFields<Part>()[1].allowed, "above 0, at most 1");
}

}  // namespace
}  // namespace qualm
