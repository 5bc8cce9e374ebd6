// Reads and writes NumPy's .npy format: magic, version, the length of a header, the header as a
// Python dictionary, then the numbers. Files are untrusted, so every length is checked before it is
// used.
#include "io/npy.h"

#include <array>
#include <bit>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "base/error_place.h"
#include "base/file.h"
#include "base/strings.h"
#include "io/mapped_file.h"

namespace qualm {
namespace {

// Numbers are copied without swapping bytes.
static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "\x93NUMPY";

// What the dictionary says.
struct Header {
  DType type = DType::kF32;
  bool fortran_order = false;
  std::vector<size_t> shape;
};

// Reads the header's Python dictionary, such as {'descr': '<f4', 'fortran_order': False, 'shape':
// (3, 4), }. Read() is called once. rest_ is the text that is still to be read; every function
// takes its part from the front.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view text) : rest_(text) {}

  Header Read() {
    Expect('{');
    // Entries are separated by commas, and one more comma may follow the last.
    while (!Accept('}')) {
      std::string_view key = Text();
      Expect(':');
      ReadValue(key);
      if (!Accept(',')) {
        Expect('}');
        break;
      }
    }

    SkipBlanks();
    if (!rest_.empty()) Fail("nothing after the header's dictionary");
    if (!seen_type_ || !seen_order_ || !seen_shape_) {
      Fail("a header with 'descr', 'fortran_order' and 'shape'");
    }
    return header_;
  }

 private:
  // Complains at the text that comes next.
  [[noreturn]] void Fail(std::string_view expected) const {
    ThrowExpected(expected,
                  rest_.empty() ? "the header's end" : StrCat("'", rest_.substr(0, 40), "'"));
  }

  void SkipBlanks() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\n"), rest_.size()));
  }

  // Takes the character if it comes next.
  bool Accept(char c) {
    SkipBlanks();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  void Expect(char c) {
    if (!Accept(c)) Fail(StrCat("'", c, "' in the header"));
  }

  // A text in single or double quotes, without escapes.
  std::string_view Text() {
    SkipBlanks();
    if (!rest_.starts_with('\'') && !rest_.starts_with('"')) Fail("a quoted text in the header");
    size_t end = rest_.find(rest_[0], 1);
    if (end == std::string_view::npos) Fail("a closing quote in the header");
    std::string_view text = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return text;
  }

  // Python accepts a key twice; a file that has one is broken or hostile.
  void ReadValue(std::string_view key) {
    if (key == "descr") {
      MarkSeen(key, seen_type_);
      ReadType();
    } else if (key == "fortran_order") {
      MarkSeen(key, seen_order_);
      ReadOrder();
    } else if (key == "shape") {
      MarkSeen(key, seen_shape_);
      ReadShape();
    } else {
      ThrowExpected("the keys 'descr', 'fortran_order' and 'shape'",
                    StrCat("'", key.substr(0, 40), "'"));
    }
  }

  void MarkSeen(std::string_view key, bool& seen) const {
    if (seen) ThrowExpected("every header key once", StrCat("'", key, "' again"));
    seen = true;
  }

  void ReadType() {
    SkipBlanks();
    // A list of fields would describe records.
    if (rest_.starts_with('[')) Fail("one float type, not a structure");
    std::string_view name = Text();
    if (name == "<f4") {
      header_.type = DType::kF32;
    } else if (name == "<f8") {
      header_.type = DType::kF64;
    } else if (name == "<f2") {
      header_.type = DType::kF16;
    } else {
      ThrowExpected("element type <f2, <f4 or <f8", StrCat("'", name.substr(0, 40), "'"),
                    "convert with numpy.astype('<f4')");
    }
  }

  void ReadOrder() {
    SkipBlanks();
    // Python's spelling of a truth value.
    for (bool value : {false, true}) {
      std::string_view word = value ? "True" : "False";
      if (!rest_.starts_with(word)) continue;
      rest_.remove_prefix(word.size());
      header_.fortran_order = value;
      return;
    }
    Fail("fortran_order True or False");
  }

  // One or two extents.
  void ReadShape() {
    Expect('(');
    // A tuple: "(3, 4)", "(3,)" or "()".
    while (!Accept(')')) {
      SkipBlanks();
      size_t extent = 0;
      auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), extent);
      if (error != std::errc()) Fail("a shape of non-negative integers");
      rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
      header_.shape.push_back(extent);
      if (header_.shape.size() > 2) Fail("a shape with one or two dimensions");
      if (!Accept(',')) {
        Expect(')');
        break;
      }
    }
  }

  std::string_view rest_;
  Header header_;
  bool seen_type_ = false, seen_order_ = false, seen_shape_ = false;
};

// The header's text, and the bytes that follow it.
struct Parts {
  std::string_view header;
  std::span<const std::byte> data;
};

