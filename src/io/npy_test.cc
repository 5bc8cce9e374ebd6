#include "io/npy.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/file.h"
#include "base/strings.h"
#include "support/errors.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using testing::TemporaryFolder;

std::span<const std::byte> BytesOf(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

template <typename T>
std::string Raw(std::vector<T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// A file of the given version; the header is not padded.
std::string File(std::string_view header, std::string_view data, char version = 1) {
  std::string file = "\x93NUMPY";
  file += version;
  file += '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) {
    file += static_cast<char>(header.size() >> (8 * i) & 0xff);
  }
  return StrCat(file, header, data);
}

std::string Header(std::string_view type, std::string_view order, std::string_view shape) {
  return StrCat("{'descr': '", type, "', 'fortran_order': ", order, ", 'shape': ", shape, ", }\n");
}

std::string ComplaintAbout(std::string_view file) {
  return ErrorOf([&] { ParseNpy(BytesOf(file), "f.npy"); });
}

TEST(Npy, ReadsEveryVersionAndFloatType) {
  const std::string header = Header("<f4", "False", "(2, 3)");
  const std::string data = Raw<float>({1, 2, 3, 4, 5, 6});
  for (char version : {'\1', '\2', '\3'}) {
    const Matrix matrix = ParseNpy(BytesOf(File(header, data, version)), "f");
    ASSERT_EQ(matrix.rows(), 2u);
    ASSERT_EQ(matrix.cols(), 3u);
    EXPECT_EQ(matrix(1, 0), 4);
  }
  const Matrix doubles =
      ParseNpy(BytesOf(File(Header("<f8", "False", "(1, 2)"), Raw<double>({0.5, -1}))), "f");
  EXPECT_EQ(doubles(0, 1), -1);
  const Matrix halves = ParseNpy(
      BytesOf(File(Header("<f2", "False", "(1, 2)"), Raw<uint16_t>({0x3c00, 0xc000}))), "f");
  EXPECT_EQ(halves(0, 0), 1);
  EXPECT_EQ(halves(0, 1), -2);
}

TEST(Npy, FortranOrderIsTransposed) {
  const Matrix matrix =
      ParseNpy(BytesOf(File(Header("<f4", "True", "(2, 3)"), Raw<float>({1, 4, 2, 5, 3, 6}))), "f");
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(matrix(i / 3, i % 3), static_cast<float>(i + 1));
}

TEST(Npy, VectorsBecomeOneRow) {
  for (std::string_view order : {"True", "False"}) {
    const Matrix row =
        ParseNpy(BytesOf(File(Header("<f4", order, "(3,)"), Raw<float>({1, 2, 3}))), "f");
    EXPECT_EQ(row.rows(), 1u);
    EXPECT_EQ(row(0, 2), 3);
  }
}

TEST(Npy, EmptyMatricesKeepTheirShape) {
  const Matrix matrix = ParseNpy(BytesOf(File(Header("<f4", "False", "(0, 7)"), "")), "f");
  EXPECT_EQ(matrix.rows(), 0u);
  EXPECT_EQ(matrix.cols(), 7u);
}

TEST(Npy, WrittenFilesReadBack) {
  TemporaryFolder folder;
  Matrix matrix(3, 5);
  for (size_t i = 0; i < 15; ++i) matrix.data()[i] = static_cast<float>(i) / 7;
  WriteNpy(folder / "m.npy", matrix.view().Cols(1, 3));  // a view with a stride
  const Matrix read = ReadNpy(folder / "m.npy");
  ASSERT_EQ(read.rows(), 3u);
  ASSERT_EQ(read.cols(), 3u);
  for (size_t r = 0; r < 3; ++r) {
    for (size_t c = 0; c < 3; ++c) EXPECT_EQ(read(r, c), matrix(r, c + 1));
  }
  const std::vector<float> values = {1, 2};
  WriteNpyVector(folder / "v.npy", values);
  EXPECT_EQ(ReadNpy(folder / "v.npy").cols(), 2u);
}

TEST(Npy, WrittenHeaderIsWhatNumpyWrites) {
  TemporaryFolder folder;
  const std::vector<uint8_t> values = {1, 2, 3, 4, 5, 6};
  WriteNpyBytes(folder / "b.npy", {values.data(), 2, 3});
  const std::string file = ReadFile(folder / "b.npy");
  const std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }";
  EXPECT_EQ(file, StrCat("\x93NUMPY", std::string("\x01\x00\x76\x00", 4), header,
                         std::string(0x76 - header.size() - 1, ' '), "\n\x01\x02\x03\x04\x05\x06"));
}

