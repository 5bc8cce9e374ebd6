// The one source of randomness: xoshiro256** (Blackman & Vigna 2018) seeded through splitmix64.
// The same seed gives the same numbers on every machine; std::distributions do not promise that.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace qualm {

// One stream of random numbers. Copies continue independently from the same state.
class Rng {
 public:
  explicit Rng(uint64_t seed);
  // An independent stream for a named purpose: Rng(seed, "held-out").
  Rng(uint64_t seed, std::string_view stream);

  uint64_t Next();             // 64 uniform bits
  uint64_t Below(uint64_t n);  // uniform in [0, n), n > 0, without modulo bias
  double Uniform();            // uniform in [0, 1), 53 bits
  double Normal();             // standard normal (Box-Muller, both halves used)

 private:
  std::array<uint64_t, 4> state_;
  double spare_ = 0;
  bool has_spare_ = false;
};

// A uniform random order, by Fisher and Yates.
template <typename T>
void Shuffle(std::vector<T>& values, Rng& rng) {
  for (size_t i = values.size(); i > 1; --i) {
    std::swap(values[i - 1], values[static_cast<size_t>(rng.Below(i))]);
  }
}

}  // namespace qualm
