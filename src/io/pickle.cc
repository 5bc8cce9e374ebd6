// The stack machine of Python's pickles (Lib/pickletools.py documents its opcodes). Each opcode
// makes at most one value, and values hold each other by number, so that nothing here recurses,
// and the memory is bounded by the length of the pickle.
#include "io/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "base/error_place.h"
#include "base/strings.h"

namespace qualm {

using Kind = PickleValue::Kind;

std::string_view KindName(Kind kind) {
  constexpr std::string_view kNames[] = {"None",   "a bool",  "an int",  "a float",
                                         "a text", "bytes",   "a tuple", "a list",
                                         "a dict", "a class", "a call",  "a stored object"};
  return kNames[static_cast<size_t>(kind)];
}

namespace {

constexpr size_t kMostBytes = size_t{64} << 20;
constexpr size_t kMostValues = 4'000'000;  // a tensor takes about twenty
constexpr std::string_view kOrderedDict = "collections.OrderedDict";

}  // namespace

// One run over the bytes. `Run` is called once.
class PickleMachine {
 public:
  PickleMachine(std::span<const std::byte> bytes, std::span<const std::string_view> globals)
      : bytes_(bytes), globals_(globals) {}

  Pickle Run() {
    while (!is_done_) {
      opcode_at_ = at_;
      const auto opcode = Number<uint8_t>();
      if (!StepData(opcode) && !StepContainer(opcode) && !StepObject(opcode)) {
        Refuse("an opcode of plain data", StrCat("opcode ", int{opcode}));
      }
    }
    pickle_.root_ = Pop();
    if (!stack_.empty()) Refuse("one value at the end", StrCat(stack_.size() + 1));
    return std::move(pickle_);
  }

 private:
  [[noreturn]] void Refuse(std::string_view expected, std::string_view got,
                           std::string_view hint = "") const {
    ThrowBadInput(StrCat("byte ", opcode_at_), expected, got, hint);
  }

  // The next bytes of the pickle.
  std::string_view Take(uint64_t count) {
    if (count > bytes_.size() - at_) {
      Refuse(StrCat(count, " more bytes"), StrCat(bytes_.size() - at_), "the pickle is cut off");
    }
    const auto* begin = reinterpret_cast<const char*>(bytes_.data()) + at_;
    at_ += static_cast<size_t>(count);
    return {begin, static_cast<size_t>(count)};
  }

  // A little-endian number.
  template <class T>
  T Number() {
    T value;
    std::memcpy(&value, Take(sizeof value).data(), sizeof value);
    return value;
  }

  std::string_view Line() {
    const auto* begin = reinterpret_cast<const char*>(bytes_.data()) + at_;
    const std::string_view rest(begin, bytes_.size() - at_);
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) Refuse("a line", "no end of line");
    return Take(end + 1).substr(0, end);
  }

  PickleId Make(PickleValue value) {
    if (pickle_.values_.size() >= kMostValues) Refuse(StrCat("at most ", kMostValues), "more");
    pickle_.values_.push_back(std::move(value));
    return static_cast<PickleId>(pickle_.values_.size() - 1);
  }
  bool Push(PickleValue value) {
    stack_.push_back(Make(std::move(value)));
    return true;
  }
  bool PushInt(int64_t value) { return Push({.kind = Kind::kInt, .integer = value}); }
  bool PushText(std::string_view text) { return Push({.kind = Kind::kText, .text = text}); }
  bool PushBytes(std::string_view text) { return Push({.kind = Kind::kBytes, .text = text}); }

