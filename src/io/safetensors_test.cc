#include "io/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/strings.h"
#include "io/tensor_file.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using testing::TemporaryFolder;

std::span<const std::byte> BytesOf(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// A file's bytes: the header's length, the header, `data_bytes` times 'd'.
std::string File(std::string_view header, size_t data_bytes) {
  std::string file;
  for (int shift = 0; shift < 64; shift += 8) {
    file += static_cast<char>(header.size() >> shift & 0xff);
  }
  return StrCat(file, header, std::string(data_bytes, 'd'));
}

std::string ComplaintAboutBytes(const std::string& bytes) {
  return ErrorOf([&] { ParseSafetensors(BytesOf(bytes), "f.safetensors"); });
}

std::string ComplaintAbout(std::string_view header, size_t data_bytes) {
  return ComplaintAboutBytes(File(header, data_bytes));
}

std::string Entry(std::string_view name, std::string_view type, std::string_view shape,
                  std::string_view offsets) {
  return StrCat("\"", name, "\":{\"dtype\":\"", type, "\",\"shape\":", shape,
                ",\"data_offsets\":", offsets, "}");
}

TEST(Safetensors, ReadsAFileWrittenByHand) {
  const std::string file =
      StrCat(File(R"({"__metadata__":{"format":"pt"},)" + Entry("b", "F32", "[2,1]", "[4,12]") +
                      "," + Entry("a", "U8", "[4]", "[0,4]") + "}",
                  0),
             std::string("\x01\x02\x03\xff\x00\x00\x80\x3f\x00\x00\x00\xc0", 12));
  std::map<std::string, std::string> metadata;
  const std::vector<TensorView> tensors =
      ParseSafetensors(BytesOf(file), "f.safetensors", &metadata);
  EXPECT_EQ(metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].name, "a");  // in the order of the data
  EXPECT_EQ(tensors[0].elements(), 4u);
  EXPECT_EQ(tensors[0].bytes[3], std::byte{0xff});
  EXPECT_EQ(tensors[1].name, "b");
  EXPECT_EQ(tensors[1].shape, (std::vector<size_t>{2, 1}));
  const Matrix matrix = ToMatrix(tensors[1].AsWeight());
  EXPECT_EQ(matrix(0, 0), 1.0f);
  EXPECT_EQ(matrix(1, 0), -2.0f);
}

// A header of 640 bytes begins the file as a pickle begins.
TEST(Safetensors, TheLengthOfTheHeaderIsNoKindOfFile) {
  const std::string file = File("{}" + std::string(638, ' '), 0);
  ASSERT_TRUE(file.starts_with("\x80\x02"));
  EXPECT_TRUE(ParseSafetensors(BytesOf(file), "f").empty());
}

TEST(Safetensors, EmptyFilesEmptyTensorsAndScalarsAreAllowed) {
  EXPECT_TRUE(ParseSafetensors(BytesOf(File("{}", 0)), "f").empty());
  EXPECT_TRUE(ParseSafetensors(BytesOf(File("{}      ", 0)), "f").empty());
  const std::string file = File("{" + Entry("empty", "F32", "[0,7]", "[4,4]") + "," +
                                    Entry("scalar", "I32", "[]", "[0,4]") + "}",
                                4);
  const std::vector<TensorView> tensors = ParseSafetensors(BytesOf(file), "f");
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].elements(), 1u);
  EXPECT_EQ(tensors[1].elements(), 0u);
  EXPECT_EQ(ToMatrix(tensors[1].AsWeight()).cols(), 7u);
}

