// Writes Thrift's compact protocol, what thrift.h reads: enough for the headers of Parquet files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qualm {

// Seven bits a byte, the low ones first; the high bit says that more follow.
void AppendVarint(std::string& out, uint64_t value);

// The fields of a struct are written in rising order of their ids. The outermost struct is open
// from the start; after its End() the bytes are whole.
class ThriftWriter {
 public:
  enum class Element : uint8_t { kInt32 = 5, kText = 8, kStruct = 12 };

  void Int32(int field, int32_t value);
  void Int64(int field, int64_t value);
  void Text(int field, std::string_view text);
  void Begin(int field);  // a struct
  void End();

  // `size` elements of the kind follow, by the three functions below.
  void List(int field, Element kind, size_t size);
  void Int32Element(int32_t value) { ZigZag(value); }
  void TextElement(std::string_view text);
  void BeginElement() { last_field_.push_back(0); }

  const std::string& bytes() const { return bytes_; }

 private:
  void Field(int field, uint8_t type);
  void ZigZag(int64_t value);

  std::string bytes_;
  std::vector<int> last_field_ = {0};  // of the structs that are open
};

}  // namespace qualm
