// Reads the state dict of a torch.save archive. The pickle says for each tensor its storage, the
// first element in it, sizes and strides; all of that is checked against the storage's record
// before a view is made.
#include "io/torch_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "base/error_place.h"
#include "base/strings.h"
#include "io/file_kind.h"
#include "io/pickle.h"
#include "io/zip_records.h"

namespace qualm {
namespace {

using Kind = PickleValue::Kind;
using Records = std::map<std::string_view, std::span<const std::byte>>;

constexpr std::string_view kSaveHint =
    "load it in Python by torch.load(FILE, weights_only=True) and save the model's state_dict() "
    "again";
constexpr size_t kMostDimensions = 32;
constexpr size_t kMostNameBytes = 200;                // of a module and of a key
constexpr size_t kMostEntries = size_t{1} << 20;      // of all modules: they may share a dict
constexpr size_t kMostLooseCopies = size_t{1} << 20;  // bytes of copies beyond the file's own size

constexpr std::string_view kTensor2 = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view kTensor3 = "torch._utils._rebuild_tensor_v3";
constexpr std::string_view kParameter = "torch._utils._rebuild_parameter";
constexpr std::string_view kUntypedStorage = "torch.storage.UntypedStorage";
constexpr std::string_view kSize = "torch.Size";

// An element type by the class of its storage and by the name that a tensor of an untyped storage
// has it under. Types without `type` are not computed with.
struct ElementType {
  std::string_view storage, dtype, name;
  std::optional<DType> type;
  size_t bytes;
};
constexpr ElementType kElementTypes[] = {
    {"torch.DoubleStorage", "torch.float64", "F64", DType::kF64, 8},
    {"torch.FloatStorage", "torch.float32", "F32", DType::kF32, 4},
    {"torch.HalfStorage", "torch.float16", "F16", DType::kF16, 2},
    {"torch.BFloat16Storage", "torch.bfloat16", "BF16", DType::kBF16, 2},
    {"torch.LongStorage", "torch.int64", "I64", DType::kI64, 8},
    {"torch.IntStorage", "torch.int32", "I32", DType::kI32, 4},
    {"torch.ShortStorage", "torch.int16", "I16", DType::kI16, 2},
    {"torch.CharStorage", "torch.int8", "I8", DType::kI8, 1},
    {"torch.ByteStorage", "torch.uint8", "U8", DType::kU8, 1},
    {"torch.BoolStorage", "torch.bool", "BOOL", DType::kBool, 1},
    {"torch.ComplexFloatStorage", "torch.complex64", "C64", std::nullopt, 8},
    {"torch.ComplexDoubleStorage", "torch.complex128", "C128", std::nullopt, 16},
    {"", "torch.uint16", "U16", std::nullopt, 2},
    {"", "torch.uint32", "U32", std::nullopt, 4},
    {"", "torch.uint64", "U64", std::nullopt, 8},
    {"", "torch.float8_e4m3fn", "F8_E4M3", std::nullopt, 1},
    {"", "torch.float8_e5m2", "F8_E5M2", std::nullopt, 1},
    {"", "torch.float8_e4m3fnuz", "F8_E4M3FNUZ", std::nullopt, 1},
    {"", "torch.float8_e5m2fnuz", "F8_E5M2FNUZ", std::nullopt, 1},
    {"", "torch.float8_e8m0fnu", "F8_E8M0", std::nullopt, 1},
};

// Every name that a state dict may hold.
std::vector<std::string_view> KnownGlobals() {
  std::vector<std::string_view> names = {kTensor2, kTensor3, kParameter, kUntypedStorage, kSize};
  for (const ElementType& element : kElementTypes) {
    if (!element.storage.empty()) names.push_back(element.storage);
    names.push_back(element.dtype);
  }
  return names;
}

// A storage: the bytes of its record and their type, which an untyped one leaves to its tensors.
struct Storage {
  std::span<const std::byte> bytes;
  const ElementType* element = nullptr;
};

std::string_view TextOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// "model.norm.weight"; a hostile name is cut short.
std::string TensorPlace(std::string_view name) {
  return StrCat("tensor '", name.substr(0, 200), "'");
}

// Reads one archive. Read is called once.
class TorchReader {
 public:
  TorchReader(std::span<const std::byte> file_bytes, TorchContents contents, TensorCopies& copies)
      : file_bytes_(file_bytes),
        contents_(contents),
        copies_(copies),
        records_(ReadStoredRecords(file_bytes)) {}

