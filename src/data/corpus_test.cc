#include "data/corpus.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using testing::TemporaryFolder;
using Documents = std::vector<std::string>;

TEST(Corpus, TextFileIsOneDocumentAsItIs) {
  TemporaryFolder folder;
  const std::string text("  one\r\n\n\ttwo\0\xff\n", 15);
  for (std::string_view name : {"a.txt", "wiki.test.raw", "plain"}) {
    const Corpus corpus = LoadCorpus(folder.Write(name, text));
    EXPECT_EQ(corpus.documents, Documents{text});
    EXPECT_EQ(corpus.name, name);
  }
}

TEST(Corpus, TheFilesThatWereReadAreKnown) {
  TemporaryFolder folder;
  folder.Write("b.txt", "b");
  folder.Write("a.jsonl", "{\"text\": \"t\"}\n");
  folder.Write("c.md", "c");
  const Corpus corpus = LoadCorpus(folder.path());
  ASSERT_EQ(corpus.inputs.files().size(), 2u);
  EXPECT_EQ(corpus.inputs.files()[0].path, (folder / "a.jsonl").string());
  EXPECT_EQ(corpus.inputs.files()[1].role, "b.txt");
  EXPECT_EQ(LoadCorpus(folder / "b.txt").inputs.files().size(), 1u);
}

TEST(Corpus, JsonLinesAreOneDocumentEach) {
  TemporaryFolder folder;
  const auto path = folder.Write("a.jsonl",
                                 "{\"text\": \"one\\n\", \"id\": 1}\r\n"
                                 "{\"id\": 2, \"text\": \"\"}\n"
                                 "{\"text\": \"\\u4e2d\", \"body\": \"b\"}");
  EXPECT_EQ(LoadCorpus(path).documents, (Documents{"one\n", "", "中"}));
}

TEST(Corpus, JsonLinesFieldCanBeChosen) {
  TemporaryFolder folder;
  const auto path = folder.Write("a.jsonl", "{\"text\": \"t\", \"body\": \"b\"}\n");
  CorpusOptions options;
  options.text_field = "body";
  EXPECT_EQ(LoadCorpus(path, options).documents, Documents{"b"});
}

TEST(Corpus, JsonLinesComplaintsNameTheLine) {
  TemporaryFolder folder;
  const std::string good = "{\"text\": \"t\"}\n";
  auto complaint = [&](std::string_view line) {
    const auto path = folder.Write("a.jsonl", StrCat(good, good, line, "\n", good));
    const std::string message = ErrorOf([&] { LoadCorpus(path); });
    const std::string place = StrCat("[", path.string(), ":3] ");
    EXPECT_EQ(message.find(place), 0u) << message;
    return message.substr(std::min(place.size(), message.size()));
  };
  EXPECT_EQ(complaint("{\"body\": 1}"), "expected the key 'text', a text; got none");
  EXPECT_EQ(complaint("{\"text\": 1}"), "expected 'text' to be a text; got 1");
  EXPECT_EQ(complaint("{\"text\": null}"), "expected the key 'text', a text; got none");
  EXPECT_EQ(complaint("[]"), "expected a JSON object; got array");
  EXPECT_EQ(complaint("{\"text\": \"t\"").find("expected JSON; got"), 0u);
  EXPECT_EQ(complaint("{\"text\": \"\xff\"}").find("expected JSON; got"), 0u);
  EXPECT_EQ(complaint("{\"text\": \"t\", \"text\": \"u\"}").find("expected every key once"), 0u);
}

TEST(Corpus, BlankLinesAreNoDocuments) {
  TemporaryFolder folder;
  const auto file =
      folder.Write("t.jsonl", "{\"text\": \"a\", \"x\": NaN}\n\n{\"text\": \"b\"}\r\n \n");
  EXPECT_EQ(LoadCorpus(file).documents, (std::vector<std::string>{"a", "b"}));
}

TEST(Corpus, FolderIsItsFilesInOrder) {
  TemporaryFolder folder;
  folder.Write("c.txt", "third");
  folder.Write("a.jsonl", "{\"text\": \"first\"}\n{\"text\": \"second\"}\n");
  folder.Write("README.md", "not a document");
  std::filesystem::create_directories(folder / "inner.txt");
  folder.Write("inner.txt/d.txt", "not this one");
  const Documents expected = {"first", "second", "third"};
  const Corpus corpus = LoadCorpus(folder.path());
  EXPECT_EQ(corpus.documents, expected);
  EXPECT_EQ(corpus.name, folder.path().filename().string());
  EXPECT_EQ(LoadCorpus(folder.path() / "").name, corpus.name);  // with a slash at the end
}

TEST(Corpus, JoinsWithTwoLineEnds) {
  Corpus corpus = MakeCorpus("c", {"a", "", "b"});
  EXPECT_EQ(corpus.Joined(), "a\n\n\n\nb");
  corpus.separator = " ";
  EXPECT_EQ(corpus.Joined(), "a  b");
  EXPECT_EQ(corpus.size_bytes(), 2u);
}

TEST(Corpus, HashIsOfTheDocumentsNotTheName) {
  const std::string hash = MakeCorpus("c", {"ab", "c"}).hash;
  EXPECT_EQ(MakeCorpus("other", {"ab", "c"}).hash, hash);
  EXPECT_NE(MakeCorpus("c", {"a", "bc"}).hash, hash);
  EXPECT_NE(MakeCorpus("c", {"c", "ab"}).hash, hash);
  EXPECT_NE(MakeCorpus("c", {"ab", "c", ""}).hash, hash);
}

TEST(Corpus, CountsTheBytesThatAreNoUtf8) {
  EXPECT_EQ(MakeCorpus("c", {"h\u00e9", "a\xff\xfe b"}).bytes_not_utf8(), 2u);
  EXPECT_EQ(MakeCorpus("c", {"caf\u00e9 \u4e16"}).bytes_not_utf8(), 0u);
}

TEST(Corpus, WithoutTextIsAnError) {
  TemporaryFolder folder;
  EXPECT_EQ(ErrorOf([&] { LoadCorpus(folder.Write("e.txt", "")); }),
            "[e.txt] expected a corpus with text; got none");
  EXPECT_EQ(ErrorOf([&] { LoadCorpus(folder.Write("e.jsonl", "")); }),
            "[e.jsonl] expected a corpus with text; got none");
  EXPECT_EQ(ErrorOf([&] {
              MakeCorpus("e", {"", ""});
            }),
            "[e] expected a corpus with text; got none");
}

TEST(Corpus, AbsentFilesAndFoldersWithoutTextsAreErrors) {
  TemporaryFolder folder;
  EXPECT_EQ(
      ErrorOf([&] { LoadCorpus(folder / "absent"); }),
      StrCat("[", (folder / "absent").string(), "] expected a corpus; got no such file or folder"));
  EXPECT_EQ(ErrorOf([&] { LoadCorpus(folder.path()); }),
            StrCat("[", folder.path().string(),
                   "] expected a folder with .txt or .jsonl files; got none"));
}

TEST(Corpus, FileSizeIsBounded) {
  TemporaryFolder folder;
  CorpusOptions options;
  options.max_file_bytes = 3;
  EXPECT_EQ(LoadCorpus(folder.Write("a.txt", "abc"), options).size_bytes(), 3u);
  EXPECT_NE(ErrorOf([&] {
              LoadCorpus(folder.Write("a.txt", "abcd"), options);
            }).find("expected at most 3 B"),
            std::string::npos);
}

}  // namespace
}  // namespace qualm
