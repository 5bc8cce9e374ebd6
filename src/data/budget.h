// How much one input file may become in memory. Small files can be made that unpack to gigabytes
// (runs, dictionaries, compressed zeros), so readers count what they make and not what a file
// promises.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {

inline constexpr uint64_t kBudgetFloorBytes = uint64_t{64} << 20;
inline constexpr uint64_t kBudgetPerInputByte = 64;

// Bytes of JSON values in memory, for charging: of a value itself, and of a member of an object,
// which holds a name and a value.
inline constexpr uint64_t kValueBytes = 16;
inline constexpr uint64_t kMemberBytes = 48;

// One per input file. Every part of a reader charges the same budget before it allocates.
class Budget {
 public:
  // `place` is used in the error message.
  Budget(uint64_t input_bytes, std::string_view place)
      : limit_(LimitFor(input_bytes)), place_(place) {}

  // 64 MiB and 64 times the input.
  static uint64_t LimitFor(uint64_t input_bytes) {
    const uint64_t most = (UINT64_MAX - kBudgetFloorBytes) / kBudgetPerInputByte;
    return input_bytes > most ? UINT64_MAX : kBudgetFloorBytes + kBudgetPerInputByte * input_bytes;
  }

  // Throws bad input that names the budget once more than the limit is charged.
  void Charge(uint64_t bytes) {
    if (bytes > limit_ - charged_) {
      ThrowBadInput(place_,
                    StrCat("at most ", HumanBytes(limit_),
                           " of unpacked data, the budget of a file of this size (64 MiB and 64 "
                           "times its bytes)"),
                    "more", "split the file, or store it with less compression");
    }
    charged_ += bytes;
  }

  // The same for `count` things of `each` bytes.
  void Charge(uint64_t count, uint64_t each) {
    uint64_t bytes = 0;
    Charge(__builtin_mul_overflow(count, each, &bytes) ? UINT64_MAX : bytes);
  }

 private:
  uint64_t limit_, charged_ = 0;
  std::string place_;
};

}  // namespace qualm
