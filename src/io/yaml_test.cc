#include "io/yaml.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using testing::TemporaryFolder;

std::string ComplaintAbout(std::string_view text) {
  return ErrorOf([&] { Yaml::Parse(text, "f.yaml"); });
}

TEST(Yaml, ReadsTheTreeOfARecipe) {
  const Yaml yaml = Yaml::Parse(R"(# a comment
name: awq-gptq
weights: {type: int4, group_size: 128, symmetric: false}
activations:
transforms: [{awq: {grid: 20}}]
skip:
  - lm_head
  - "4"
text: |
  two
  lines
)",
                                "f.yaml");
  EXPECT_EQ(yaml.Get("name").AsString(), "awq-gptq");
  EXPECT_EQ(yaml.Get("weights").Get("group_size").AsInt(), 128);
  EXPECT_FALSE(yaml.Get("weights").Get("symmetric").AsBool());
  EXPECT_EQ(yaml.Get("activations").kind(), Yaml::Kind::kNull);
  EXPECT_EQ(yaml.Get("transforms").AsList()[0].Get("awq").Get("grid").AsDouble(), 20.0);
  EXPECT_EQ(yaml.Get("skip").AsList()[1].AsString(), "4");
  EXPECT_EQ(yaml.Get("text").AsString(), "two\nlines\n");
  EXPECT_EQ(yaml.AsMap()[1].first, "weights");  // in file order
  EXPECT_EQ(yaml.Find("absent"), nullptr);
}

TEST(Yaml, NodesKnowTheirLine) {
  const Yaml yaml = Yaml::Parse("a: 1\n\nb:\n  - x\n  - c: y\n", "f.yaml");
  EXPECT_EQ(yaml.place(), "f.yaml:1");
  EXPECT_EQ(yaml.Get("b").AsList()[0].place(), "f.yaml:4");
  EXPECT_EQ(yaml.Get("b").AsList()[1].Get("c").place(), "f.yaml:5");
}

TEST(Yaml, EmptyDocumentsAreNothing) {
  for (std::string_view text : {"", "\n", "# only a comment\n", "---\n", "~"}) {
    const Yaml yaml = Yaml::Parse(text, "f.yaml");
    EXPECT_EQ(yaml.kind(), Yaml::Kind::kNull) << text;
    EXPECT_NE(ErrorOf([&] { yaml.AsMap(); }).find("expected a map; got nothing"),
              std::string::npos);
  }
}

TEST(Yaml, BlockTextsEndAsTheFileDoes) {
  for (auto [text, value] : {std::pair("a: |\n  x\n", "x\n"), std::pair("a: |\n  x", "x"),
                             std::pair("a: |+\n  x\n\n", "x\n\n"), std::pair("a: |-\n  x\n", "x"),
                             std::pair("a: >\n  x\n  y\n", "x y\n")}) {
    EXPECT_EQ(Yaml::Parse(text, "f").Get("a").AsString(), value) << text;
  }
}

TEST(Yaml, ConversionsAreStrict) {
  const Yaml yaml = Yaml::Parse(
      "[1.5, 1e3, -7, 9223372036854775808, yes, 0x10, '', nan, .inf, 1 2, {}, ]", "f.yaml");
  const std::vector<Yaml>& list = yaml.AsList();
  EXPECT_EQ(list[0].AsDouble(), 1.5);
  EXPECT_EQ(list[1].AsDouble(), 1000.0);
  EXPECT_EQ(list[2].AsInt(), -7);
  EXPECT_EQ(ErrorOf([&] { list[0].AsInt(); }), "[f.yaml:1] expected an integer; got '1.5'");
  EXPECT_EQ(ErrorOf([&] { list[3].AsInt(); }),
            "[f.yaml:1] expected an integer; got '9223372036854775808'");
  EXPECT_EQ(ErrorOf([&] { list[4].AsBool(); }), "[f.yaml:1] expected true or false; got 'yes'");
  for (size_t i : {5u, 6u, 7u, 8u, 9u}) {
    EXPECT_NE(ErrorOf([&] { list[i].AsInt(); }), "no error") << i;
    EXPECT_NE(ErrorOf([&] { list[i].AsDouble(); }), "no error") << i;
  }
  EXPECT_EQ(ErrorOf([&] { list[10].AsString(); }), "[f.yaml:1] expected a text; got a map");
  EXPECT_EQ(ErrorOf([&] { yaml.AsMap(); }), "[f.yaml:1] expected a map; got a list");
  EXPECT_EQ(ErrorOf([&] { list[10].AsList(); }), "[f.yaml:1] expected a list; got a map");
  EXPECT_EQ(ErrorOf([&] { list[10].Get("k"); }), "[f.yaml:1] expected the key 'k'; got none");
}

