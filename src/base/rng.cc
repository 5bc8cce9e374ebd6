// xoshiro256** with its seeding, and the few distributions that are built on it. Integer
// arithmetic alone makes the bits, so every machine draws the same ones.
#include "base/rng.h"

#include <bit>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace qualm {

// splitmix64, as the authors of xoshiro recommend for seeding: equal seeds give equal states, and
// near seeds give unrelated ones.
static uint64_t SplitMix(uint64_t& x) {
  x += 0x9e3779b97f4a7c15u;
  uint64_t z = x;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

Rng::Rng(uint64_t seed) {
  for (uint64_t& word : state_) word = SplitMix(seed);
}

// Mixes the name of a stream into the seed by FNV-1a.
static uint64_t MixName(uint64_t seed, std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return SplitMix(seed) ^ hash;
}

Rng::Rng(uint64_t seed, std::string_view stream) : Rng(MixName(seed, stream)) {}

// One step of xoshiro256**: the result is a scramble of the old state.
uint64_t Rng::Next() {
  uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

uint64_t Rng::Below(uint64_t n) {
  QUALM_CHECK(n > 0);
  // The number of raw values is not a multiple of n, so the first few are rejected.
  uint64_t threshold = (0 - n) % n;  // smaller values would make small results likelier
  while (true) {
    uint64_t value = Next();
    if (value >= threshold) return value % n;
  }
}

double Rng::Uniform() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

double Rng::Normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }

  // Box-Muller makes two independent numbers at a time; the second one is kept.
  double radius = std::sqrt(-2 * std::log(1 - Uniform()));
  double angle = 2 * std::numbers::pi * Uniform();
  spare_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

}  // namespace qualm
