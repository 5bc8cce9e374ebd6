#include "io/json.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/strings.h"
#include "io/python_json.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using testing::TemporaryFolder;

std::string ComplaintAbout(std::string_view text) {
  return ErrorOf([&] { ParseJson(text, "f.json"); });
}

TEST(Json, ReadsEveryKindOfValueInOrder) {
  const Json json = ParseJson(
      R"( {"z": [1, -2, 0.5, 1e3, 18446744073709551615, true, false, null],
           "a": {"text": "A\u00e9\ud83d\ude00\n", "empty": {}, "none": []}} )",
      "f");
  EXPECT_EQ(json.dump(), R"({"z":[1,-2,0.5,1000.0,18446744073709551615,true,false,null],)"
                         R"("a":{"text":"Aé😀\n","empty":{},"none":[]}})");
  EXPECT_EQ(ParseJson("7", "f"), 7);
  EXPECT_EQ(ParseJson("\"\"", "f"), "");
}

TEST(Json, ComplaintsHaveLineAndColumn) {
  EXPECT_NE(ComplaintAbout("{\n \"a\": 1,\n \"b\" 2}").find("at line 3, column 6"),
            std::string::npos);
  EXPECT_NE(ComplaintAbout("[1,\n\n  @]").find("at line 3, column 3"), std::string::npos);
  EXPECT_NE(ComplaintAbout("").find("at line 1, column 1"), std::string::npos);
}

TEST(Json, DuplicateKeysAreAnErrorAtTheSecond) {
  EXPECT_EQ(ComplaintAbout("{\"a\": 1,\n \"b\": {\"a\": 2},\n \"a\": 3}"),
            "[f.json] expected every key once; got the key 'a' again at line 3, column 4");
  EXPECT_EQ(ComplaintAbout(R"([{"a": 1}, {"a": 1}])"), "no error");
  EXPECT_NE(ComplaintAbout(R"({"a": 1, "\u0061": 2})"), "no error");  // the same key, spelled anew
}

TEST(Json, NestingOf128IsTheMost) {
  auto nested = [](size_t depth) {
    return StrCat(std::string(depth, '['), std::string(depth, ']'));
  };
  EXPECT_EQ(ComplaintAbout(nested(128)), "no error");
  EXPECT_EQ(ComplaintAbout(nested(129)),
            "[f.json] expected JSON nested at most 128 deep; got deeper nesting at line 1, column "
            "129");
  std::string objects;
  for (int i = 0; i < 200000; ++i) objects += "{\"a\":";
  EXPECT_NE(ComplaintAbout(objects).find("deeper nesting"), std::string::npos);
}

TEST(Json, RejectsWhatIsNotJson) {
  for (std::string_view text : {"",
                                " ",
                                "{",
                                "[",
                                "[1,]",
                                "{\"a\":1,}",
                                "{a:1}",
                                "{'a':1}",
                                "01",
                                "1.",
                                ".5",
                                "+1",
                                "-",
                                "NaN",
                                "Infinity",
                                "tru",
                                "\"a",
                                "\"\\x\"",
                                "\"\\ud800\"",
                                "\"\n\"",
                                "[1] 2",
                                "[1][2]",
                                "// c\n1",
                                "/* c */1",
                                "\"\xff\"",
                                "\"\xc0\x80\"",
                                "\"\xed\xa0\x80\"",
                                "1e999",
                                "]",
                                "}",
                                "{\"a\"}",
                                "{1:2}",
                                "[1 2]"}) {
    EXPECT_EQ(ComplaintAbout(text).find("[f.json] expected JSON; got "), 0u) << text;
  }
  EXPECT_NE(ComplaintAbout(std::string_view("[1\0]", 4)), "no error");
}

TEST(Json, LongInputIsCutInMessages) {
  EXPECT_LT(ComplaintAbout(StrCat("[", std::string(1000000, 'a'))).size(), 400u);
  const std::string key = StrCat("\"", std::string(1000000, 'k'), "\":1");
  EXPECT_LT(ComplaintAbout(StrCat("{", key, ",", key, "}")).size(), 400u);
}

// Copying finished subtrees whenever an object grows would take 128 times the work.
TEST(Json, DeepWideTreesTakeLinearTime) {
  std::string text = "[0";
  for (int i = 0; i < 100000; ++i) text += ",0";
  text += "]";
  for (int i = 0; i < 120; ++i) text = StrCat("{\"a\":", text, ",\"b\":0,\"c\":0}");
  EXPECT_EQ(ComplaintAbout(text), "no error");
}

TEST(Json, ManyKeysTakeLinearTime) {
  std::string text = "{\"k\":0";
  for (int i = 0; i < 100000; ++i) text += StrCat(",\"", i, "\":", i);
  EXPECT_EQ(ParseJson(text + "}", "f").size(), 100001u);
}

TEST(Json, FilesRoundTrip) {
  TemporaryFolder folder;
  const Json json = ParseJson(R"({"b": [1, 2.5], "a": "é"})", "f");
  WriteJsonFile(folder / "f.json", json);
  EXPECT_EQ(ReadFile(folder / "f.json"),
            "{\n  \"b\": [\n    1,\n    2.5\n  ],\n  \"a\": \"é\"\n}\n");
  EXPECT_EQ(ReadJsonFile(folder / "f.json"), json);
  EXPECT_NE(ErrorOf([&] { ReadJsonFile(folder.Write("bad.json", "{")); }).find("bad.json"),
            std::string::npos);
}

