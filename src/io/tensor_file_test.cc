// Folders of safetensors files: single files, shards and their index.
#include "io/tensor_file.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/strings.h"
#include "support/errors.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using testing::TemporaryFolder;

void WriteShard(const std::filesystem::path& path, std::string_view tensor) {
  const std::string data(4, 'x');
  const TensorToWrite entry{
      std::string(tensor), DType::kU8, {4}, std::as_bytes(std::span(data.data(), data.size()))};
  WriteSafetensors(path, std::span(&entry, 1), {{"format", "pt"}});
}

constexpr std::string_view kIndexName = "model.safetensors.index.json";

TEST(TensorFile, OpensShardsThatTheIndexNames) {
  TemporaryFolder folder;
  WriteShard(folder / "1.safetensors", "b");
  WriteShard(folder / "2.safetensors", "a");
  folder.Write(kIndexName, R"({"metadata":{"total_size":8},
      "weight_map":{"b":"1.safetensors","a":"2.safetensors"}})");
  const TensorFile file = TensorFile::Open(folder.path());
  ASSERT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(file.tensors()[0].name, "a");  // sorted
  EXPECT_EQ(file.files().size(), 2u);
  EXPECT_EQ(file.file_bytes(), 2 * std::filesystem::file_size(folder / "1.safetensors"));
  file.Release(file.Get("a"));
  EXPECT_EQ(file.Get("a").bytes[3], std::byte{'x'});  // still readable
}

TEST(TensorFile, NamesTheNearestTensor) {
  TemporaryFolder folder;
  WriteShard(folder / "model.safetensors", "model.norm.weight");
  const TensorFile file = TensorFile::Open(folder.path());
  EXPECT_EQ(file.Find("model.norm.weights"), nullptr);
  EXPECT_EQ(
      ErrorOf([&] { file.Get("model.norm.weights"); }),
      StrCat("[", folder.path().string(),
             "] expected a tensor 'model.norm.weights'; got none among 1; the nearest name is "
             "'model.norm.weight'"));
}

TEST(TensorFile, ShardNamesMustStayInTheFolder) {
  TemporaryFolder folder;
  std::filesystem::create_directory(folder / "inner");
  WriteShard(folder / "s.safetensors", "a");
  for (std::string name : {"../s.safetensors", "/etc/passwd", "..", "", "x/../../s.safetensors",
                           "a\\\\b", "s.safetensors\\u0000"}) {
    folder.Write("inner/model.safetensors.index.json",
                 StrCat(R"({"weight_map":{"a":")", name, "\"}}"));
    EXPECT_NE(ErrorOf([&] {
                TensorFile::Open(folder / "inner");
              }).find("tensor 'a'] expected the name of a file in the same folder; got '"),
              std::string::npos)
        << name;
  }
}

TEST(TensorFile, MissingShardIsAnError) {
  TemporaryFolder folder;
  folder.Write(kIndexName, R"({"weight_map":{"a":"1.safetensors"}})");
  EXPECT_EQ(
      ErrorOf([&] { TensorFile::Open(folder.path()); }),
      StrCat("[", (folder / "1.safetensors").string(),
             "] expected the shard that model.safetensors.index.json names; got no such file; the "
             "download may be incomplete"));
}

TEST(TensorFile, EveryTensorOfTheIndexMustBeInItsShard) {
  TemporaryFolder folder;
  WriteShard(folder / "1.safetensors", "a");
  WriteShard(folder / "2.safetensors", "b");
  folder.Write(kIndexName, R"({"weight_map":{"a":"1.safetensors","c":"1.safetensors"}})");
  EXPECT_NE(ErrorOf([&] {
              TensorFile::Open(folder.path());
            }).find("tensor 'c'] expected the tensor in 1.safetensors; got none"),
            std::string::npos);
  folder.Write(kIndexName, R"({"weight_map":{"a":"1.safetensors","b":"1.safetensors",
      "a2":"2.safetensors"}})");
  EXPECT_NE(ErrorOf([&] { TensorFile::Open(folder.path()); }).find("expected the tensor in"),
            std::string::npos);
}

TEST(TensorFile, OneTensorInTwoShardsIsAnError) {
  TemporaryFolder folder;
  WriteShard(folder / "1.safetensors", "a");
  WriteShard(folder / "2.safetensors", "a");
  WriteShard(folder / "3.safetensors", "b");
  folder.Write(kIndexName, R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})");
  EXPECT_EQ(ErrorOf([&] { TensorFile::Open(folder.path()); }),
            StrCat("[", (folder / "2.safetensors").string(),
                   ": tensor 'a'] expected every tensor in one file; got also in ",
                   (folder / "1.safetensors").string()));
}

TEST(TensorFile, HostileIndexFiles) {
  TemporaryFolder folder;
  for (std::string_view index :
       {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})", R"({"weight_map":{"a":1}})",
        R"({"weight_map":{"a":"x","a":"x"}})"}) {
    folder.Write(kIndexName, index);
    EXPECT_NE(ErrorOf([&] { TensorFile::Open(folder.path()); }).find(kIndexName), std::string::npos)
        << index;
  }
}

TEST(TensorFile, FolderWithoutTensorsSaysWhatItLooksFor) {
  TemporaryFolder folder;
  EXPECT_EQ(
      ErrorOf([&] { TensorFile::Open(folder.path()); }),
      StrCat("[", folder.path().string(),
             "] expected model.safetensors, pytorch_model.bin, the index of one in shards, "
             "qmodel.pt, or a single file of another name in .safetensors; got none of them"));
}

TEST(TensorFile, ATensorOfAnotherTypeStopsOnlyWhoAsksForIt) {
  TemporaryFolder folder;
  const std::string header = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                             R"("b.weight":{"dtype":"F4","shape":[2],"data_offsets":[1,2]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  folder.Write("model.safetensors", StrCat(file, header, "xy"));
  const TensorFile tensors = TensorFile::Open(folder.path());
  EXPECT_EQ(tensors.tensors().size(), 1u);
  EXPECT_EQ(tensors.Find("b.bias"), nullptr);
  for (const auto& ask : {std::function<void()>([&] { (void)tensors.Get("b.weight"); }),
                          std::function<void()>([&] { (void)tensors.Find("b.weight"); })}) {
    const std::string error = ErrorOf(ask);
    EXPECT_NE(error.find("tensor 'b.weight'"), std::string::npos) << error;
    EXPECT_NE(error.find("got 'F4'"), std::string::npos) << error;
  }
}

TEST(TensorFile, OpensRealCheckpoints) {
  QUALM_SHARED_OR_SKIP(path, "models/stories260K");
  const TensorFile file = TensorFile::Open(path);
  EXPECT_EQ(file.tensors().size(), 47u);
  uint64_t bytes = 0;
  for (const TensorView& tensor : file.tensors()) bytes += tensor.bytes.size();
  EXPECT_LT(bytes, file.file_bytes());
}

}  // namespace
}  // namespace qualm