TEST(Yaml, UnknownKeysNameTheirLineAndTheNearest) {
  const std::vector<std::string> allowed = {"bits", "group_size"};
  const Yaml yaml = Yaml::Parse("bits: 4\ngroupsize: 3\n", "f.yaml");
  EXPECT_EQ(ErrorOf([&] { yaml.RequireKnownKeys(allowed); }),
            "[f.yaml:2] unknown key 'groupsize'; did you mean 'group_size'? available: bits, "
            "group_size");
  // Also where the value starts lines later.
  const Yaml late = Yaml::Parse("bits: 4\nbitts:\n\n  - 1\n", "f.yaml");
  EXPECT_EQ(ErrorOf([&] { late.RequireKnownKeys(allowed); }).find("[f.yaml:2] unknown key"), 0u);
}

TEST(Yaml, DuplicateKeysAreAnErrorAtTheSecond) {
  EXPECT_EQ(ComplaintAbout("a: 1\nb: 2\na: 3\n"),
            "[f.yaml:3] expected every key once; got the key 'a' again");
  EXPECT_NE(ComplaintAbout("{a: 1, 'a': 2}"), "no error");
}

TEST(Yaml, RefusesAnchorsAliasesAndTags) {
  EXPECT_EQ(ComplaintAbout("a: 1\nb: &x 2\n"),
            "[f.yaml:2] expected no anchors and aliases; got an anchor");
  EXPECT_EQ(ComplaintAbout("a: &x {b: 1}\n"),
            "[f.yaml:1] expected no anchors and aliases; got an anchor");
  EXPECT_NE(ComplaintAbout("a: *x\n"), "no error");
  EXPECT_EQ(ComplaintAbout("a: !!str 1\n"),
            "[f.yaml:1] expected no tags; got the tag 'tag:yaml.org,2002:str'");
  EXPECT_EQ(ComplaintAbout("a:\n - !own [1]\n"), "[f.yaml:2] expected no tags; got the tag '!own'");
  EXPECT_EQ(ComplaintAbout("a: !function m.f\n"),
            "[f.yaml:1] expected a value that needs no Python; got !function m.f; qualm runs no "
            "Python");
}

// As YAML 1.1 and 1.2 fold them: the line end of the words is dropped, every empty line is one.
TEST(Yaml, EmptyLinesBeforeAClosingQuoteAreKept) {
  const auto value = [](std::string_view text) {
    return Yaml::Parse(StrCat("a: ", text, "\nb: 1\n"), "f.yaml").Get("a").AsString();
  };
  for (const std::string quote : {"'", "\""}) {
    EXPECT_EQ(value(StrCat(quote, "x\n  ", quote)), "x ");
    EXPECT_EQ(value(StrCat(quote, "x\n\n  ", quote)), "x\n");
    EXPECT_EQ(value(StrCat(quote, "x\n\n\n  ", quote)), "x\n\n");
    EXPECT_EQ(value(StrCat(quote, "x\n\n\n\n  ", quote)), "x\n\n\n");
    EXPECT_EQ(value(StrCat(quote, "\n  ", quote)), " ");
    EXPECT_EQ(value(StrCat(quote, "\n\n  ", quote)), "\n");
    EXPECT_EQ(value(StrCat(quote, "\n\n\n  ", quote)), "\n\n");
    EXPECT_EQ(value(StrCat(quote, quote)), "");
    EXPECT_EQ(value(StrCat(quote, "x\n\n\n  y", quote)), "x\n\ny");
  }
  EXPECT_EQ(value("'it''s\n\n\n  '"), "it's\n\n");
  EXPECT_EQ(value("\"a\\\"b\n\n\n  \""), "a\"b\n\n");
  EXPECT_EQ(value("\"\xc3\xa4\n\n\n  \""), "\xc3\xa4\n\n");
}