  std::vector<TensorView> Read(std::map<std::string, std::string>* unread) {
    FindRoot();
    static const std::vector<std::string_view> kGlobals = KnownGlobals();
    const std::string pickle_name = root_ + "data.pkl";
    pickle_ =
        At(pickle_name, [&] { return Pickle::Read(records_.find(pickle_name)->second, kGlobals); });

    const PickleValue& dict = pickle_.root();
    if (dict.kind != Kind::kDict) {
      ThrowExpected("a state dict (names and tensors)", KindName(dict.kind), kSaveHint);
    }
    std::vector<TensorView> tensors;
    std::set<std::string_view> names;
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      const std::string_view name = NameOfTensor(pickle_[dict.items[i]]);
      At([&] { return TensorPlace(name); },
         [&] {
           if (!names.insert(name).second) ThrowExpected("one tensor of each name", "two");
           const PickleValue& value = pickle_[dict.items[i + 1]];
           if (contents_ == TorchContents::kModules) {
             AddModule(std::string(name), value, tensors, unread);
           } else {
             AddTensor(name, value, tensors, unread);
           }
         });
    }
    return tensors;
  }

 private:
  // All records lie in one folder, whose name is free. Its data.pkl tells it.
  void FindRoot() {
    for (const auto& [name, bytes] : records_) {
      const size_t slash = name.find('/');
      if (slash == std::string_view::npos || name.substr(slash + 1) != "data.pkl") continue;
      if (!root_.empty()) ThrowExpected("one data.pkl in the archive", "two");
      root_ = name.substr(0, slash + 1);
    }
    if (root_.empty()) {
      ThrowExpected("an archive of torch.save, with data.pkl", "one without it", kSaveHint);
    }
    if (records_.contains(root_ + "constants.pkl")) {
      ThrowExpected("tensors as torch.save writes them", "a TorchScript program", kSaveHint);
    }

    // Archives from before 2.1 do not say it, and are little-endian.
    const auto order = records_.find(root_ + "byteorder");
    if (order != records_.end() && TextOf(order->second) != "little") {
      ThrowBadInput(root_ + "byteorder", "little",
                    StrCat("'", TextOf(order->second).substr(0, 20), "'"),
                    "save it on a little-endian machine");
    }
  }

  static std::string_view NameOfTensor(const PickleValue& key) {
    if (key.kind != Kind::kText) ThrowExpected("names of tensors as keys", KindName(key.kind));
    if (!IsValidUtf8(key.text)) ThrowExpected("names in UTF-8", "other bytes");
    return key.text;
  }

  // The arguments of a call of one of `functions`, of which there are at least `count`.
  const std::vector<PickleId>& ArgumentsOf(const PickleValue& call,
                                           std::initializer_list<std::string_view> functions,
                                           size_t count) const {
    if (call.kind != Kind::kCall) {
      ThrowExpected("a tensor", KindName(call.kind),
                    "the file must hold the names and tensors themselves, as state_dict() gives "
                    "them");
    }
    const std::string_view function = FunctionOf(call);
    if (std::ranges::find(functions, function) == functions.end()) {
      ThrowExpected("a tensor", StrCat("a call of ", function));
    }
    const std::vector<PickleId>& arguments = pickle_[call.items[1]].items;
    if (arguments.size() < count) {
      ThrowExpected(StrCat(function, " with ", count, " arguments"), StrCat(arguments.size()));
    }
    return arguments;
  }
  std::string_view FunctionOf(const PickleValue& call) const { return pickle_[call.items[0]].text; }

  // A non-negative number.
  size_t SizeOfValue(PickleId id, std::string_view what) const {
    const PickleValue& value = pickle_[id];
    if (value.kind != Kind::kInt || value.integer < 0) {
      ThrowExpected(StrCat(what, " that is not negative"),
                    value.kind == Kind::kInt ? StrCat(value.integer) : KindName(value.kind));
    }
    return static_cast<size_t>(value.integer);
  }
  std::vector<size_t> SizesOf(PickleId id, std::string_view what) const {
    const PickleValue& tuple = pickle_[id];
    if (tuple.kind != Kind::kTuple || tuple.items.size() > kMostDimensions) {
      ThrowExpected(StrCat(what, " as a short tuple"), KindName(tuple.kind));
    }
    std::vector<size_t> sizes;
    for (const PickleId item : tuple.items) sizes.push_back(SizeOfValue(item, what));
    return sizes;
  }

