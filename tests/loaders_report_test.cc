// Every loader reports the files that it opens: what it says is compared with what was opened,
// which the functions that open files tell (base/opened_files.h). tests/opened_files_test.sh asks
// the kernel in the same way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "artefact/manifest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/opened_files.h"
#include "base/strings.h"
#include "chat/chat_template.h"
#include "data/named_corpora.h"
#include "model/model.h"
#include "quantize/output_folder.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"
#include "support/test_context.h"
#include "tasks/items.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;
using ::testing::IsSubsetOf;

std::set<std::string> PathsOf(const InputSet& inputs) {
  std::set<std::string> paths;
  for (const InputFile& file : inputs.files()) {
    if (!file.path.empty()) paths.insert(OpenedFiles::Spelled(file.path));
  }
  return paths;
}

// Runs a loader, which returns what it reports. Returns what it opened.
template <class Load>
std::set<std::string> ExpectReported(const Load& load, std::string_view what) {
  const OpenedFiles opened;
  const std::set<std::string> reported = PathsOf(load());
  EXPECT_FALSE(opened.paths().empty()) << what;
  EXPECT_THAT(opened.paths(), IsSubsetOf(reported)) << what;
  return opened.paths();
}

// Every side file of a tokenizer that there may be.
void AddSideFiles(const fs::path& folder) {
  for (const auto& [name, text] :
       {std::pair{"special_tokens_map.json", "{}"}, std::pair{"added_tokens.json", "{}"},
        std::pair{"chat_template.jinja", "{{ messages[0].content }}"},
        std::pair{"generation_config.json", "{}"}, std::pair{"tokenizer_config.json", "{}"}}) {
    if (!fs::exists(folder / name)) WriteFileAtomically(folder / name, text);
  }
}

TEST(LoadersReport, TokenizersOfAllKinds) {
  QUALM_SHARED_OR_SKIP(shared, "tokenizers");
  size_t loaded = 0;
  for (const auto& entry : fs::directory_iterator(shared)) {
    if (!entry.is_directory() || !HasTokenizer(entry.path())) continue;
    const testing::TemporaryFolder folder;
    for (const auto& file : fs::directory_iterator(entry.path())) {
      if (file.is_regular_file()) fs::copy(file.path(), folder / file.path().filename().string());
    }
    AddSideFiles(folder.path());
    try {
      (void)LoadTokenizer(folder.path());
    } catch (const Error&) {
      continue;  // a rank file, or a vocabulary without merges: refused
    }
    const auto opened = ExpectReported([&] { return LoadTokenizer(folder.path())->inputs(); },
                                       entry.path().string());
    EXPECT_TRUE(opened.contains((folder / "added_tokens.json").string())) << entry.path();
    ++loaded;

    // The older pair of files, where a folder has both.
    if (!fs::exists(folder / "merges.txt")) continue;
    ExpectReported([&] { return LoadTokenizer(folder / "vocab.json")->inputs(); }, "vocab.json");
  }
  EXPECT_GE(loaded, 3U);
}

TEST(LoadersReport, ModelsAndWhatQuantizingThemCopies) {
  const testing::TestContext context(1);
  const testing::TemporaryFolder folder;
  const fs::path model = folder / "model";
  fs::copy(testing::SourceRoot() / "demo/model", model);
  AddSideFiles(model);
  fs::create_directories(model / "additional_chat_templates");
  WriteFileAtomically(model / "additional_chat_templates/rag.jinja", "{{ messages[0].content }}");
  const auto opened =
      ExpectReported([&] { return LoadModel(model, {}, context).inputs; }, "demo/model");
  EXPECT_EQ(PathsOf(ModelFiles(model)), PathsOf(LoadModel(model, {}, context).inputs));

  // A quantized folder has them all, or it would run as another model than its source.
  InputSet chat = FindChatTemplate("", model).inputs();
  EXPECT_THAT(opened, IsSubsetOf(PathsOf(SourceFiles(Checkpoint::Open(model)))));
  EXPECT_THAT(PathsOf(chat), IsSubsetOf(PathsOf(SourceFiles(Checkpoint::Open(model)))));
}

