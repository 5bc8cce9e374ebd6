// A pickle as data. Python's pickles are programs that may call any function; here nothing is
// called: what a pickle would call is kept as a value, and only for functions that the reader of
// the file knows. Protocols 2 to 5, the opcodes that torch.save and Python's pickler write for
// plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qualm {

using PickleId = uint32_t;  // of a value; values may share others, and even hold themselves

struct PickleValue {
  enum class Kind : uint8_t {
    kNone,
    kBool,
    kInt,
    kFloat,
    kText,
    kBytes,
    kTuple,
    kList,
    kDict,  // also an OrderedDict
    kGlobal,
    kCall,
    kPersistent,
  };
  Kind kind = Kind::kNone;
  int64_t integer = 0;  // kBool, kInt
  double real = 0;      // kFloat
  // kText (any bytes) and kBytes: in the pickle's own bytes. kGlobal: "module.name", as known.
  std::string_view text = {};
  // kTuple, kList: the elements. kDict: key, value, key, value, ... kCall: the function, which is a
  // kGlobal, and the tuple of its arguments. kPersistent: what names the object.
  std::vector<PickleId> items = {};
};

// "a tuple", "a call", for messages.
std::string_view KindName(PickleValue::Kind kind);

class Pickle {
 public:
  // `bytes` must outlive the result. `globals` are the names ("torch.FloatStorage") that may occur
  // in it in addition to collections.OrderedDict; they must live as long. Throws bad input without
  // a place for another name, an opcode that is not known, and more than 64 MiB or four million
  // values.
  static Pickle Read(std::span<const std::byte> bytes, std::span<const std::string_view> globals);

  const PickleValue& root() const { return values_[root_]; }
  const PickleValue& operator[](PickleId id) const { return values_[id]; }

 private:
  friend class PickleMachine;
  std::vector<PickleValue> values_;
  PickleId root_ = 0;
};

}  // namespace qualm