// Finds the header by its length field: 2 bytes in version 1, 4 bytes since version 2.
Parts SplitFile(std::span<const std::byte> bytes) {
  std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!all.starts_with(kMagic)) ThrowExpected("a .npy file", "another first six bytes");
  if (all.size() < 10) ThrowExpected("a .npy header", "a truncated file");

  // Byte 6 is the version; the minor version in byte 7 never changed the layout.
  auto major = static_cast<unsigned char>(all[6]);
  if (major < 1 || major > 3) {
    ThrowExpected("a .npy file of version 1, 2 or 3", StrCat("version ", major));
  }

  size_t length_bytes = major == 1 ? 2 : 4;
  size_t start = kMagic.size() + 2 + length_bytes;
  if (all.size() < start) ThrowExpected("a .npy header", "a truncated file");

  // The length is little-endian.
  size_t length = 0;
  for (size_t i = 0; i < length_bytes; ++i) {
    length |= static_cast<size_t>(static_cast<unsigned char>(all[8 + i])) << (8 * i);
  }

  if (length > all.size() - start) {
    ThrowExpected(StrCat("a header of ", length, " bytes as the file says"),
                  StrCat(all.size() - start, " bytes"), "the file is truncated");
  }
  return {all.substr(start, length), bytes.subspan(start + length)};
}

// Writes a file of version 1; `write_rows` writes the numbers.
void WriteFile(const std::filesystem::path& path, std::string_view type, std::string_view shape,
               auto write_rows) {
  std::string header =
      StrCat("{'descr': '", type, "', 'fortran_order': False, 'shape': (", shape, "), }");
  // Magic, version and length are 10 bytes. Spaces and a line end fill the header up, so that the
  // numbers start at a multiple of 64.
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  header += '\n';

  AtomicFile file(path);
  file.Write(kMagic);
  file.Write(std::string({'\x01', '\x00', static_cast<char>(header.size() & 0xff),
                          static_cast<char>(header.size() >> 8)}));
  file.Write(header);
  write_rows(file);
  file.Commit();
}

template <typename T>
void WriteMatrix(const std::filesystem::path& path, std::string_view type, Span2D<const T> values) {
  WriteFile(path, type, StrCat(values.rows(), ", ", values.cols()), [&](AtomicFile& file) {
    for (size_t row = 0; row < values.rows(); ++row) {
      file.Write(values.row(row).data(), values.cols() * sizeof(T));
    }
  });
}

Matrix MatrixOf(std::span<const std::byte> bytes) {
  Parts parts = SplitFile(bytes);
  Header header = HeaderReader(parts.header).Read();
  if (header.shape.empty()) {
    ThrowExpected("a shape with one or two dimensions", "a single value");
  }

  // The sizes come from the file: their product must not overflow and must be the data's size.
  size_t rows = header.shape.size() == 1 ? 1 : header.shape[0];
  size_t cols = header.shape.back();
  size_t size = SizeOf(header.type);
  size_t total = 0;
  if (__builtin_mul_overflow(rows, cols, &total) || __builtin_mul_overflow(total, size, &total) ||
      total != parts.data.size()) {
    ThrowExpected(StrCat("the data of ", rows, " x ", cols, " values of ", size, " bytes"),
                  StrCat(parts.data.size(), " bytes"));
  }

  // Rows, or nothing to reorder.
  if (!header.fortran_order || header.shape.size() == 1 || total == 0) {
    return ToMatrix({parts.data.data(), header.type, rows, cols});
  }

  // Fortran order: the file holds the transposed matrix.
  Matrix by_columns = ToMatrix({parts.data.data(), header.type, cols, rows});
  Matrix result = Matrix::Uninitialized(rows, cols);
  for (size_t row = 0; row < rows; ++row) {
    for (size_t col = 0; col < cols; ++col) result(row, col) = by_columns(col, row);
  }
  return result;
}

}  // namespace

Matrix ParseNpy(std::span<const std::byte> bytes, std::string_view place) {
  return At(place, [&] { return MatrixOf(bytes); });
}

Matrix ReadNpy(const std::filesystem::path& path) {
  return ParseNpy(MappedFile(path).bytes(), path.string());
}

void WriteNpy(const std::filesystem::path& path, Span2D<const float> values) {
  WriteMatrix<float>(path, "<f4", values);
}

void WriteNpyVector(const std::filesystem::path& path, std::span<const float> values) {
  WriteFile(path, "<f4", StrCat(values.size(), ","),
            [&](AtomicFile& file) { file.Write(values.data(), values.size_bytes()); });
}

void WriteNpyBytes(const std::filesystem::path& path, Span2D<const uint8_t> values) {
  WriteMatrix<uint8_t>(path, "|u1", values);
}

}  // namespace qualm
