// The instruction set that the matrix kernels and vector operations use. It is chosen from what the
// processor can do when it is first asked for; pinning it is for tests, benchmarks and
// reproduction.
#pragma once

#include <string_view>
#include <vector>

namespace qualm {

enum class Isa { kScalar, kAvx2, kAvx512 };

Isa IsaInUse();
// "scalar", "avx2" or "avx512".
std::string_view InstructionSet();
// What SetInstructionSet accepts here, the slowest first.
std::vector<std::string_view> AvailableInstructionSets();

// Pins the instruction set. False if the name is unknown or the processor (or the build) lacks it;
// nothing changes then. Not while another thread computes.
bool SetInstructionSet(std::string_view name);

}  // namespace qualm
