// Reading FlatBuffers without generated code: tables, vectors and texts at checked offsets.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/error.h"

namespace qualm {

class FlatTable {
 public:
  // The root table of a buffer. Throws bad input for offsets outside of it, as all below do.
  static FlatTable Root(std::string_view buffer, std::string_view place) {
    const FlatTable whole(buffer, 0, place);
    return {buffer, whole.At<uint32_t>(0), place};
  }

  template <typename T>
  T Scalar(int field, T fallback) const {
    const std::optional<uint64_t> at = Field(field);
    return at ? At<T>(*at) : fallback;
  }

  std::optional<FlatTable> Table(int field) const {
    const std::optional<uint64_t> at = Field(field);
    if (!at) return std::nullopt;
    return FlatTable(buffer_, Target(*at), place_);
  }

  std::string_view Text(int field) const {
    const std::optional<uint64_t> at = Field(field);
    if (!at) return {};
    const uint64_t target = Target(*at);
    const auto size = At<uint32_t>(target);
    Require(target + 4 + size <= buffer_.size());
    return buffer_.substr(target + 4, size);
  }

  uint32_t VectorSize(int field) const {
    const std::optional<uint64_t> at = Field(field);
    return at ? At<uint32_t>(Target(*at)) : 0;
  }
  FlatTable VectorTable(int field, uint32_t index) const {
    const uint64_t at = Target(*Field(field)) + 4 + 4 * uint64_t{index};
    return {buffer_, Target(at), place_};
  }
  // Of structs of `size` bytes: a number `offset` bytes into one.
  template <typename T>
  T VectorStruct(int field, uint32_t index, uint64_t size, uint64_t offset) const {
    return At<T>(Target(*Field(field)) + 4 + size * index + offset);
  }

 private:
  FlatTable(std::string_view buffer, uint64_t at, std::string_view place)
      : buffer_(buffer), at_(at), place_(place) {}

  void Require(bool holds) const {
    if (!holds) ThrowBadInput(place_, "a header whose offsets stay inside", "others");
  }
  template <typename T>
  T At(uint64_t at) const {
    Require(at <= buffer_.size() && buffer_.size() - at >= sizeof(T));
    T value;
    std::memcpy(&value, buffer_.data() + at, sizeof(T));
    return value;
  }
  uint64_t Target(uint64_t at) const { return at + At<uint32_t>(at); }

  // Where the field's value stands; none: it is absent.
  std::optional<uint64_t> Field(int field) const {
    const int64_t table = static_cast<int64_t>(at_) - At<int32_t>(at_);
    Require(table >= 0);
    const auto size = At<uint16_t>(static_cast<uint64_t>(table));
    const uint64_t entry = 4 + 2 * static_cast<uint64_t>(field);
    if (entry + 2 > size) return std::nullopt;
    const auto offset = At<uint16_t>(static_cast<uint64_t>(table) + entry);
    if (offset == 0) return std::nullopt;
    return at_ + offset;
  }

  std::string_view buffer_;
  uint64_t at_;
  std::string_view place_;
};

}  // namespace qualm