TEST(Safetensors, EveryTypeRoundTripsThroughAFile) {
  TemporaryFolder folder;
  std::vector<TensorToWrite> tensors;
  const std::string data = "0123456789abcdef0123456789abcdef01234567";
  for (const char* type : {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"}) {
    const DType dtype = *DTypeFromName(type);
    tensors.push_back({StrCat("t.", type), dtype, {5}, BytesOf(data).first(5 * SizeOf(dtype))});
  }
  WriteSafetensors(folder / "x.safetensors", tensors, {{"k", "v"}});
  const TensorFile file = TensorFile::Open(folder / "x.safetensors");
  ASSERT_EQ(file.tensors().size(), tensors.size());
  EXPECT_EQ(file.metadata().at("k"), "v");
  for (const TensorToWrite& written : tensors) {
    const TensorView& read = file.Get(written.name);
    EXPECT_EQ(read.type, written.type);
    EXPECT_EQ(read.shape, written.shape);
    EXPECT_TRUE(std::ranges::equal(read.bytes, written.bytes)) << written.name;
  }
}

TEST(Safetensors, WriterIsDeterministicAndAlignsTheData) {
  TemporaryFolder folder;
  const std::string data(12, 'x');
  for (size_t extra = 0; extra < 70; ++extra) {  // every length of header modulo 64
    const std::vector<TensorToWrite> tensors = {
        {std::string(extra + 1, 'n'), DType::kU8, {3, 4}, BytesOf(data)}};
    WriteSafetensors(folder / "a", tensors);
    WriteSafetensors(folder / "b", tensors);
    const std::string bytes = ReadFile(folder / "a");
    ASSERT_EQ(bytes, ReadFile(folder / "b"));
    const auto parsed = ParseSafetensors(BytesOf(bytes), "a");
    ASSERT_EQ(static_cast<size_t>(parsed[0].bytes.data() - BytesOf(bytes).data()) % 64, 0u);
  }
}

TEST(Safetensors, ViewsConvertOnlyWhatTheyAre) {
  const std::string data(16, '\0');
  const TensorView matrix{"m", DType::kF32, {2, 2}, BytesOf(data)};
  const TensorView integers{"i", DType::kI32, {2, 2}, BytesOf(data)};
  const TensorView vector{"v", DType::kF64, {2}, BytesOf(data)};
  EXPECT_EQ(vector.AsFloats(), (std::vector<float>{0, 0}));
  EXPECT_EQ(matrix.AsWeight().rows, 2u);
  EXPECT_EQ(ErrorOf([&] { matrix.AsFloats(); }),
            "[tensor 'm'] expected a vector of floats; got shape [2, 2] of F32");
  EXPECT_EQ(ErrorOf([&] { integers.AsWeight(); }),
            "[tensor 'i'] expected a matrix of floats; got shape [2, 2] of I32");
}

// --- hostile headers, one by one ---

TEST(Safetensors, TensorsOfTypesThatNobodyReadsAreLeftOut) {
  const std::string file = File(
      "{" + Entry("a", "F8_E4M3FNUZ", "[2]", "[0,2]") + "," + Entry("b", "U8", "[1]", "[2,3]") +
          "," + Entry("c", "C64", "[1]", "[3,11]") + "," + Entry("d", "F4", "[3]", "[11,13]") + "}",
      13);
  std::map<std::string, std::string> unread;
  const auto tensors = ParseSafetensors(BytesOf(file), "f.safetensors", nullptr, &unread);
  ASSERT_EQ(tensors.size(), 1u);
  EXPECT_EQ(tensors[0].name, "b");
  EXPECT_EQ(unread,
            (std::map<std::string, std::string>{{"a", "F8_E4M3FNUZ"}, {"c", "C64"}, {"d", "F4"}}));
}

TEST(Safetensors, OtherKindsOfFilesAreNamed) {
  const auto complaint = [](std::string_view front) {
    return ComplaintAboutBytes(std::string(front) + std::string(64, ' '));
  };
  EXPECT_NE(complaint("version https://git-lfs.github.com/spec/v1\n").find("git lfs pull"),
            std::string::npos);
  EXPECT_NE(complaint("GGUF").find("got a GGUF file"), std::string::npos);
  EXPECT_NE(complaint("PK\x03\x04").find("got a pickle"), std::string::npos);
}

TEST(SafetensorsHostile, ShorterThanTheLength) {
  EXPECT_EQ(ComplaintAboutBytes("1234567"),
            "[f.safetensors] expected at least 8 bytes; got 7; the file is truncated");
}

TEST(SafetensorsHostile, EveryTruncationIsAnError) {
  const std::string whole = File("{" + Entry("a", "F32", "[2]", "[0,8]") + "}", 8);
  for (size_t size = 0; size < whole.size(); ++size) {
    ASSERT_NE(ComplaintAboutBytes(whole.substr(0, size)), "no error") << size;
  }
}

TEST(SafetensorsHostile, HeaderLongerThanTheFile) {
  std::string file = File("{}", 0);
  file[0] = 50;
  EXPECT_EQ(ComplaintAboutBytes(file),
            "[f.safetensors] expected a header of 50 bytes as the file says; got 2 bytes; the file "
            "is truncated");
}

TEST(SafetensorsHostile, HeaderLengthBeyondTheLimit) {
  std::string file = File("{}", 0);
  file.replace(0, 8, 8, '\xff');
  EXPECT_EQ(ComplaintAboutBytes(file),
            "[f.safetensors] expected a header of at most 100000000 bytes; got "
            "18446744073709551615 bytes; this may not be a safetensors file");
}

TEST(SafetensorsHostile, HeaderIsNotJson) {
  EXPECT_EQ(ComplaintAbout("{\"a\":", 0),
            "[f.safetensors: header] expected JSON; got syntax error while parsing value - "
            "unexpected end of input; expected '[', '{', or a literal at line 1, column 5");
  EXPECT_NE(ComplaintAbout("{}{}", 0), "no error");
  EXPECT_NE(ComplaintAbout("", 0), "no error");
}

TEST(SafetensorsHostile, HeaderIsNotAnObject) {
  EXPECT_EQ(ComplaintAbout("[]", 0), "[f.safetensors] expected a JSON object as header; got array");
  EXPECT_EQ(ComplaintAbout(R"({"a":3})", 0),
            "[f.safetensors: tensor 'a'] expected a JSON object; got number");
}

TEST(SafetensorsHostile, InvalidUtf8) {
  EXPECT_NE(ComplaintAbout("{" + Entry("a\xff", "U8", "[1]", "[0,1]") + "}", 1)
                .find("[f.safetensors: header] expected JSON; got"),
            std::string::npos);
}

TEST(SafetensorsHostile, DeepNesting) {
  EXPECT_NE(
      ComplaintAbout("{\"a\":" + std::string(1000000, '['), 0).find("nested at most 128 deep"),
      std::string::npos);
}

TEST(SafetensorsHostile, DuplicateNames) {
  const std::string entry = Entry("a", "U8", "[1]", "[0,1]");
  EXPECT_NE(ComplaintAbout("{" + entry + "," + entry + "}", 1)
                .find("[f.safetensors: header] expected every key once; got the key 'a' again"),
            std::string::npos);
}

TEST(SafetensorsHostile, WrongType) {
  EXPECT_EQ(ComplaintAbout("{" + Entry("a", "F9", "[1]", "[0,1]") + "}", 1),
            StrCat("[f.safetensors: tensor 'a'] expected dtype ", kReadTypes, "; got 'F9'"));
  EXPECT_EQ(ComplaintAbout("{" + Entry("a", "F8_E4M3", "[2]", "[0,1]") + "}", 1),
            "[f.safetensors: tensor 'a'] expected 2 bytes for shape [2] of F8_E4M3; got 1 bytes");
  EXPECT_EQ(ComplaintAbout(R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,1]}})", 1),
            "[f.safetensors: tensor 'a'] expected 'dtype' to be a text; got 7");
}