TEST(LoadersReport, QuantizedFolders) {
  const testing::TestContext context(1);
  size_t loaded = 0;
  for (const auto& entry :
       fs::directory_iterator(testing::SourceRoot() / "tests/baseline/artefacts")) {
    if (!HasManifest(entry.path())) continue;
    ExpectReported([&] { return LoadModel(entry.path(), {}, context).inputs; },
                   entry.path().string());
    ++loaded;
  }
  EXPECT_GT(loaded, 0U);
}

// What was put into a quantized folder later would be read, and no hash would know of it.
TEST(LoadersReport, AQuantizedFolderTakesNoFilesLater) {
  const testing::TestContext context(1);
  const testing::TemporaryFolder folder;
  const fs::path quantized = folder / "q";
  fs::copy(testing::SourceRoot() / "tests/baseline/artefacts/spqr", quantized);
  const std::string before = LoadModel(quantized, {}, context).Hash();
  fs::copy(testing::SourceRoot() / "demo/model/tokenizer.model", quantized);
  EXPECT_THROW((void)LoadModel(quantized, {}, context), std::exception);
  fs::remove(quantized / "tokenizer.model");
  EXPECT_EQ(LoadModel(quantized, {}, context).Hash(), before);

  // Tensors are not hashed when they are loaded, but before anything is named by the hash.
  for (const auto& file : fs::directory_iterator(quantized)) {
    if (!file.path().filename().string().starts_with("block-")) continue;
    std::string bytes = ReadFile(file.path());
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    WriteFileAtomically(file.path(), bytes);
    break;
  }
  EXPECT_THROW((void)LoadModel(quantized, {}, context).Hash(), std::exception);
}

// The hash of a float model is over every file that is opened for it.
TEST(LoadersReport, AModelHasAnotherHashWhenAnyOfItsFilesChanges) {
  const testing::TestContext context(1);
  const testing::TemporaryFolder folder;
  const fs::path model = folder / "model";
  fs::copy(testing::SourceRoot() / "demo/model", model);
  AddSideFiles(model);
  const std::string hash = LoadModel(model, {}, context).Hash();
  const auto opened =
      ExpectReported([&] { return LoadModel(model, {}, context).inputs; }, "demo/model");
  EXPECT_GE(opened.size(), 6U);
  for (const std::string& file : opened) {
    const std::string before = ReadFile(file);
    std::string after = StrCat(before, file.ends_with(".model") ? "\x78\x01" : " ");
    if (file.ends_with(".safetensors")) {
      after = before;
      after.back() = static_cast<char>(after.back() ^ 1);
    }
    WriteFileAtomically(file, after);
    EXPECT_NE(LoadModel(model, {}, context).Hash(), hash) << file;
    WriteFileAtomically(file, before);
  }
  EXPECT_EQ(LoadModel(model, {}, context).Hash(), hash);
}

TEST(LoadersReport, ChatTemplates) {
  const testing::TemporaryFolder folder;
  folder.Write("tokenizer_config.json",
               R"({"bos_token": "<s>", "chat_template": "{{ bos_token }}"})");
  const fs::path own = folder.Write("own.jinja", "{{ messages[0].content }}");
  for (const std::string& name : {std::string(), std::string("chatml"), own.string()}) {
    ExpectReported([&] { return FindChatTemplate(name, folder.path()).inputs(); }, name);
  }
  folder.Write("chat_template.jinja", "{{ messages[0].content }}");
  ExpectReported([&] { return FindChatTemplate("", folder.path()).inputs(); }, "next to it");
  fs::create_directories(folder / "additional_chat_templates");
  folder.Write("additional_chat_templates/rag.jinja", "{{ messages[0].content }}");
  ExpectReported([&] { return FindChatTemplate("", folder.path()).inputs(); }, "several");
}

TEST(LoadersReport, Corpora) {
  const testing::TemporaryFolder folder;
  folder.Write("a.txt", "text");
  folder.Write("b.jsonl", "{\"text\": \"line\"}\n");
  fs::create_directories(folder / "ptb");
  folder.Write("ptb/ptb.test.txt", "one line\n");
  for (const std::string& name : {(folder / "a.txt").string(), (folder / "b.jsonl").string(),
                                  folder.path().string(), std::string("ptb:test")}) {
    ExpectReported(
        [&] { return FindCorpus(name, CorpusUse::kEvaluation, folder.path(), {}).inputs; }, name);
  }
}

