// Files that torch.save has written (tests/support/make_torch_files.py), and archives made by hand
// for what torch does not write.
#include "io/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/strings.h"
#include "io/json.h"
#include "io/tensor_file.h"
#include "support/errors.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"
#include "support/torch_archive.h"

namespace qualm {
namespace {

using ::testing::AllOf;
using testing::ErrorOf;
using ::testing::HasSubstr;
using testing::TorchArchive;

std::filesystem::path Folder() { return testing::SourceRoot() / "tests/data/torch"; }

std::string HexOf(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text += kDigits[static_cast<size_t>(byte) >> 4];
    text += kDigits[static_cast<size_t>(byte) & 15];
  }
  return text;
}

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string ComplaintAbout(const std::string& archive) {
  return ErrorOf([&] {
    TensorCopies copies;
    (void)ParseTorchFile(BytesOf(archive), "f.bin", copies);
  });
}

TEST(TorchFile, ReadsWhatTorchHasWritten) {
  const Json values = ReadJsonFile(Folder() / "values.json");
  ASSERT_GE(values.size(), 6u);
  for (const auto& [name, tensors] : values.items()) {
    const std::string file = ReadFile(Folder() / name);
    TensorCopies copies;
    std::map<std::string, std::string> unread;
    const std::vector<TensorView> found = ParseTorchFile(BytesOf(file), name, copies, &unread);
    EXPECT_EQ(found.size() + unread.size(), tensors.size()) << name;

    for (const TensorView& tensor : found) {
      const Json& expected = tensors[tensor.name];
      EXPECT_EQ(NameOf(tensor.type), expected["dtype"]) << name << " " << tensor.name;
      EXPECT_EQ(Json(tensor.shape), expected["shape"]) << name << " " << tensor.name;
      EXPECT_EQ(HexOf(tensor.bytes), expected["bytes"]) << name << " " << tensor.name;
    }
    for (const auto& [tensor, type] : unread) EXPECT_EQ(tensors[tensor]["dtype"], type) << name;
  }
}

// Only views that do not lie row by row need memory.
TEST(TorchFile, ViewsAreInTheFile) {
  const std::string file = ReadFile(Folder() / "forms2.pt");
  TensorCopies copies;
  const std::vector<TensorView> found = ParseTorchFile(BytesOf(file), "forms2.pt", copies);
  std::vector<std::string> copied;
  for (const TensorView& tensor : found) {
    const auto* data = reinterpret_cast<const char*>(tensor.bytes.data());
    const bool is_inside = data >= file.data() && data < file.data() + file.size();
    if (!is_inside && !tensor.bytes.empty()) copied.push_back(tensor.name);
  }
  EXPECT_THAT(copied, ::testing::UnorderedElementsAre("view.transposed", "view.columns",
                                                      "view.permuted", "view.repeated"));
}

TEST(TorchFile, OtherFilesOfTorchAreNamed) {
  const auto complaint = [](const char* name) { return ComplaintAbout(ReadFile(Folder() / name)); };
  EXPECT_THAT(complaint("legacy.bin"),
              AllOf(HasSubstr("before PyTorch 1.6"), HasSubstr("torch.load")));
  EXPECT_THAT(complaint("program.bin"), HasSubstr("got torch.nn.modules.container.Sequential"));
  EXPECT_THAT(complaint("nested.bin"),
              AllOf(HasSubstr("tensor 'model'"), HasSubstr("expected a tensor; got a dict")));
  EXPECT_THAT(complaint("list.bin"),
              HasSubstr("expected a state dict (names and tensors); got a list"));
  EXPECT_THAT(ComplaintAbout("version https://git-lfs.github.com/spec/v1\n"),
              HasSubstr("git lfs pull"));
  EXPECT_THAT(ComplaintAbout(""), HasSubstr("other bytes"));
}

TEST(TorchFile, EveryCutOffFileIsRefused) {
  const std::string file = ReadFile(Folder() / "module.bin");
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_NE(ComplaintAbout(file.substr(0, size)), "no error") << size;
  }
}

TEST(TorchFile, AnArchiveByHandIsRead) {
  EXPECT_EQ(ComplaintAbout(TorchArchive().Bytes()), "no error");
  EXPECT_EQ(ComplaintAbout(TorchArchive().Tensor(1, {2}, {1}).Bytes()), "no error");
}

