// The numbers of Python's random.Random(seed): the generator is MT19937 (Matsumoto & Nishimura
// 1998) seeded by an array of 32-bit words. For what must draw the rows that Python programs draw;
// our own choices use base/rng.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace qualm {

// One generator. Calls continue where the last one ended.
class PythonRandom {
 public:
  // random.Random(seed) of a whole number that is not negative.
  explicit PythonRandom(uint64_t seed);

  uint32_t Next();               // 32 uniform bits
  uint64_t Bits(int count);      // getrandbits(count), 1 to 64
  uint64_t Below(uint64_t end);  // _randbelow(end), `end` > 0
  // The places that sample(population, count) of CPython 3.8 to 3.13 takes of `total`, in the order
  // drawn. Requires: count <= total.
  std::vector<size_t> Sample(size_t total, size_t count);

 private:
  void Refill();

  static constexpr size_t kWords = 624;
  std::array<uint32_t, kWords> state_;
  size_t next_ = kWords;  // the first word that was not given out
};

}  // namespace qualm