TEST(NpyHostile, EveryTruncationIsAnError) {
  const std::string whole = File(Header("<f4", "False", "(2,)"), Raw<float>({1, 2}));
  ASSERT_EQ(ComplaintAbout(whole), "no error");
  for (size_t size = 0; size < whole.size(); ++size) {
    ASSERT_NE(ComplaintAbout(whole.substr(0, size)), "no error") << size;
  }
}

TEST(NpyHostile, MagicAndVersion) {
  EXPECT_EQ(ComplaintAbout("not a npy file"),
            "[f.npy] expected a .npy file; got another first six bytes");
  EXPECT_EQ(ComplaintAbout(File("{}", "", 4)),
            "[f.npy] expected a .npy file of version 1, 2 or 3; got version 4");
}

TEST(NpyHostile, HeaderLongerThanTheFile) {
  std::string file = File("{}", "", 2);
  file.replace(8, 4, 4, '\xff');
  EXPECT_EQ(ComplaintAbout(file),
            "[f.npy] expected a header of 4294967295 bytes as the file says; got 2 bytes; the file "
            "is truncated");
}

TEST(NpyHostile, ElementTypes) {
  for (std::string_view type : {">f4", "<i4", "|u1", "<f16", "", "O", "<c8"}) {
    EXPECT_EQ(ComplaintAbout(File(Header(type, "False", "(1,)"), "dddd")),
              StrCat("[f.npy] expected element type <f2, <f4 or <f8; got '", type,
                     "'; convert with numpy.astype('<f4')"));
  }
  EXPECT_NE(ComplaintAbout(
                File("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,)}", "dddd"))
                .find("not a structure"),
            std::string::npos);
}

TEST(NpyHostile, Shapes) {
  for (std::string_view shape : {"(-1,)", "(1.5,)", "(1, 2", "1", "(a,)", "(1 2)", "(,)", "(1,,2)",
                                 "(18446744073709551616,)", "(1, 1, 1)", "[1]", "()"}) {
    EXPECT_NE(ComplaintAbout(File(Header("<f4", "False", shape), "dddd")), "no error") << shape;
  }
}

TEST(NpyHostile, ShapeOverflows) {
  EXPECT_EQ(ComplaintAbout(File(Header("<f4", "False", "(4294967296, 4294967296)"), "")),
            "[f.npy] expected the data of 4294967296 x 4294967296 values of 4 bytes; got 0 bytes");
  EXPECT_NE(ComplaintAbout(File(Header("<f4", "False", "(4611686018427387904,)"), "")), "no error");
}

TEST(NpyHostile, DataOfAnotherSize) {
  EXPECT_EQ(ComplaintAbout(File(Header("<f4", "False", "(1, 2)"), "123456789")),
            "[f.npy] expected the data of 1 x 2 values of 4 bytes; got 9 bytes");
}

TEST(NpyHostile, HeaderSyntax) {
  for (std::string_view header :
       {"", "{", "}", "{}", "{'descr'}", "{'descr': }", "{'descr': '<f4}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}"}) {
    EXPECT_EQ(ComplaintAbout(File(header, "dddd")).find("[f.npy] expected"), 0u) << header;
  }
  EXPECT_EQ(ComplaintAbout(File(R"({"shape":(1),"descr":"<f4","fortran_order":True})", "dddd")),
            "no error");
}

TEST(Npy, ReadsFilesThatNumpyWrote) {
  QUALM_SHARED_OR_SKIP(path, "golden/quantizers/small/fp8_e4m3.W_eff.npy");
  const Matrix matrix = ReadNpy(path);
  EXPECT_EQ(matrix.rows(), 256u);
  EXPECT_EQ(matrix.cols(), 512u);
}

}  // namespace
}  // namespace qualm
