// Reads Thrift's compact protocol: a struct is fields with a type and an id each, which is stored
// as the difference to the one before.
#include "data/thrift.h"

#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

using Kind = ThriftValue::Kind;

class ThriftReader {
 public:
  ThriftReader(std::string_view& bytes, std::string_view place, Budget& budget)
      : bytes_(bytes), place_(place), budget_(budget) {}

  ThriftValue Struct(int depth) {
    if (depth > kMostDepth) Refuse("at most 32 levels", "more");
    ThriftValue value;
    value.kind = Kind::kStruct;
    int64_t id = 0;
    while (true) {
      const uint8_t head = Byte();
      if (head == 0) return value;

      // The id is a step from the one before, or is written in full. It has 16 bits.
      const int delta = head >> 4;
      id = delta != 0 ? id + delta : ZigZag();
      if (id < std::numeric_limits<int16_t>::min() || id > std::numeric_limits<int16_t>::max()) {
        Refuse("field ids of 16 bits", StrCat(id));
      }

      constexpr uint64_t kTreeNodeBytes = 48;
      budget_.Charge(kTreeNodeBytes + sizeof(ThriftValue));
      value.fields[static_cast<int>(id)] = Value(head & 15, depth, true);
    }
  }

 private:
  static constexpr int kMostDepth = 32;

  [[noreturn]] void Refuse(std::string_view expected, std::string_view got) const {
    ThrowBadInput(place_, StrCat("a Thrift header with ", expected), got);
  }

  uint8_t Byte() {
    if (bytes_.empty()) Refuse("all its bytes", "the end");
    const auto byte = static_cast<uint8_t>(bytes_[0]);
    bytes_.remove_prefix(1);
    return byte;
  }

  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = Byte();
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    Refuse("integers of 64 bits", "a longer one");
  }

  int64_t ZigZag() {
    const uint64_t value = Varint();
    return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
  }

  ThriftValue Value(int type, int depth, bool in_struct) {
    ThriftValue value;
    switch (type) {
      case 1:  // true; in a list a byte says
      case 2:
        value.kind = Kind::kInteger;
        value.integer = in_struct ? type == 1 : Byte() == 1;
        return value;
      case 3:
        value.kind = Kind::kInteger;
        value.integer = static_cast<int8_t>(Byte());
        return value;
      case 4:
      case 5:
      case 6:
        value.kind = Kind::kInteger;
        value.integer = ZigZag();
        return value;
      case 7: {
        value.kind = Kind::kDouble;
        if (bytes_.size() < 8) Refuse("all its bytes", "the end");
        std::memcpy(&value.real, bytes_.data(), 8);
        bytes_.remove_prefix(8);
        return value;
      }
      case 8: {
        value.kind = Kind::kBytes;
        const uint64_t size = Varint();
        if (size > bytes_.size()) Refuse("texts inside it", StrCat(size, " bytes"));
        value.bytes = bytes_.substr(0, size);
        bytes_.remove_prefix(size);
        return value;
      }
      case 9:
      case 10: {
        value.kind = Kind::kList;
        if (depth > kMostDepth) Refuse("at most 32 levels", "more");
        const uint8_t head = Byte();
        const uint64_t size = head >> 4 == 15 ? Varint() : head >> 4;
        if (size > bytes_.size()) Refuse("lists inside it", StrCat(size, " elements"));
        budget_.Charge(size, sizeof(ThriftValue));
        value.list.reserve(size);
        for (uint64_t i = 0; i < size; ++i) {
          value.list.push_back(Value(head & 15, depth + 1, false));
        }
        return value;
      }
      case 12:
        return Struct(depth + 1);
      default:
        Refuse("known types", StrCat("type ", type));
    }
  }

  std::string_view& bytes_;
  std::string_view place_;
  Budget& budget_;
};

}  // namespace

const ThriftValue* ThriftValue::Find(int field) const {
  const auto found = fields.find(field);
  return found == fields.end() ? nullptr : &found->second;
}

int64_t ThriftValue::Int(int field, std::string_view place) const {
  const ThriftValue* value = Find(field);
  if (value != nullptr && value->kind == Kind::kInteger) return value->integer;
  ThrowBadInput(place, StrCat("an integer in header field ", field), "none");
}

int64_t ThriftValue::Int(int field, int64_t fallback, std::string_view place) const {
  return Find(field) == nullptr ? fallback : Int(field, place);
}

std::string_view ThriftValue::Bytes(int field, std::string_view place) const {
  const ThriftValue* value = Find(field);
  if (value != nullptr && value->kind == Kind::kBytes) return value->bytes;
  ThrowBadInput(place, StrCat("a text in header field ", field), "none");
}

const std::vector<ThriftValue>& ThriftValue::List(int field, std::string_view place) const {
  const ThriftValue* value = Find(field);
  if (value != nullptr && value->kind == Kind::kList) return value->list;
  ThrowBadInput(place, StrCat("a list in header field ", field), "none");
}

const ThriftValue& ThriftValue::Struct(int field, std::string_view place) const {
  const ThriftValue* value = Find(field);
  if (value != nullptr && value->kind == Kind::kStruct) return *value;
  ThrowBadInput(place, StrCat("a struct in header field ", field), "none");
}

ThriftValue ReadThriftStruct(std::string_view& bytes, std::string_view place, Budget& budget) {
  return ThriftReader(bytes, place, budget).Struct(0);
}

}  // namespace qualm
