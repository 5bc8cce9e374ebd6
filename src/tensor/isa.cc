// Finds the fastest instruction set of this processor and holds the one that is in use. Kernels
// read it at every call, so a test can pin a slower one at any time.
#include "tensor/isa.h"

#include <algorithm>
#include <array>
#include <atomic>

#ifndef QUALM_PORTABLE
#include "hwy/highway.h"
#endif

namespace qualm {
namespace {

constexpr std::array<std::string_view, 3> kNames = {"scalar", "avx2", "avx512"};

// The fastest set that this build and this processor have in common.
Isa Best() {
#ifdef QUALM_PORTABLE
  return Isa::kScalar;
#else
  return (hwy::SupportedTargets() & HWY_AVX3) != 0 ? Isa::kAvx512 : Isa::kAvx2;
#endif
}

// Chosen at the first use; atomic because worker threads read it.
std::atomic<Isa>& Current() {
  static std::atomic<Isa> isa = Best();
  return isa;
}

}  // namespace

Isa IsaInUse() { return Current().load(std::memory_order_relaxed); }

std::string_view InstructionSet() { return kNames[static_cast<size_t>(IsaInUse())]; }

std::vector<std::string_view> AvailableInstructionSets() {
  return {kNames.begin(), kNames.begin() + static_cast<size_t>(Best()) + 1};
}

bool SetInstructionSet(std::string_view name) {
  const auto available = AvailableInstructionSets();
  const auto found = std::find(available.begin(), available.end(), name);
  if (found == available.end()) return false;
  const auto isa = static_cast<Isa>(found - available.begin());
  Current().store(isa);
#ifndef QUALM_PORTABLE
  // Operations that Highway dispatches have no scalar form in this build; AVX2 is their floor.
  hwy::GetChosenTarget().Update(isa == Isa::kAvx512 ? hwy::SupportedTargets() : HWY_AVX2);
#endif
  return true;
}

}  // namespace qualm