TEST(Json, TextThatIsNotUtf8IsNotWritten) {
  TemporaryFolder folder;
  EXPECT_NE(ErrorOf([&] { WriteJsonFile(folder / "f", Json("\xff")); }, ErrorKind::kFailed)
                .find("not valid UTF-8"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "f"));
}

TEST(Json, TypedAccessReturnsValuesAndFallbacks) {
  const Json json =
      ParseJson(R"({"int": -3, "real": 0.5, "true": true, "text": "t", "null": null})", "f");
  EXPECT_EQ(GetInt(json, "int", "f"), -3);
  EXPECT_EQ(GetDouble(json, "int", "f"), -3.0);
  EXPECT_EQ(GetDouble(json, "real", "f"), 0.5);
  EXPECT_EQ(GetString(json, "text", "f"), "t");
  EXPECT_TRUE(GetBool(json, "true", "f", false));
  for (const char* key : {"absent", "null"}) {
    EXPECT_EQ(GetInt(json, key, "f", 8), 8);
    EXPECT_EQ(GetDouble(json, key, "f", 8.5), 8.5);
    EXPECT_TRUE(GetBool(json, key, "f", true));
    EXPECT_EQ(GetString(json, key, "f", "x"), "x");
  }
}

TEST(Json, TypedAccessNamesPlaceKeyAndType) {
  const Json json = ParseJson(R"({"real": 1.0, "text": "t", "big": 9223372036854775808})", "f");
  EXPECT_EQ(ErrorOf([&] { GetInt(json, "size", "f.json"); }),
            "[f.json] expected the key 'size', an integer; got none");
  EXPECT_EQ(ErrorOf([&] { GetInt(json, "real", "f.json"); }),
            "[f.json] expected 'real' to be an integer; got 1.0");
  EXPECT_EQ(ErrorOf([&] { GetInt(json, "text", "f.json", 5); }),  // a fallback is for absence only
            "[f.json] expected 'text' to be an integer; got \"t\"");
  EXPECT_EQ(ErrorOf([&] { GetInt(json, "big", "f.json"); }),
            "[f.json] expected 'big' to be an integer below 2^63; got 9223372036854775808");
  EXPECT_EQ(ErrorOf([&] { GetDouble(json, "text", "f.json"); }),
            "[f.json] expected 'text' to be a number; got \"t\"");
  EXPECT_EQ(ErrorOf([&] { GetBool(json, "real", "f.json", true); }),
            "[f.json] expected 'real' to be true or false; got 1.0");
  EXPECT_EQ(ErrorOf([&] { GetString(json, "real", "f.json"); }),
            "[f.json] expected 'real' to be a text; got 1.0");
  EXPECT_EQ(ErrorOf([&] { GetString(json["text"], "a", "f.json"); }),
            "[f.json] expected a JSON object; got string");
}

TEST(Json, UnknownKeysNameTheNearest) {
  const std::vector<std::string> allowed = {"bits", "group_size"};
  RequireKnownKeys(ParseJson(R"({"bits": 1})", "f"), allowed, "f.json");
  EXPECT_EQ(ErrorOf([&] { RequireKnownKeys(ParseJson(R"({"bit": 1})", "f"), allowed, "f.json"); }),
            "[f.json] unknown key 'bit'; did you mean 'bits'? available: bits, group_size");
}

TEST(Json, AGitLfsPointerIsCalledThat) {
  const testing::TemporaryFolder folder;
  const auto file = folder.Write("config.json", "version https://git-lfs.github.com/spec/v1\n");
  EXPECT_THAT(testing::ErrorOf([&] { (void)ReadJsonFile(file); }),
              ::testing::HasSubstr("got a git-lfs pointer to the file; get the file by git lfs"));
}

TEST(PythonJson, NanAndInfinityAreNumbers) {
  const Json json = ParsePythonJson(
      R"({"a": NaN, "b": [Infinity, -Infinity, -1, "NaN"], "Infinity": "-Infini", "c\"NaN": 1})",
      "f");
  EXPECT_TRUE(std::isnan(json["a"].get<double>()));
  EXPECT_EQ(json["b"][0], std::numeric_limits<double>::infinity());
  EXPECT_EQ(json["b"][1], -std::numeric_limits<double>::infinity());
  EXPECT_EQ(json["b"][2], -1);
  EXPECT_EQ(json["b"][3], "NaN");
  EXPECT_EQ(json["Infinity"], "-Infini");
  EXPECT_EQ(json["c\"NaN"], 1);
  EXPECT_TRUE(std::isnan(ParsePythonJson("NaN", "f").get<double>()));
}

TEST(PythonJson, OtherWordsAreRefusedWithTheirPosition) {
  const auto error = [](std::string_view text) {
    return testing::ErrorOf([&] { (void)ParsePythonJson(text, "f"); });
  };
  EXPECT_THAT(error(R"({"a": NaN, "b": nan})"), ::testing::HasSubstr("line 1, column 18"));
  EXPECT_THAT(error("{NaN: 1}"), ::testing::HasSubstr("[f]"));
  EXPECT_THAT(error("[NaN, Infinit]"), ::testing::HasSubstr("[f]"));
  EXPECT_THAT(testing::ErrorOf([] { (void)ParseJson("[NaN]", "f"); }), ::testing::HasSubstr("[f]"));
}

}  // namespace
}  // namespace qualm
