// Every kind of folder that is not a float checkpoint is called what it is.
#include "model/folder_kind.h"

#include <gmock/gmock.h>

#include <map>
#include <nlohmann/json.hpp>

#include "io/json.h"
#include "model/checkpoint.h"
#include "support/errors.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::AllOf;
using testing::ErrorOf;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

// The complaint about a folder with these files.
std::string ComplaintAbout(const std::map<std::string, std::string>& files) {
  const TemporaryFolder folder;
  for (const auto& [name, text] : files) folder.Write(name, text);
  return ErrorOf([&] { RequireModelFolder(folder.path()); });
}

TEST(FolderKind, FloatCheckpointsPass) {
  EXPECT_EQ(ComplaintAbout({{"config.json", "{}"}, {"model.safetensors", ""}}), "no error");
  EXPECT_EQ(ComplaintAbout({{"config.json", R"({"quantization_config": null})"},
                            {"model.safetensors.index.json", "{}"},
                            {"model-00001-of-00001.safetensors", ""},
                            {"pytorch_model.bin", ""}}),
            "no error");
  EXPECT_EQ(ComplaintAbout({{"config.json", "{}"}}), "no error");  // only its shapes are read
}

TEST(FolderKind, QuantizedTensorsNeedNoConfiguration) {
  QUALM_SHARED_OR_SKIP(gptq, "cases/14-what-a-folder-is/gptq");
  const TemporaryFolder folder;
  Json config = ReadJsonFile(gptq / "config.json");
  config.erase("quantization_config");
  WriteJsonFile(folder / "config.json", config);
  std::filesystem::copy(gptq / "model.safetensors", folder / "model.safetensors");
  EXPECT_THAT(ErrorOf([&] { (void)Checkpoint::Open(folder.path()); }),
              AllOf(HasSubstr("another tool has quantized"), HasSubstr("qweight")));
}

TEST(FolderKind, OtherFormsOfWeights) {
  const auto with = [](const std::string& name) {
    return ComplaintAbout({{"config.json", "{}"}, {name, ""}});
  };
  EXPECT_THAT(
      with("pytorch_model-00001-of-00002.bin"),
      AllOf(HasSubstr("shards without an index"), HasSubstr("pytorch_model.bin.index.json")));
  EXPECT_EQ(with("pytorch_model.bin"), "no error");
  EXPECT_EQ(with("pytorch_model.bin.index.json"), "no error");
  EXPECT_THAT(with("model.pt"), AllOf(HasSubstr("another name"), HasSubstr("pytorch_model.bin")));
  EXPECT_THAT(with("consolidated.00.pth"), HasSubstr("Meta's original form"));
  EXPECT_THAT(with("m.Q4_K_M.gguf"), HasSubstr("weights in GGUF"));
  EXPECT_THAT(with("adapter_model.safetensors"), HasSubstr("the adapter by --adapter"));
  EXPECT_EQ(with("qmodel.pt"), "no error");
  EXPECT_THAT(with("model-00001-of-00002.safetensors"), HasSubstr("shards without an index"));
  EXPECT_EQ(with("gptq_model-4bit-128g.safetensors"), "no error");
  EXPECT_THAT(with("tf_model.h5"), HasSubstr("another framework"));
}

TEST(FolderKind, FoldersWithoutAConfiguration) {
  EXPECT_THAT(ComplaintAbout({{"adapter_config.json", "{}"}, {"adapter_model.safetensors", ""}}),
              HasSubstr("a PEFT adapter"));
  EXPECT_THAT(ComplaintAbout({{"params.json", "{}"}, {"consolidated.00.pth", ""}}),
              HasSubstr("Meta's or Mistral's"));
  EXPECT_THAT(ComplaintAbout({{"a.gguf", ""}}), HasSubstr("GGUF files (a.gguf)"));
  EXPECT_THAT(ComplaintAbout({{"readme.txt", ""}}),
              HasSubstr("config.json] expected the configuration of a model folder; got no"));
}

TEST(FolderKind, PointersAndFiles) {
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
  for (const char* name : {"model-00002-of-00002.safetensors", "tokenizer.model", "config.json"}) {
    EXPECT_THAT(ComplaintAbout({{name, pointer}, {"config.json", "{}"}}),
                AllOf(HasSubstr(name), HasSubstr("git lfs pull")));
  }
  const TemporaryFolder folder;
  const auto file = [&](std::string_view bytes) {
    const auto path = folder.Write("f", bytes);
    return ErrorOf([&] { RequireModelFolder(path); });
  };
  EXPECT_EQ(file("GGUF\x03"), "no error");
  EXPECT_THAT(file("PK\x03\x04"), HasSubstr("got a file of torch.save"));
  EXPECT_THAT(file(pointer), HasSubstr("git-lfs pointer"));
  EXPECT_THAT(file("x"), HasSubstr("got a file; name its folder"));
  EXPECT_THAT(ErrorOf([&] { RequireModelFolder(folder / "none"); }), HasSubstr("nothing at this"));
}

TEST(FolderKind, PublicCases) {
  QUALM_SHARED_OR_SKIP(cases, "cases/14-what-a-folder-is");
  const std::map<std::string, std::string> words = {
      {"lfs", "git lfs pull"}, {"pickle", "pytorch_model.bin"},
      {"gguf", "GGUF"},        {"meta", "pickle"},
      {"fp8", "fp8"},          {"gptq", "gptq"}};
  size_t tried = 0;
  for (const auto& entry : std::filesystem::directory_iterator(cases)) {
    if (!entry.is_directory()) continue;
    const std::string name = entry.path().filename().string();
    ASSERT_TRUE(words.contains(name)) << name;
    EXPECT_THAT(ErrorOf([&] { (void)Checkpoint::Open(entry.path()); }), HasSubstr(words.at(name)));
    ++tried;
  }
  EXPECT_GT(tried, 0u);
}

}  // namespace
}  // namespace qualm