// All tasks whose rows are in the tree, with examples where they have some. Planning reports no
// less than running.
TEST(LoadersReport, RowsOfTasks) {
  const fs::path data = testing::SourceRoot() / "tests/data/rows";
  size_t made = 0;
  for (const std::string& name : TaskNames()) {
    const Task task = FindTask(name);
    ItemOptions options;
    if (!MissingTaskFile(task, options, data).empty()) continue;
    try {
      ExpectReported([&] { return MakeItems(task, options, data).inputs; }, name);
    } catch (const std::exception&) {
      options.shots = 0;  // a few rows are not enough for the task's examples
      ExpectReported([&] { return MakeItems(task, options, data).inputs; }, name);
    }
    EXPECT_THAT(PathsOf(MakeItems(task, options, data).inputs),
                IsSubsetOf(PathsOf(TaskInputs(task, options, data))))
        << name;
    ++made;
  }
  EXPECT_GE(made, 10U);
}

TEST(LoadersReport, RowsOfTheUsersOwn) {
  for (const char* kind : {"three_none.parquet", "three.arrow"}) {
    const fs::path file = testing::SourceRoot() / "tests/data" / kind;
    InputSet inputs;
    ExpectReported(
        [&] {
          const RowSet& set = FindRowSet(file.string(), "test");
          (void)LoadRows(set, "all", "", "", &inputs);
          return inputs;
        },
        kind);
  }
}

// A task file of lm-evaluation-harness names others, and files of rows.
TEST(LoadersReport, TaskFilesThatIncludeOthers) {
  const testing::TemporaryFolder folder;
  const std::string row = "{\"q\": \"Who?\", \"opts\": [\"a\", \"b\"], \"right\": 1}\n";
  const fs::path one = folder.Write("one.jsonl", row), two = folder.Write("two.jsonl", row);
  folder.Write("base.yaml",
               "output_type: multiple_choice\ndoc_to_text: \"{{q}}\"\ndoc_to_choice: opts\n"
               "doc_to_target: right\n");
  const fs::path file = folder.Write(
      "theirs.yaml", StrCat("include: base.yaml\ntask: theirs\ndataset_path: json\n"
                            "dataset_kwargs: {data_files: {test: [",
                            one.string(), ", ", two.string(), "]}}\ntest_split: test\n"));
  const auto opened = ExpectReported(
      [&] { return MakeItems(FindTask(file.string()), {}, folder.path()).inputs; }, "theirs.yaml");
  EXPECT_EQ(opened.size(), 4U);
}

// Of a task of the user's: its file, rows, header and BLEU's pieces.
TEST(LoadersReport, HeadersAndPieces) {
  const testing::TemporaryFolder folder;
  fs::create_directories(folder / "pieces");
  for (const char* name : {"tokenizer.model", "tokenizer_config.json"}) {
    fs::copy(testing::SourceRoot() / "demo/model" / name, folder / "pieces");
  }
  folder.Write("head.txt", "---\nQuestions.\n");
  folder.Write("rows.csv", "question,answer\nWho?,nobody\n");
  const fs::path file = folder.Write(
      "own.yaml", StrCat("name: own\ntitle: t\nversion: 1\nharness: h\nkind: generation\n"
                         "data: {set: ",
                         (folder / "rows.csv").string(),
                         ", split: all}\ncontext: \"{question}\"\n"
                         "header: {file: head.txt, after: \"---\\n\"}\n"
                         "generate: {max_tokens: 4, bleu: spm, bleu_pieces: "
                         "pieces/tokenizer.model}\nreferences: [\"{answer}\"]\n"
                         "metrics: [bleu]\n"));
  InputSet inputs;
  const auto opened = ExpectReported(
      [&] {
        const Task task = FindTask(file.string());
        inputs = MakeItems(task, {}, folder.path()).inputs;
        AddPieceFiles(task, *LoadTokenizer(folder.path() / task.generation.bleu_pieces),
                      folder.path(), inputs);
        return inputs;
      },
      "own.yaml");
  EXPECT_EQ(opened.size(), 5U);
  EXPECT_EQ(PathsOf(TaskInputs(FindTask(file.string()), {}, folder.path())), PathsOf(inputs));
}

}  // namespace
}  // namespace qualm
