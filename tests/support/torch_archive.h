// Archives as torch.save lays them out, with parts that torch would not write.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qualm::testing {

// A state dict {"a": tensor} over a storage of four floats. Each call changes one part.
class TorchArchive {
 public:
  TorchArchive& Tensor(int64_t offset, std::vector<int64_t> sizes, std::vector<int64_t> strides) {
    offset_ = offset;
    sizes_ = std::move(sizes);
    strides_ = std::move(strides);
    return *this;
  }
  // "module\nname\n"
  TorchArchive& Storage(std::string_view global) {
    storage_ = global;
    return *this;
  }
  // The whole pickle.
  TorchArchive& Pickle(std::string pickle) {
    pickle_ = std::move(pickle);
    return *this;
  }
  // A further record, or one less.
  TorchArchive& With(std::string name, std::string bytes) {
    more_.emplace_back(std::move(name), std::move(bytes));
    return *this;
  }
  TorchArchive& Without(std::string name) {
    without_ = std::move(name);
    return *this;
  }
  // Of all records in the directory.
  TorchArchive& Method(uint16_t method) {
    method_ = method;
    return *this;
  }
  TorchArchive& Flags(uint16_t flags) {
    flags_ = flags;
    return *this;
  }

  std::string Bytes() const {
    std::vector<std::pair<std::string, std::string>> records = {
        {"data.pkl", pickle_.empty() ? TensorPickle() : pickle_},
        {"data/0", std::string(16, '\0')},
        {"version", "3\n"}};
    records.insert(records.end(), more_.begin(), more_.end());

    // Records, each after its local header, then the directory, then the end.
    std::string file, directory;
    uint16_t count = 0;
    for (const auto& [name, bytes] : records) {
      if (name == without_) continue;
      const std::string full = "archive/" + name;
      const auto at = static_cast<uint32_t>(file.size());
      const auto size = static_cast<uint32_t>(bytes.size());
      // Data begins at a multiple of 64: torch fills the extra part of the header for that.
      const auto padding = static_cast<uint16_t>((64 - (at + 30 + full.size()) % 64) % 64);
      file += "PK\3\4" + Little<uint16_t>(0) + Little(flags_) + Little(method_) +
              Little<uint64_t>(0) + Little(size) + Little(size) +
              Little(static_cast<uint16_t>(full.size())) + Little(padding) + full +
              std::string(padding, 'Z') + bytes;
      directory += "PK\1\2" + Little<uint32_t>(0) + Little(flags_) + Little(method_) +
                   Little<uint64_t>(0) + Little(size) + Little(size) +
                   Little(static_cast<uint16_t>(full.size())) + std::string(12, '\0') + Little(at) +
                   full;
      ++count;
    }
    const auto begin = static_cast<uint32_t>(file.size());
    return file + directory + "PK\5\6" + Little<uint32_t>(0) + Little(count) + Little(count) +
           Little(static_cast<uint32_t>(directory.size())) + Little(begin) + Little<uint16_t>(0);
  }

 private:
  template <class Number>
  static std::string Little(Number value) {
    std::string text;
    for (size_t i = 0; i < sizeof value; ++i) {
      text += static_cast<char>(static_cast<uint64_t>(value) >> (8 * i) & 0xff);
    }
    return text;
  }
  static std::string Text(std::string_view text) {
    return "X" + Little(static_cast<uint32_t>(text.size())) + std::string(text);
  }
  static std::string Int(int64_t value) { return "\x8a\x08" + Little(value); }
  static std::string Tuple(const std::vector<int64_t>& values) {
    std::string text = "(";
    for (const int64_t value : values) text += Int(value);
    return text + "t";
  }

  // As torch writes it with protocol 2.
  std::string TensorPickle() const {
    return "\x80\x02}q" + std::string(1, '\0') + Text("a") +
           "ctorch._utils\n_rebuild_tensor_v2\n((" + Text("storage") + "c" + storage_ + Text("0") +
           Text("cpu") + "K\x04tQ" + Int(offset_) + Tuple(sizes_) + Tuple(strides_) +
           "\x89"
           "ccollections\nOrderedDict\n)RtRs.";
  }

  int64_t offset_ = 0;
  std::vector<int64_t> sizes_ = {2, 2}, strides_ = {2, 1};
  std::string storage_ = "torch\nFloatStorage\n", pickle_, without_;
  std::vector<std::pair<std::string, std::string>> more_;
  uint16_t method_ = 0, flags_ = 0;
};

}  // namespace qualm::testing