TEST(SafetensorsHostile, MissingAndUnknownKeys) {
  EXPECT_EQ(ComplaintAbout(R"({"a":{"dtype":"U8","shape":[1]}})", 1),
            "[f.safetensors: tensor 'a'] expected the key 'data_offsets'; got none");
  EXPECT_EQ(ComplaintAbout(R"({"a":{"dtype":"U8","shapes":[1],"data_offsets":[0,1]}})", 1),
            "[f.safetensors: tensor 'a'] unknown key 'shapes'; did you mean 'shape'? available: "
            "dtype, shape, data_offsets");
}

TEST(SafetensorsHostile, OffsetsOutOfRange) {
  EXPECT_EQ(
      ComplaintAbout("{" + Entry("a", "U8", "[5]", "[0,5]") + "}", 4),
      "[f.safetensors: tensor 'a'] expected data_offsets within the 4 bytes of data; got 0 to "
      "5; the file may be truncated");
  EXPECT_NE(
      ComplaintAbout(
          "{" + Entry("a", "U8", "[1]", "[18446744073709551614,18446744073709551615]") + "}", 4)
          .find("within the 4 bytes of data"),
      std::string::npos);
}

TEST(SafetensorsHostile, OffsetsReversed) {
  EXPECT_EQ(
      ComplaintAbout("{" + Entry("a", "U8", "[1]", "[1,0]") + "}", 1),
      "[f.safetensors: tensor 'a'] expected data_offsets that begin before they end; got 1 to "
      "0");
}

TEST(SafetensorsHostile, OffsetsOverlap) {
  EXPECT_EQ(
      ComplaintAbout(
          "{" + Entry("a", "U8", "[4]", "[0,4]") + "," + Entry("b", "U8", "[4]", "[2,6]") + "}", 6),
      "[f.safetensors: tensor 'b'] expected data to begin at offset 4; got offset 2; it "
      "overlaps another tensor");
}

// The same bytes under two names are an overlap too.
TEST(SafetensorsHostile, OffsetsShared) {
  EXPECT_NE(
      ComplaintAbout(
          "{" + Entry("a", "U8", "[4]", "[0,4]") + "," + Entry("b", "U8", "[4]", "[0,4]") + "}", 4)
          .find("overlaps another tensor"),
      std::string::npos);
}

