// Each function appends the bytes of one field or element. The ids of fields are written as
// differences from the field before.
#include "data/thrift_writer.h"

#include "base/error.h"

namespace qualm {

void AppendVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>((value & 0x7f) | 0x80));
  out.push_back(static_cast<char>(value));
}

void ThriftWriter::Int32(int field, int32_t value) {
  Field(field, 5);
  ZigZag(value);
}

void ThriftWriter::Int64(int field, int64_t value) {
  Field(field, 6);
  ZigZag(value);
}

void ThriftWriter::Text(int field, std::string_view text) {
  Field(field, 8);
  TextElement(text);
}

void ThriftWriter::Begin(int field) {
  Field(field, 12);
  last_field_.push_back(0);
}

void ThriftWriter::End() {
  QUALM_CHECK(!last_field_.empty());
  bytes_.push_back('\0');
  last_field_.pop_back();
}

void ThriftWriter::List(int field, Element kind, size_t size) {
  Field(field, 9);
  const auto type = static_cast<uint8_t>(kind);
  if (size < 15) {
    bytes_.push_back(static_cast<char>(size << 4 | type));
  } else {
    bytes_.push_back(static_cast<char>(0xf0 | type));
    AppendVarint(bytes_, size);
  }
}

void ThriftWriter::TextElement(std::string_view text) {
  AppendVarint(bytes_, text.size());
  bytes_ += text;
}

// One byte holds the type and how much larger the id is than that of the field before.
void ThriftWriter::Field(int field, uint8_t type) {
  QUALM_CHECK(!last_field_.empty());
  const int step = field - last_field_.back();
  QUALM_CHECK(step >= 1 && step <= 15);
  bytes_.push_back(static_cast<char>(step << 4 | type));
  last_field_.back() = field;
}

void ThriftWriter::ZigZag(int64_t value) {
  AppendVarint(bytes_, static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63));
}

}  // namespace qualm