TEST(TorchFile, TensorsMustLieInTheirStorage) {
  // The storage has four floats.
  const auto complaint = [](int64_t offset, const std::vector<int64_t>& sizes,
                            const std::vector<int64_t>& strides) {
    return ComplaintAbout(TorchArchive().Tensor(offset, sizes, strides).Bytes());
  };
  EXPECT_EQ(complaint(0, {4}, {1}), "no error");
  EXPECT_EQ(complaint(3, {}, {}), "no error");
  EXPECT_EQ(complaint(9, {0}, {1}), "no error");
  EXPECT_THAT(complaint(0, {5}, {1}),
              AllOf(HasSubstr("tensor 'a'"), HasSubstr("within the 4 elements"),
                    HasSubstr("got element 4")));
  EXPECT_THAT(complaint(4, {}, {}), HasSubstr("within the 4 elements"));
  EXPECT_THAT(complaint(1, {2, 2}, {2, 1}), HasSubstr("got element 4"));
  EXPECT_THAT(complaint(0, {2}, {int64_t{1} << 62}), HasSubstr("within the 4"));
  EXPECT_THAT(complaint(0, {int64_t{1} << 40, int64_t{1} << 40}, {0, 0}),
              HasSubstr("beyond 64 bits"));
  EXPECT_THAT(complaint(-1, {1}, {1}), HasSubstr("an offset that is not negative; got -1"));
  EXPECT_THAT(complaint(0, {1}, {-1}), HasSubstr("strides that is not negative; got -1"));
  EXPECT_THAT(complaint(0, {1}, {1, 1}), HasSubstr("as many strides as sizes"));
  // A few bytes may not become gigabytes.
  EXPECT_THAT(complaint(0, {int64_t{1} << 30}, {0}), HasSubstr(".contiguous()"));
}

TEST(TorchFile, StoragesMustBeWhatTheirRecordsHold) {
  EXPECT_THAT(ComplaintAbout(TorchArchive().Storage("torch\nDoubleStorage\n").Bytes()),
              AllOf(HasSubstr("archive/data/0"), HasSubstr("4 elements of torch.DoubleStorage"),
                    HasSubstr("got 16 bytes")));
  EXPECT_THAT(ComplaintAbout(TorchArchive().Storage("os\nsystem\n").Bytes()),
              HasSubstr("got os.system"));
  EXPECT_THAT(ComplaintAbout(TorchArchive().Storage("torch\nfloat32\n").Bytes()),
              HasSubstr("the class of a storage"));
  EXPECT_THAT(ComplaintAbout(TorchArchive().Storage("torch.storage\nUntypedStorage\n").Bytes()),
              HasSubstr("got 16 bytes"));
  EXPECT_THAT(ComplaintAbout(TorchArchive().Without("data/0").Bytes()),
              HasSubstr("the record archive/data/0; got none"));
}

TEST(TorchFile, RecordsOfTheArchive) {
  const auto with = [](const char* name, const char* text) {
    return ComplaintAbout(TorchArchive().With(name, text).Bytes());
  };
  EXPECT_EQ(with("byteorder", "little"), "no error");
  EXPECT_THAT(with("byteorder", "big"), HasSubstr("expected little; got 'big'"));
  EXPECT_THAT(with("constants.pkl", ""), HasSubstr("TorchScript"));
  EXPECT_THAT(with("data.pkl", ""), HasSubstr("one record of each name; got two"));
  EXPECT_THAT(ComplaintAbout(TorchArchive().Without("data.pkl").Bytes()),
              HasSubstr("with data.pkl"));
  EXPECT_THAT(ComplaintAbout(TorchArchive().Method(8).Bytes()),
              HasSubstr("compressed one (method 8)"));
  EXPECT_THAT(ComplaintAbout(TorchArchive().Flags(1).Bytes()), HasSubstr("encrypted"));
}

// Position of the directory's entry for a record.
size_t EntryOf(const std::string& archive, const std::string& record) {
  return archive.rfind("archive/" + record) - 46;
}

TEST(TorchFile, RecordsDoNotOverlap) {
  // The storage's record reaches into the next one.
  std::string archive = TorchArchive().Bytes();
  const size_t entry = EntryOf(archive, "data/0");
  archive[entry + 20] = archive[entry + 24] = 100;
  EXPECT_THAT(ComplaintAbout(archive), HasSubstr("records that do not overlap; got two at"));

  // An entry that names another record's header.
  archive = TorchArchive().Bytes();
  archive.replace(EntryOf(archive, "version") + 42, 4, archive, EntryOf(archive, "data/0") + 42, 4);
  EXPECT_THAT(ComplaintAbout(archive),
              AllOf(HasSubstr("record 'archive/version'"), HasSubstr("got two names")));
}

// torch writes the end of the archive in both forms; they may not differ.
TEST(TorchFile, BothEndsOfAnArchiveSayTheSame) {
  std::string file = ReadFile(Folder() / "module.bin");
  const size_t end64 = file.rfind("PK\x06\x06");
  ASSERT_NE(end64, std::string::npos);
  --file[end64 + 32];  // the number of entries
  EXPECT_THAT(ComplaintAbout(file), HasSubstr("one directory; got two that differ"));
}

