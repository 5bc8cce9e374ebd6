// MT19937, and the ways in which CPython's Modules/_randommodule.c and Lib/random.py make numbers
// and samples of its words.
#include "base/python_random.h"

#include <bit>
#include <cmath>
#include <unordered_set>

#include "base/error.h"

namespace qualm {

PythonRandom::PythonRandom(uint64_t seed) {
  // init_genrand(19650218)
  state_[0] = 19650218;
  for (uint32_t i = 1; i < kWords; ++i) {
    state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
  }

  // init_by_array: the seed's 32-bit words, the lowest first; at least one.
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed),
                                       static_cast<uint32_t>(seed >> 32)};
  const uint32_t length = key[1] == 0 ? 1 : 2;
  size_t i = 1;
  uint32_t j = 0;
  const auto advance = [&] {
    if (++i < kWords) return;
    state_[0] = state_[kWords - 1];
    i = 1;
  };
  for (size_t round = 0; round < kWords; ++round) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1664525u)) + key[j] + j;
    advance();
    if (++j >= length) j = 0;
  }
  for (size_t round = 1; round < kWords; ++round) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1566083941u)) -
                static_cast<uint32_t>(i);
    advance();
  }
  state_[0] = 0x80000000u;
}

void PythonRandom::Refill() {
  constexpr size_t kShift = 397;
  for (size_t i = 0; i < kWords; ++i) {
    const uint32_t word = (state_[i] & 0x80000000u) | (state_[(i + 1) % kWords] & 0x7fffffffu);
    state_[i] = state_[(i + kShift) % kWords] ^ (word >> 1) ^ ((word & 1) != 0 ? 0x9908b0dfu : 0);
  }
  next_ = 0;
}

uint32_t PythonRandom::Next() {
  if (next_ == kWords) Refill();
  uint32_t word = state_[next_++];
  word ^= word >> 11;
  word ^= (word << 7) & 0x9d2c5680u;
  word ^= (word << 15) & 0xefc60000u;
  return word ^ (word >> 18);
}

uint64_t PythonRandom::Bits(int count) {
  QUALM_CHECK(count >= 1 && count <= 64);
  if (count <= 32) return Next() >> (32 - count);
  const uint64_t low = Next();
  return low | static_cast<uint64_t>(Next() >> (64 - count)) << 32;
}

uint64_t PythonRandom::Below(uint64_t end) {
  QUALM_CHECK(end > 0);
  const auto bits = static_cast<int>(std::bit_width(end));
  uint64_t drawn = Bits(bits);
  while (drawn >= end) drawn = Bits(bits);
  return drawn;
}

std::vector<size_t> PythonRandom::Sample(size_t total, size_t count) {
  QUALM_CHECK(count <= total);
  std::vector<size_t> drawn(count);

  // Python weighs the memory of a list of all against that of a set of the drawn ones; each has
  // its own way of using the generator.
  size_t set_size = 21;
  if (count > 5) {
    const double power = std::ceil(std::log(static_cast<double>(count * 3)) / std::log(4.0));
    set_size += static_cast<size_t>(std::pow(4.0, power));
  }

  if (total <= set_size) {
    // What is drawn is replaced by the last one that is left.
    std::vector<size_t> pool(total);
    for (size_t i = 0; i < total; ++i) pool[i] = i;
    for (size_t i = 0; i < count; ++i) {
      const auto at = static_cast<size_t>(Below(total - i));
      drawn[i] = pool[at];
      pool[at] = pool[total - i - 1];
    }
    return drawn;
  }

  std::unordered_set<size_t> selected;
  for (size_t& one : drawn) {
    do {
      one = static_cast<size_t>(Below(total));
    } while (!selected.insert(one).second);
  }
  return drawn;
}

}  // namespace qualm