  // ("storage", class, key, device, elements), kept outside of the pickle in the record data/KEY.
  Storage StorageOf(PickleId id) const {
    const PickleValue& value = pickle_[id];
    if (value.kind != Kind::kPersistent) ThrowExpected("a storage", KindName(value.kind));
    const PickleValue& tuple = pickle_[value.items[0]];
    if (tuple.kind != Kind::kTuple || tuple.items.size() != 5 ||
        pickle_[tuple.items[0]].text != "storage" || pickle_[tuple.items[2]].kind != Kind::kText) {
      ThrowExpected("a storage with its class, key, device and size", "another object");
    }

    const std::string_view type = pickle_[tuple.items[1]].text;
    const auto* element = std::ranges::find(kElementTypes, type, &ElementType::storage);
    const bool is_untyped = type == kUntypedStorage;
    if (pickle_[tuple.items[1]].kind != Kind::kGlobal ||
        (element == std::end(kElementTypes) && !is_untyped)) {
      ThrowExpected("the class of a storage", StrCat("'", type.substr(0, 80), "'"));
    }

    const std::string_view key = pickle_[tuple.items[2]].text;
    const std::string name = StrCat(root_, "data/", key.substr(0, 200));
    const auto record = records_.find(name);
    if (record == records_.end()) ThrowExpected(StrCat("the record ", name), "none");

    // An untyped storage counts bytes.
    size_t bytes = SizeOfValue(tuple.items[4], "a number of elements");
    if (__builtin_mul_overflow(bytes, is_untyped ? 1 : element->bytes, &bytes) ||
        bytes != record->second.size()) {
      ThrowBadInput(name, StrCat(SizeOfValue(tuple.items[4], "size"), " elements of ", type),
                    StrCat(record->second.size(), " bytes"), "the file may be damaged");
    }
    return {record->second, is_untyped ? nullptr : &*element};
  }

  // _rebuild_tensor_v2(storage, offset, sizes, strides, ...), or v3 with the element type as the
  // seventh argument; a parameter is a tensor in one more call.
  void AddTensor(std::string_view name, const PickleValue& value, std::vector<TensorView>& tensors,
                 std::map<std::string, std::string>* unread) {
    const bool is_parameter = value.kind == Kind::kCall && FunctionOf(value) == kParameter;
    const PickleValue& call =
        is_parameter ? pickle_[ArgumentsOf(value, {kParameter}, 1)[0]] : value;
    const std::vector<PickleId>& arguments = ArgumentsOf(call, {kTensor2, kTensor3}, 4);
    Storage storage = StorageOf(arguments[0]);
    if (FunctionOf(call) == kTensor3) {
      const std::string_view dtype = pickle_[ArgumentsOf(call, {kTensor3}, 7)[6]].text;
      const auto* element = std::ranges::find(kElementTypes, dtype, &ElementType::dtype);
      if (element == std::end(kElementTypes)) ThrowExpected("an element type", "another object");
      storage.element = element;
    }
    if (storage.element == nullptr) ThrowExpected("a storage with a type", kUntypedStorage);

    const std::vector<size_t> sizes = SizesOf(arguments[2], "sizes");
    const std::vector<size_t> strides = SizesOf(arguments[3], "strides");
    const size_t offset = SizeOfValue(arguments[1], "an offset");
    if (sizes.size() != strides.size()) {
      ThrowExpected("as many strides as sizes", StrCat(strides.size(), " and ", sizes.size()));
    }
    const size_t elements = ElementsWithin(storage, offset, sizes, strides);

    if (!storage.element->type) {
      if (unread != nullptr) unread->emplace(name, storage.element->name);
      return;
    }
    TensorView tensor{std::string(name), *storage.element->type, sizes, {}};
    tensor.bytes = BytesOf(storage, offset, sizes, strides, elements);
    tensors.push_back(std::move(tensor));
  }