TEST(Yaml, RefusesSeveralDocuments) {
  EXPECT_EQ(ComplaintAbout("a: 1\n---\nb: 2\n"),
            "[f.yaml:2] expected one YAML document; got several");
  EXPECT_EQ(ComplaintAbout("--- {a: 1}\n...\n"), "no error");
}

TEST(Yaml, RefusesKeysThatAreNotTexts) {
  EXPECT_NE(ComplaintAbout("? [a]\n: 1\n").find("expected a plain text as key; got a list"),
            std::string::npos);
  EXPECT_NE(ComplaintAbout("{{a: 1}: 1}").find("expected a plain text as key; got a map"),
            std::string::npos);
  EXPECT_NE(ComplaintAbout("~: 1\n").find("expected a plain text as key; got nothing"),
            std::string::npos);
}

TEST(Yaml, SyntaxErrorsNameTheLine) {
  EXPECT_EQ(ComplaintAbout("a: 1\nb: [1, 2\n").find("[f.yaml:"), 0u);
  EXPECT_EQ(ComplaintAbout("a: 1\n\tb: 2\n").find("[f.yaml:2] expected YAML"), 0u);
  for (std::string_view cut :
       {"b: \"x\n", "b: \"x", "b: \"x ", "b: 'x\n", "b: 'x\n\n", "b: 'x \n "}) {
    EXPECT_EQ(ComplaintAbout(StrCat("a: 1\n", cut)).find("[f.yaml:"), 0u) << cut;
  }
  EXPECT_EQ(ComplaintAbout("a: 1\n b: 2\n").find("[f.yaml:2] expected YAML"), 0u);
}

TEST(Yaml, NestingIsBounded) {
  auto flow = [](size_t depth) { return StrCat(std::string(depth, '['), std::string(depth, ']')); };
  EXPECT_EQ(ComplaintAbout(flow(64)), "no error");
  EXPECT_NE(ComplaintAbout(flow(65)).find("nested at most 64 deep"), std::string::npos);
  EXPECT_NE(ComplaintAbout(flow(500000)).find("nested at most 64 deep"), std::string::npos);
  std::string dashes, questions, braces, block;
  for (int i = 0; i < 100000; ++i) {
    dashes += "- ";
    questions += "? ";
    braces += "{a: ";
  }
  for (size_t i = 0; i < 1000; ++i) block += StrCat(std::string(i, ' '), "a:\n");
  for (const std::string& text : {dashes, questions, braces, block}) {
    EXPECT_NE(ComplaintAbout(text).find("nested at most 64 deep"), std::string::npos)
        << text.substr(0, 8);
  }
}

TEST(Yaml, SizeAndBytesAreChecked) {
  EXPECT_NE(
      ComplaintAbout(std::string((1 << 20) + 1, ' ')).find("expected at most 1.00 MiB of YAML"),
      std::string::npos);
  EXPECT_EQ(ComplaintAbout("a: \xff"), "[f.yaml] expected UTF-8; got other bytes");
  EXPECT_EQ(ComplaintAbout(std::string_view("a: \0", 4)),
            "[f.yaml] expected a text; got a NUL byte");
  EXPECT_EQ(Yaml::Parse("a: 中文 é", "f").Get("a").AsString(), "中文 é");
}

TEST(Yaml, ReadsFiles) {
  TemporaryFolder folder;
  EXPECT_EQ(Yaml::ReadFile(folder.Write("r.yaml", "a: 1")).Get("a").AsInt(), 1);
  EXPECT_EQ(ErrorOf([&] {
              Yaml::ReadFile(folder.Write("bad.yaml", "a: ["));
            }).find(StrCat("[", (folder / "bad.yaml").string(), ":1]")),
            0u);
}

}  // namespace
}  // namespace qualm
