// A small file and every way to damage it.
#include "io/gguf.h"

#include <gmock/gmock.h>

#include <cstring>
#include <functional>

#include "base/error.h"
#include "base/strings.h"
#include "support/errors.h"
#include "support/gguf_bytes.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using testing::Bytes;
using testing::GgufBytes;
using testing::Text;

GgufBytes SmallFile() {
  GgufBytes file;
  file.entries = {
      testing::GgufEntry("a.number", uint32_t{7}),
      testing::GgufEntry("a.text", "word"),
      StrCat(Text("a.list"), Bytes<uint32_t>(9), Bytes<uint32_t>(5), Bytes<uint64_t>(2),
             Bytes<int32_t>(-1), Bytes<int32_t>(2)),
  };
  file.tensors = {{"w", {32, 2}, 8, 0}, {"v", {3}, 0, 96}};
  file.data_bytes = 108;  // 2 rows of one Q8_0 block, 28 bytes of padding, 3 floats
  return file;
}

std::string ErrorOfBytes(const std::string& bytes) {
  return testing::ErrorOf([&] { (void)GgufFile::FromBytes(std::as_bytes(std::span(bytes)), "f"); });
}

TEST(Gguf, SaysWhatIsInTheFile) {
  const std::string bytes = SmallFile().Write();
  const GgufFile file = GgufFile::FromBytes(std::as_bytes(std::span(bytes)), "f");
  EXPECT_EQ(file.Unsigned("a.number"), 7u);
  EXPECT_EQ(file.Text("a.text"), "word");
  EXPECT_THAT(file.Integers("a.list"), ElementsAre(-1, 2));
  EXPECT_EQ(file.Unsigned("a.other", 5), 5u);
  const GgufTensor* tensor = file.FindTensor("w");
  ASSERT_NE(tensor, nullptr);
  EXPECT_THAT(tensor->shape, ElementsAre(2u, 32u));
  EXPECT_EQ(tensor->row_bytes(), 34u);
  EXPECT_EQ(tensor->bytes.size(), 68u);
  EXPECT_EQ(file.FindTensor("v")->bytes.data() - tensor->bytes.data(), 96);

  // A value of another type is not an answer.
  EXPECT_THAT(testing::ErrorOf([&] { (void)file.Unsigned("a.text"); }), HasSubstr("a.text"));
  EXPECT_THAT(testing::ErrorOf([&] { (void)file.Text("a.number"); }), HasSubstr("a.number"));
  EXPECT_THAT(testing::ErrorOf([&] { (void)file.Unsigned("a.other"); }), HasSubstr("a.other"));
}

TEST(Gguf, NoBeginningOfAFileIsAFile) {
  const std::string bytes = SmallFile().Write();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_NE(ErrorOfBytes(bytes.substr(0, size)), "no error") << size;
  }
}

TEST(Gguf, DamagedFilesAreRefused) {
  const std::vector<std::pair<std::string, std::function<void(GgufBytes&)>>> mistakes = {
      {"magic", [](GgufBytes& f) { f.magic = "GGUX"; }},
      {"version 1", [](GgufBytes& f) { f.version = 1; }},
      {"big-endian version", [](GgufBytes& f) { f.version = 0x03000000; }},
      {"a key twice", [](GgufBytes& f) { f.entries.push_back(f.entries[0]); }},
      {"a type of values",
       [](GgufBytes& f) { f.entries[0] = StrCat(Text("k"), Bytes<uint32_t>(13)); }},
      {"a list of lists",
       [](GgufBytes& f) {
         f.entries[0] =
             StrCat(Text("k"), Bytes<uint32_t>(9), Bytes<uint32_t>(9), Bytes<uint64_t>(1));
       }},
      {"a list without an end",
       [](GgufBytes& f) {
         f.entries[0] =
             StrCat(Text("k"), Bytes<uint32_t>(9), Bytes<uint32_t>(4), Bytes<uint64_t>(1ull << 60));
       }},
      {"a text without an end",
       [](GgufBytes& f) {
         f.entries[0] = StrCat(Text("k"), Bytes<uint32_t>(8), Bytes(~uint64_t{0}));
       }},
      {"a tensor twice", [](GgufBytes& f) { f.tensors[1].name = "w"; }},
      {"a type of tensors", [](GgufBytes& f) { f.tensors[0].type = 4; }},
      {"no whole blocks",
       [](GgufBytes& f) {
         f.tensors[0].dims = {33, 2};
       }},
      {"a side of 0",
       [](GgufBytes& f) {
         f.tensors[0].dims = {32, 0};
       }},
      {"sides whose product overflows",
       [](GgufBytes& f) {
         f.tensors[0].dims = {uint64_t{1} << 40, uint64_t{1} << 40};
       }},
      {"too many dimensions",
       [](GgufBytes& f) {
         f.tensors[0].dims = {32, 1, 1, 1, 1};
       }},
      {"beyond the end", [](GgufBytes& f) { f.tensors[1].offset = 128; }},
      {"an offset that overflows", [](GgufBytes& f) { f.tensors[1].offset = ~uint64_t{31}; }},
      {"no aligned place", [](GgufBytes& f) { f.tensors[1].offset = 97; }},
      {"one over the other", [](GgufBytes& f) { f.tensors[1].offset = 32; }},
      {"a long name", [](GgufBytes& f) { f.tensors[0].name = std::string(65, 'a'); }},
  };
  for (const auto& [what, make] : mistakes) {
    GgufBytes file = SmallFile();
    make(file);
    const std::string error = ErrorOfBytes(file.Write());
    EXPECT_THAT(error, HasSubstr("expected")) << what;
  }
}

TEST(Gguf, AllFilesOfASplitModelMustBeThere) {
  const testing::TemporaryFolder folder;
  const auto shard = [&](uint16_t number, uint16_t count, const char* tensor) {
    GgufBytes file = SmallFile();
    file.entries.push_back(StrCat(Text("split.no"), Bytes<uint32_t>(2), Bytes(number)));
    file.entries.push_back(StrCat(Text("split.count"), Bytes<uint32_t>(2), Bytes(count)));
    file.entries.push_back(
        StrCat(Text("split.tensors.count"), Bytes<uint32_t>(5), Bytes<int32_t>(2)));
    file.tensors = {{tensor, {3}, 0, 0}};
    file.data_bytes = 12;
    return file.Write();
  };
  const auto first = folder.Write("m-00001-of-00002.gguf", shard(0, 2, "a"));
  EXPECT_THAT(testing::ErrorOf([&] { (void)GgufFile::Open(first); }),
              HasSubstr("m-00002-of-00002.gguf"));
  const auto second = folder.Write("m-00002-of-00002.gguf", shard(1, 2, "b"));
  EXPECT_EQ(GgufFile::Open(first).tensors().size(), 2u);
  EXPECT_EQ(GgufFile::Open(second).tensors().size(), 2u);

  // One file under the number of another, and a tensor in both.
  folder.Write("m-00002-of-00002.gguf", shard(0, 2, "b"));
  EXPECT_THAT(testing::ErrorOf([&] { (void)GgufFile::Open(first); }), HasSubstr("expected"));
  folder.Write("m-00002-of-00002.gguf", shard(1, 2, "a"));
  EXPECT_THAT(testing::ErrorOf([&] { (void)GgufFile::Open(first); }), HasSubstr("expected"));
}

}  // namespace
}  // namespace qualm