  // A dict of a module's tensors and what describes them: MODULE.KEY. What is in the dict "meta" of
  // older files is named as if it were next to it.
  void AddModule(const std::string& module, const PickleValue& dict,
                 std::vector<TensorView>& tensors, std::map<std::string, std::string>* unread) {
    if (dict.kind != Kind::kDict) {
      ThrowExpected("a dict of the module's tensors", KindName(dict.kind));
    }
    if (module.size() > kMostNameBytes) {
      ThrowExpected(StrCat("a name of at most ", kMostNameBytes, " bytes"), StrCat(module.size()));
    }
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      const std::string_view key = NameOfTensor(pickle_[dict.items[i]]);
      const PickleValue& value = pickle_[dict.items[i + 1]];
      if (key == "meta" && value.kind == Kind::kDict && !is_in_meta_) {
        is_in_meta_ = true;
        AddModule(module, value, tensors, unread);
        is_in_meta_ = false;
        continue;
      }
      if (key.size() > kMostNameBytes) {
        ThrowExpected(StrCat("a key of at most ", kMostNameBytes, " bytes"), StrCat(key.size()));
      }
      if (++entries_ > kMostEntries) {
        ThrowExpected(StrCat("at most ", kMostEntries, " entries of modules"), StrCat(entries_));
      }
      const std::string name = StrCat(module, ".", key);
      At(key, [&] { AddValue(name, value, tensors, unread); });
    }
  }

  // A tensor; or a number, a text, the name of a type or a size, as a tensor of it. None is
  // nothing.
  void AddValue(const std::string& name, const PickleValue& value, std::vector<TensorView>& tensors,
                std::map<std::string, std::string>* unread) {
    switch (value.kind) {
      case Kind::kNone:
        return;
      case Kind::kBool:
        return AddCopy(name, DType::kBool, {}, std::string(1, value.integer != 0 ? '\1' : '\0'),
                       tensors);
      case Kind::kInt:
        return AddNumbers(name, {}, {value.integer}, tensors);
      case Kind::kText:
      case Kind::kGlobal:
        return AddCopy(name, DType::kU8, {value.text.size()}, value.text, tensors);
      default:
        break;
    }
    if (value.kind != Kind::kCall || FunctionOf(value) != kSize) {
      return AddTensor(name, value, tensors, unread);
    }
    std::vector<int64_t> sizes;
    for (const size_t size : SizesOf(ArgumentsOf(value, {kSize}, 1)[0], "sizes")) {
      sizes.push_back(static_cast<int64_t>(size));
    }
    AddNumbers(name, {sizes.size()}, sizes, tensors);
  }
  void AddNumbers(const std::string& name, std::vector<size_t> shape,
                  const std::vector<int64_t>& numbers, std::vector<TensorView>& tensors) {
    AddCopy(name, DType::kI64, std::move(shape),
            {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(int64_t)},
            tensors);
  }
  void AddCopy(const std::string& name, DType type, std::vector<size_t> shape,
               std::string_view bytes, std::vector<TensorView>& tensors) {
    if (bytes.size() > file_bytes_.size() + kMostLooseCopies - copied_) {
      ThrowExpected("texts that are no longer than the file", StrCat(bytes.size(), " more bytes"));
    }
    copied_ += bytes.size();
    const auto span = std::as_bytes(std::span(bytes));
    copies_.emplace_back(span.begin(), span.end());
    tensors.push_back({name, type, std::move(shape), copies_.back()});
  }

  // The number of elements, after checking that the last of them lies in the storage.
  static size_t ElementsWithin(const Storage& storage, size_t offset, std::span<const size_t> sizes,
                               std::span<const size_t> strides) {
    size_t elements = 1, last = offset;
    bool overflows = false;
    for (size_t i = 0; i < sizes.size(); ++i) {
      size_t reach = 0;
      overflows |= __builtin_mul_overflow(elements, sizes[i], &elements);
      overflows |= __builtin_mul_overflow(sizes[i] - (sizes[i] > 0 ? 1 : 0), strides[i], &reach);
      overflows |= __builtin_add_overflow(last, reach, &last);
    }
    const size_t held = storage.bytes.size() / storage.element->bytes;
    const bool is_empty = std::ranges::find(sizes, size_t{0}) != sizes.end();
    if (overflows || (!is_empty && last >= held)) {
      ThrowExpected(StrCat("a tensor within the ", held, " elements of its storage"),
                    overflows ? "sizes beyond 64 bits" : StrCat("element ", last));
    }
    return is_empty ? 0 : elements;
  }

