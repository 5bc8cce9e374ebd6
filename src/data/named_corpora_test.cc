#include "data/named_corpora.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <set>

#include "base/file.h"
#include "base/strings.h"
#include "data/row_sets.h"
#include "support/errors.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"
#include "tokenize/tokenizer.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

TEST(NamedCorpora, EveryFileOfTheFolderIsInTheProgramUnderItsOwnName) {
  std::set<std::string> known, files;
  for (const NamedCorpus& corpus : AllNamedCorpora()) known.insert(corpus.name);
  for (const RowSet& set : AllRowSets()) known.insert(set.name);
  for (const auto& entry :
       std::filesystem::directory_iterator(testing::SourceRoot() / "datasets")) {
    if (entry.path().extension() == ".yaml") files.insert(entry.path().stem().string());
  }
  EXPECT_GE(known.size(), 3u);
  EXPECT_EQ(known, files);
}

TEST(NamedCorpora, WikitextRowsKeepTheirNewlineAndBlankLinesAreEmptyRows) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "wikitext-2-raw-v1");
  folder.Write("wikitext-2-raw-v1/wiki.test.raw", " \n = A = \n \n b \n");
  const Corpus corpus = FindCorpus("wikitext2", CorpusUse::kEvaluation, folder.path());
  EXPECT_EQ(corpus.name, "wikitext2:test");
  EXPECT_THAT(corpus.documents, ElementsAre("", " = A = \n", "", " b \n"));
  EXPECT_EQ(corpus.Joined(), "\n\n = A = \n\n\n\n\n b \n");
}

TEST(NamedCorpora, TheUseDecidesTheSplitUnlessOneIsNamed) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "ptb");
  folder.Write("ptb/ptb.train.txt", " train one \n train two \n");
  folder.Write("ptb/ptb.valid.txt", " valid \n");
  folder.Write("ptb/ptb.test.txt", " a \n b \n");
  const auto joined = [&](const char* name, CorpusUse use) {
    return FindCorpus(name, use, folder.path()).Joined();
  };
  EXPECT_EQ(joined("ptb", CorpusUse::kCalibration), "train one\n\ntrain two");
  EXPECT_EQ(joined("ptb", CorpusUse::kEvaluation), "valid");
  EXPECT_EQ(joined("ptb:test", CorpusUse::kCalibration), "a\n\nb");
  EXPECT_EQ(joined("ptb-new", CorpusUse::kEvaluation), "a b");
}

TEST(NamedCorpora, WhatIsMissingIsSaid) {
  const TemporaryFolder folder;
  const auto error = [&](const std::string& name, const std::filesystem::path& data) {
    return ErrorOf([&] { FindCorpus(name, CorpusUse::kEvaluation, data); });
  };
  EXPECT_THAT(error("wikitxt2", folder.path()), HasSubstr("did you mean 'wikitext2'"));
  EXPECT_THAT(error("ptb:dev", folder.path()), HasSubstr("available: train, valid, test"));
  EXPECT_THAT(error("ptb", ""), HasSubstr("--data FOLDER or QUALM_DATA"));
  EXPECT_THAT(error("ptb", folder.path()), HasSubstr("ptb.valid.txt"));
  EXPECT_THAT(error("./ptb", folder.path()), HasSubstr("no such file or folder"));
}

TEST(NamedCorpora, FilesAreStrict) {
  const auto error = [](const std::string& text) {
    return ErrorOf([&] { ParseNamedCorpus(text, "x.yaml"); });
  };
  const std::string good =
      "name: x\ntitle: X\ncitation: c\nlicence: l\nsource: s\nreader: lines\njoin: ' '\n"
      "splits: {test: x.txt}\ncalibration: test\nevaluation: test\n";
  EXPECT_EQ(ParseNamedCorpus(good, "x.yaml").splits[0].second, "x.txt");
  EXPECT_THAT(error(good + "extra: 1\n"), HasSubstr("x.yaml:11"));
  EXPECT_THAT(error(good.substr(0, good.rfind("test")) + "tset\n"),
              HasSubstr("x.yaml:10] unknown split of x 'tset'; did you mean 'test'"));
  EXPECT_THAT(error("name: x\n"), HasSubstr("title"));
}

// PROTOCOLS, section 1: 341,469 tokens with the Llama-2 tokenizer, BOS included.
TEST(NamedCorpora, Wikitext2HasThePublishedNumberOfTokens) {
  QUALM_SHARED_OR_SKIP(tokenizer, "tokenizers/llama2-spm/tokenizer.model");
  QUALM_SHARED_OR_SKIP(data, "datasets");
  const Corpus corpus = FindCorpus("wikitext2", CorpusUse::kEvaluation, data);
  const std::vector<TokenId> ids = LoadTokenizer(tokenizer)->EncodeWithSpecial(corpus.Joined());
  EXPECT_EQ(ids.size(), 341469u);
  EXPECT_EQ(ids.size() / 2048, 166u);
}

TEST(DataFolder, FlagThenEnvironmentThenConfiguration) {
  const std::filesystem::path home =
      std::filesystem::temp_directory_path() / "qualm_data_folder_config";
  std::filesystem::remove_all(home);
  std::filesystem::create_directories(home / "qualm");
  const char* before = std::getenv("QUALM_DATA");
  const std::string kept = before != nullptr ? before : "";
  ::setenv("XDG_CONFIG_HOME", home.c_str(), 1);
  ::unsetenv("QUALM_DATA");
  EXPECT_EQ(DataFolder(""), "");
  WriteFileAtomically(home / "qualm/config.yaml", "data: /from/config\n");
  EXPECT_EQ(DataFolder(""), "/from/config");
  ::setenv("QUALM_DATA", "/from/environment", 1);
  EXPECT_EQ(DataFolder(""), "/from/environment");
  EXPECT_EQ(DataFolder("/from/flag"), "/from/flag");
  ::unsetenv("QUALM_DATA");
  WriteFileAtomically(home / "qualm/config.yaml", "date: x\n");
  EXPECT_THAT(ErrorOf([] { (void)DataFolder(""); }), HasSubstr("did you mean 'data'"));
  ::unsetenv("XDG_CONFIG_HOME");
  if (before != nullptr) ::setenv("QUALM_DATA", kept.c_str(), 1);
  std::filesystem::remove_all(home);
}

}  // namespace
}  // namespace qualm