  // Values below the last mark cannot be taken before the mark itself.
  PickleId Pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) Refuse("a value", "an empty stack");
    const PickleId id = stack_.back();
    stack_.pop_back();
    return id;
  }
  std::vector<PickleId> Pop(size_t count) {
    std::vector<PickleId> ids(count);
    for (size_t i = count; i-- > 0;) ids[i] = Pop();
    return ids;
  }
  std::vector<PickleId> PopToMark() {
    if (marks_.empty()) Refuse("a mark", "none");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleId> ids(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return ids;
  }
  // The container on top of the stack, which the opcode adds to.
  PickleValue& Top(Kind kind) {
    const PickleId id = Pop();
    stack_.push_back(id);
    PickleValue& value = pickle_.values_[id];
    if (value.kind != kind) Refuse(KindName(kind), KindName(value.kind));
    return value;
  }

  // A little-endian number in two's complement, of any length in the format.
  bool PushLong(uint64_t count) {
    if (count > 8) Refuse("an int of at most 8 bytes", StrCat(count, " bytes"));
    const std::string_view digits = Take(count);
    uint64_t value = digits.empty() || (digits.back() & 0x80) == 0 ? 0 : ~uint64_t{0};
    for (size_t i = digits.size(); i-- > 0;) {
      value = (value << 8) | static_cast<uint8_t>(digits[i]);
    }
    return PushInt(static_cast<int64_t>(value));
  }

  // The format stores these with the most significant byte first.
  bool PushFloat() {
    uint64_t bits = 0;
    for (const char byte : Take(8)) bits = (bits << 8) | static_cast<uint8_t>(byte);
    return Push({.kind = Kind::kFloat, .real = std::bit_cast<double>(bits)});
  }

  // Names that nobody expects are refused here, before anything is made of them.
  bool PushGlobal(std::string_view module, std::string_view name) {
    const std::string full = StrCat(module.substr(0, 200), ".", name.substr(0, 200));
    if (full == kOrderedDict) return Push({.kind = Kind::kGlobal, .text = kOrderedDict});
    const auto known = std::ranges::find(globals_, std::string_view(full));
    if (known == globals_.end()) {
      Refuse("tensors and plain data only", full, "pickles may run programs; this is not run");
    }
    return Push({.kind = Kind::kGlobal, .text = *known});
  }

  // A function and the tuple of its arguments. An OrderedDict is made at once; all other calls are
  // left to the reader of the pickle.
  bool Call() {
    const PickleId arguments = Pop(), function = Pop();
    const PickleValue& callee = pickle_.values_[function];
    if (callee.kind != Kind::kGlobal) Refuse("a function", KindName(callee.kind));
    if (pickle_.values_[arguments].kind != Kind::kTuple) {
      Refuse("a tuple of arguments", KindName(pickle_.values_[arguments].kind));
    }
    if (callee.text != kOrderedDict) {
      return Push({.kind = Kind::kCall, .items = {function, arguments}});
    }
    if (!pickle_.values_[arguments].items.empty()) Refuse("an OrderedDict() to fill", "arguments");
    return Push({.kind = Kind::kDict});
  }

  void Remember(uint32_t index) {
    const PickleId id = Pop();
    stack_.push_back(id);
    memo_[index] = id;
  }
  bool Recall(uint32_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) Refuse("a value that was remembered", StrCat("number ", index));
    stack_.push_back(found->second);
    return true;
  }

  // Numbers and texts. Each of the three steps returns false for an opcode of another.
  bool StepData(uint8_t opcode) {
    switch (opcode) {
      case 'N':
        return Push({});
      case 0x88:  // NEWTRUE
      case 0x89:  // NEWFALSE
        return Push({.kind = Kind::kBool, .integer = opcode == 0x88});
      case 'J':
        return PushInt(Number<int32_t>());
      case 'K':
        return PushInt(Number<uint8_t>());
      case 'M':
        return PushInt(Number<uint16_t>());
      case 0x8a:  // LONG1
        return PushLong(Number<uint8_t>());
      case 0x8b:  // LONG4
        return PushLong(Number<uint32_t>());
      case 'G':
        return PushFloat();
      case 'X':
      case 'T':  // a text of Python 2
        return PushText(Take(Number<uint32_t>()));
      case 0x8c:  // SHORT_BINUNICODE
      case 'U':
        return PushText(Take(Number<uint8_t>()));
      case 0x8d:  // BINUNICODE8
        return PushText(Take(Number<uint64_t>()));
      case 'B':
        return PushBytes(Take(Number<uint32_t>()));
      case 'C':
        return PushBytes(Take(Number<uint8_t>()));
      case 0x8e:  // BINBYTES8
        return PushBytes(Take(Number<uint64_t>()));
      default:
        return false;
    }
  }

  // Adds to the list or dict that lies below `ids` on the stack.
  bool AddTo(Kind kind, std::vector<PickleId> ids) {
    if (kind == Kind::kDict && ids.size() % 2 != 0) Refuse("keys with their values", "a key alone");
    std::vector<PickleId>& items = Top(kind).items;
    items.insert(items.end(), ids.begin(), ids.end());
    return true;
  }

  // Tuples, lists and dicts.
  bool StepContainer(uint8_t opcode) {
    switch (opcode) {
      case '(':
        marks_.push_back(stack_.size());
        return true;
      case ')':
        return Push({.kind = Kind::kTuple});
      case 0x85:  // TUPLE1, TUPLE2, TUPLE3
      case 0x86:
      case 0x87:
        return Push({.kind = Kind::kTuple, .items = Pop(opcode - 0x84u)});
      case 't':
        return Push({.kind = Kind::kTuple, .items = PopToMark()});
      case ']':
        return Push({.kind = Kind::kList});
      case 'l':
        return Push({.kind = Kind::kList, .items = PopToMark()});
      case 'a':
        return AddTo(Kind::kList, Pop(1));
      case 'e':
        return AddTo(Kind::kList, PopToMark());
      case '}':
        return Push({.kind = Kind::kDict});
      case 'd':
        Push({.kind = Kind::kDict});
        return MoveBelowMark();
      case 's':
        return AddTo(Kind::kDict, Pop(2));
      case 'u':
        return AddTo(Kind::kDict, PopToMark());
      default:
        return false;
    }
  }

  // DICT takes keys and values up to the mark; the new dict lies on top of them.
  bool MoveBelowMark() {
    const PickleId dict = Pop();
    std::vector<PickleId> ids = PopToMark();
    stack_.push_back(dict);
    return AddTo(Kind::kDict, std::move(ids));
  }

  // Names, calls, and the machine's own business: memo, frames, the end.
  bool StepObject(uint8_t opcode) {
    switch (opcode) {
      case 'c': {
        const std::string_view module = Line();
        return PushGlobal(module, Line());
      }
      case 0x93: {  // STACK_GLOBAL
        const std::vector<PickleId> names = Pop(2);
        const PickleValue &module = pickle_.values_[names[0]], &name = pickle_.values_[names[1]];
        if (module.kind != Kind::kText || name.kind != Kind::kText) Refuse("two texts", "others");
        return PushGlobal(module.text, name.text);
      }
      case 'R':
      case 0x81:  // NEWOBJ: a class and its arguments
        return Call();
      case 'Q':
        return Push({.kind = Kind::kPersistent, .items = Pop(1)});
      case 'b':  // BUILD: attributes of an OrderedDict, such as the versions of a state dict
        (void)Pop();
        (void)Top(Kind::kDict);
        return true;
      default:
        return StepMachine(opcode);
    }
  }

  bool StepMachine(uint8_t opcode) {
    switch (opcode) {
      case 0x80: {  // PROTO
        const auto protocol = Number<uint8_t>();
        if (protocol < 2 || protocol > 5) Refuse("protocol 2 to 5", StrCat(int{protocol}));
        return true;
      }
      case 0x95:  // FRAME: how many bytes belong together, for readers of streams
        (void)Number<uint64_t>();
        return true;
      case 'q':
        Remember(Number<uint8_t>());
        return true;
      case 'r':
        Remember(Number<uint32_t>());
        return true;
      case 0x94:  // MEMOIZE
        Remember(static_cast<uint32_t>(memo_.size()));
        return true;
      case 'h':
        return Recall(Number<uint8_t>());
      case 'j':
        return Recall(Number<uint32_t>());
      case '0':
        (void)Pop();
        return true;
      case '1':
        (void)PopToMark();
        return true;
      case '.':
        is_done_ = true;
        return true;
      default:
        return false;
    }
  }

  std::span<const std::byte> bytes_;
  std::span<const std::string_view> globals_;
  size_t at_ = 0, opcode_at_ = 0;
  bool is_done_ = false;
  Pickle pickle_;
  std::vector<PickleId> stack_;
  std::vector<size_t> marks_;  // sizes of the stack
  std::unordered_map<uint32_t, PickleId> memo_;
};

Pickle Pickle::Read(std::span<const std::byte> bytes, std::span<const std::string_view> globals) {
  if (bytes.size() > kMostBytes) {
    ThrowExpected(StrCat("a pickle of at most ", HumanBytes(kMostBytes)), HumanBytes(bytes.size()));
  }
  return PickleMachine(bytes, globals).Run();
}

}  // namespace qualm