  // The elements row by row: in the file if they lie there so, otherwise copied.
  std::span<const std::byte> BytesOf(const Storage& storage, size_t offset,
                                     std::span<const size_t> sizes, std::span<const size_t> strides,
                                     size_t elements) {
    const size_t bytes = storage.element->bytes;
    if (elements == 0) return {};
    bool is_in_order = true;
    size_t expected = 1;
    for (size_t i = sizes.size(); i-- > 0;) {
      if (sizes[i] == 1) continue;
      is_in_order = is_in_order && strides[i] == expected;
      expected *= sizes[i];
    }
    if (is_in_order) return storage.bytes.subspan(offset * bytes, elements * bytes);

    // A stride of zero repeats elements: the copies of a small file may not fill the memory.
    const size_t most = file_bytes_.size() + kMostLooseCopies - copied_;
    if (elements > most / bytes) {
      ThrowExpected("views whose elements are as many as the file's", StrCat(elements, " elements"),
                    "save the tensors after .contiguous()");
    }
    copied_ += elements * bytes;
    copies_.push_back(InOrder(storage, offset, sizes, strides, elements));
    return copies_.back();
  }

  static std::vector<std::byte> InOrder(const Storage& storage, size_t offset,
                                        std::span<const size_t> sizes,
                                        std::span<const size_t> strides, size_t elements) {
    const size_t bytes = storage.element->bytes;
    std::vector<std::byte> copy(elements * bytes);
    std::array<size_t, kMostDimensions> index{};
    size_t from = offset;

    // The index counts up like an odometer, and `from` follows it.
    for (size_t to = 0; to < elements; ++to) {
      std::memcpy(copy.data() + to * bytes, storage.bytes.data() + from * bytes, bytes);
      for (size_t i = sizes.size(); i-- > 0;) {
        from += strides[i];
        if (++index[i] < sizes[i]) break;
        from -= strides[i] * sizes[i];
        index[i] = 0;
      }
    }
    return copy;
  }

  std::span<const std::byte> file_bytes_;
  TorchContents contents_;
  bool is_in_meta_ = false;
  size_t entries_ = 0;  // of modules
  TensorCopies& copies_;
  Records records_;
  std::string root_;  // "archive/"
  Pickle pickle_;
  size_t copied_ = 0;  // bytes
};

// Other files that are called pytorch_model.bin, told by their first bytes.
void RefuseOtherKinds(std::span<const std::byte> file_bytes) {
  const std::string_view front = TextOf(file_bytes.first(std::min<size_t>(file_bytes.size(), 64)));
  constexpr std::string_view kExpected = "an archive of torch.save (a zip file)";
  if (IsGitLfsPointer(front)) {
    ThrowExpected(kExpected, "a git-lfs pointer to it", "get the file by git lfs pull");
  }
  if (IsGguf(front)) ThrowExpected(kExpected, "a GGUF file");
  if (front.starts_with('\x80')) {
    ThrowExpected(kExpected, "a bare pickle, the form from before PyTorch 1.6", kSaveHint);
  }
  if (!IsPickle(front)) ThrowExpected(kExpected, "other bytes", "the file may be damaged");
}

}  // namespace

std::vector<TensorView> ParseTorchFile(std::span<const std::byte> file_bytes,
                                       std::string_view place, TensorCopies& copies,
                                       std::map<std::string, std::string>* unread,
                                       TorchContents contents) {
  return At(place, [&] {
    RefuseOtherKinds(file_bytes);
    return TorchReader(file_bytes, contents, copies).Read(unread);
  });
}

TorchContents ContentsOf(const std::filesystem::path& path) {
  return path.filename() == "qmodel.pt" ? TorchContents::kModules : TorchContents::kTensors;
}

bool IsTorchFileName(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".bin" || extension == ".pt" || extension == ".pth";
}

}  // namespace qualm