TEST(TorchFile, PicklesThatDoMoreAreNotRun) {
  const auto complaint = [](const std::string& pickle) {
    return ComplaintAbout(TorchArchive().Pickle(pickle).Bytes());
  };
  EXPECT_THAT(complaint("\x80\x02"
                        "cposix\nsystem\nX\x02\0\0\0idR."),
              HasSubstr("got posix.system"));
  EXPECT_THAT(complaint("\x80\x04\x8c\x08"
                        "builtins\x8c\x04"
                        "eval\x93."),
              HasSubstr("got builtins.eval"));
  EXPECT_THAT(complaint("\x80\x02i"), HasSubstr("opcode 105"));
  EXPECT_THAT(complaint("\x80\x07N."), HasSubstr("protocol 2 to 5; got 7"));
  EXPECT_THAT(complaint("\x80\x02K"), HasSubstr("cut off"));
  EXPECT_THAT(complaint("\x80\x02t."), HasSubstr("a mark; got none"));
  EXPECT_THAT(complaint("\x80\x02."), HasSubstr("an empty stack"));
  EXPECT_THAT(complaint("\x80\x02h\x05."), HasSubstr("number 5"));
  EXPECT_THAT(complaint("\x80\x02NN."), HasSubstr("one value at the end; got 2"));
  // A negative number in one byte.
  EXPECT_THAT(complaint(std::string("\x80\x02}X\x01\0\0\0a", 9) +
                        "ctorch._utils\n_rebuild_tensor_v2\n((X\x07" + std::string(3, '\0') +
                        "storagectorch\nFloatStorage\nX\x01" + std::string(3, '\0') + "0NK\x04tQ" +
                        "\x8a\x01\xff))tRs."),
              HasSubstr("an offset that is not negative; got -1"));
  // A list that holds itself, a long number, a key alone.
  EXPECT_THAT(complaint("\x80\x02]q\x01h\x01"
                        "a."),
              HasSubstr("got a list"));
  EXPECT_THAT(complaint("\x80\x02\x8a\x09"
                        "123456789."),
              HasSubstr("at most 8 bytes; got 9 bytes"));
  EXPECT_THAT(complaint("\x80\x02}(Nu."), HasSubstr("a key alone"));
  EXPECT_THAT(complaint("\x80\x02}X\x01" + std::string("\0\0\0aNs.", 8)),
              AllOf(HasSubstr("tensor 'a'"), HasSubstr("got None")));
}

TEST(TorchFile, AFolderOfShards) {
  testing::TemporaryFolder folder;
  const auto copy = [&](const char* from, const char* to) {
    std::filesystem::copy(Folder() / from, folder / to);
  };
  copy("ordered.pt", "pytorch_model-00001-of-00002.bin");
  copy("module.bin", "pytorch_model-00002-of-00002.bin");
  folder.Write("pytorch_model.bin.index.json", R"({"metadata": {}, "weight_map": {
      "a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00001-of-00002.bin",
      "2.weight": "pytorch_model-00002-of-00002.bin"}})");
  const TensorFile file = TensorFile::Open(folder.path());
  EXPECT_EQ(file.container(), "torch");
  EXPECT_EQ(file.Get("b").AsFloats(), (std::vector<float>{1, 1}));
  file.Release(file.Get("2.weight"));
  EXPECT_EQ(file.Get("2.weight").shape, (std::vector<size_t>{3, 2}));

  std::filesystem::remove(folder / "pytorch_model-00002-of-00002.bin");
  EXPECT_THAT(ErrorOf([&] { (void)TensorFile::Open(folder.path()); }),
              AllOf(HasSubstr("pytorch_model-00002-of-00002.bin"),
                    HasSubstr("the shard that pytorch_model.bin.index.json names")));
}

TEST(TorchFile, CopiesOfViewsOutliveTheParser) {
  testing::TemporaryFolder folder;
  std::filesystem::copy(Folder() / "forms2.pt", folder / "pytorch_model.bin");
  TensorFile opened = TensorFile::Open(folder.path());
  const TensorFile file = std::move(opened);
  const TensorView& transposed = file.Get("view.transposed");
  file.Release(transposed);
  EXPECT_EQ(transposed.AsWeight().rows, 6u);
  float second = 0;
  std::memcpy(&second, transposed.bytes.data() + sizeof second, sizeof second);
  EXPECT_EQ(second, 6.0f);  // base[1][0]
}