TEST(SafetensorsHostile, HoleBetweenTensors) {
  EXPECT_EQ(
      ComplaintAbout(
          "{" + Entry("a", "U8", "[2]", "[0,2]") + "," + Entry("b", "U8", "[2]", "[3,5]") + "}", 5),
      "[f.safetensors: tensor 'b'] expected data to begin at offset 2; got offset 3; there is "
      "a hole before it");
}

TEST(SafetensorsHostile, BytesAfterTheLastTensor) {
  EXPECT_EQ(ComplaintAbout("{" + Entry("a", "U8", "[2]", "[0,2]") + "}", 3),
            "[f.safetensors] expected 2 bytes of data, as the header says; got 3 bytes");
  EXPECT_NE(ComplaintAbout("{}", 1), "no error");
}

TEST(SafetensorsHostile, OffsetsDoNotMatchTheShape) {
  EXPECT_EQ(ComplaintAbout("{" + Entry("a", "F32", "[2,2]", "[0,15]") + "}", 15),
            "[f.safetensors: tensor 'a'] expected 16 bytes for shape [2, 2] of F32; got 15 bytes");
}

TEST(SafetensorsHostile, ShapeOverflows) {
  EXPECT_EQ(ComplaintAbout("{" + Entry("a", "F32", "[4294967296,4294967296]", "[0,0]") + "}", 0),
            "[f.safetensors: tensor 'a'] expected a shape whose size fits 64 bits; got "
            "[4294967296, 4294967296]");
  // 2^62 elements fit 64 bits, 2^64 bytes do not.
  EXPECT_NE(ComplaintAbout("{" + Entry("a", "F32", "[4611686018427387904]", "[0,0]") + "}", 0)
                .find("fits 64 bits"),
            std::string::npos);
}

TEST(SafetensorsHostile, NumbersThatAreNotCounts) {
  for (const char* number : {"-1", "1.0", "1e0", "18446744073709551616", "\"1\"", "null", "[1]"}) {
    EXPECT_NE(ComplaintAbout("{" + Entry("a", "U8", StrCat("[", number, "]"), "[0,1]") + "}", 1)
                  .find("[f.safetensors: tensor 'a'] expected shape to hold non-negative integers"),
              std::string::npos)
        << number;
    EXPECT_NE(ComplaintAbout("{" + Entry("a", "U8", "[1]", StrCat("[0,", number, "]")) + "}", 1)
                  .find("tensor 'a'] expected data_offsets to hold non-negative integers"),
              std::string::npos)
        << number;
  }
}

TEST(SafetensorsHostile, ListsOfTheWrongForm) {
  EXPECT_NE(ComplaintAbout("{" + Entry("a", "U8", "1", "[0,1]") + "}", 1).find("got number"),
            std::string::npos);
  EXPECT_NE(ComplaintAbout("{" + Entry("a", "U8", "[1]", "[0,1,2]") + "}", 1)
                .find("expected two data_offsets; got 3"),
            std::string::npos);
  const std::string ones =
      StrCat("[1", std::string(200, ' '), Join(std::vector<std::string>(99), ",1"), "]");
  EXPECT_NE(ComplaintAbout("{" + Entry("a", "U8", ones, "[0,1]") + "}", 1).find("short list"),
            std::string::npos);
}

TEST(SafetensorsHostile, MetadataMustBeTexts) {
  EXPECT_EQ(ComplaintAbout(R"({"__metadata__":{"a":1}})", 0),
            "[f.safetensors: __metadata__] expected the value of 'a' to be a text; got number");
  EXPECT_NE(ComplaintAbout(R"({"__metadata__":[]})", 0), "no error");
}

TEST(SafetensorsHostile, LongNamesAreCutInMessages) {
  const std::string name(1000000, 'n');
  EXPECT_LT(ComplaintAbout("{" + Entry(name, "U8", "[1]", "[1,0]") + "}", 1).size(), 1000u);
}

TEST(SafetensorsHostile, ManyTensorsTakeLinearTime) {
  std::string header = "{";
  for (size_t i = 0; i < 50000; ++i) {
    header +=
        StrCat(i > 0 ? "," : "", Entry(StrCat(i), "U8", "[1]", StrCat("[", i, ",", i + 1, "]")));
  }
  const std::string file = File(header + "}", 50000);
  EXPECT_EQ(ParseSafetensors(BytesOf(file), "f").size(), 50000u);
}

}  // namespace
}  // namespace qualm