// A folder with both forms is read as its safetensors.
TEST(TorchFile, SafetensorsComeFirst) {
  testing::TemporaryFolder folder;
  std::filesystem::copy(Folder() / "module.bin", folder / "pytorch_model.bin");
  WriteSafetensors(folder / "model.safetensors", {});
  const TensorFile file = TensorFile::Open(folder.path());
  EXPECT_EQ(file.container(), "safetensors");
  EXPECT_TRUE(file.tensors().empty());
}

// --- Files of modules (HQQ's qmodel.pt)

std::string Text(std::string_view text) {
  const auto size = static_cast<uint32_t>(text.size());
  return StrCat("X", std::string_view(reinterpret_cast<const char*>(&size), 4), text);
}

// {"m": dict} as a pickle; `dict` is its opcodes.
std::string ModulePickle(const std::string& dict) {
  return StrCat("\x80\x02}", Text("m"), dict, "s.");
}

std::string ModuleComplaint(const std::string& dict) {
  const std::string archive = TorchArchive().Pickle(ModulePickle(dict)).Bytes();
  return ErrorOf([&] {
    TensorCopies copies;
    (void)ParseTorchFile(BytesOf(archive), "qmodel.pt", copies, nullptr, TorchContents::kModules);
  });
}

TEST(TorchFile, WhatDescribesAModuleBecomesTensors) {
  const std::string dict =
      StrCat("}(", Text("nbits"), "K\x04", Text("quant_zero"), "\x89", Text("bias"), "N",
             Text("packing"), Text("4bit_u8"), Text("shape"), "ctorch\nSize\nK\x02K\x03\x86\x85R",
             Text("meta"), "}(", Text("compute_dtype"), "ctorch\nfloat16\nuu");
  const std::string archive = TorchArchive().Pickle(ModulePickle(dict)).Bytes();
  TensorCopies copies;
  std::map<std::string, std::string> found;
  for (const TensorView& tensor :
       ParseTorchFile(BytesOf(archive), "qmodel.pt", copies, nullptr, TorchContents::kModules)) {
    found[tensor.name] =
        StrCat(NameOf(tensor.type), " ", Json(tensor.shape).dump(), " ", HexOf(tensor.bytes));
  }
  const std::map<std::string, std::string> wanted = {
      {"m.nbits", "I64 [] 0400000000000000"},
      {"m.quant_zero", "BOOL [] 00"},
      {"m.packing", "U8 [7] 346269745f7538"},
      {"m.shape", "I64 [2] 02000000000000000300000000000000"},
      {"m.compute_dtype", "U8 [13] 746f7263682e666c6f61743136"}};
  EXPECT_EQ(found, wanted);
}

TEST(TorchFile, HostileModulesAreRefused) {
  EXPECT_THAT(ModuleComplaint("K\x01"), HasSubstr("expected a dict of the module's tensors"));
  EXPECT_THAT(ModuleComplaint(StrCat("}(", Text("a"), "}u")), HasSubstr("expected a tensor"));
  EXPECT_THAT(ModuleComplaint(StrCat("}(", Text(std::string(201, 'k')), "Nu")),
              HasSubstr("a key of at most 200 bytes; got 201"));
  EXPECT_THAT(ModuleComplaint(StrCat("}(", Text("s"), "ctorch\nSize\nK\x01\x85Ru")),
              HasSubstr("sizes as a short tuple"));

  // One text of a megabyte under many keys would fill the memory.
  std::string many = StrCat("}(", Text("0"), Text(std::string(1 << 20, 'x')), "q\x01");
  for (int i = 1; i < 8; ++i) many += StrCat(Text(StrCat(i)), "h\x01");
  EXPECT_THAT(ModuleComplaint(many + "u"), HasSubstr("texts that are no longer than the file"));
}

// Modules may share a dict: what it stands for is counted, not what it takes in the file.
TEST(TorchFile, SharedModulesAreCounted) {
  std::string pickle = "\x80\x02}(";
  for (int m = 0; m < 1100; ++m) {
    pickle += Text(StrCat("m", m));
    if (m > 0) {
      pickle += "h\x01";
      continue;
    }
    pickle += "}q\x01(";
    for (int k = 0; k < 1100; ++k) pickle += StrCat(Text(StrCat("k", k)), "N");
    pickle += "u";
  }
  const std::string archive = TorchArchive().Pickle(pickle + "u.").Bytes();
  EXPECT_THAT(ErrorOf([&] {
                TensorCopies copies;
                (void)ParseTorchFile(BytesOf(archive), "qmodel.pt", copies, nullptr,
                                     TorchContents::kModules);
              }),
              HasSubstr("at most 1048576 entries of modules; got 1048577"));
}

}  // namespace
}  // namespace qualm
