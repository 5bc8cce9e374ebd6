// The two sizes that every panelled and packed form of a weight shares.
#pragma once

#include <cstddef>

namespace qualm {

// Values of type T side by side in 64 bytes: a cache line, and the widest vector.
template <typename T>
inline constexpr size_t kLanesOf = 64 / sizeof(T);

// Output rows that are handled together, one in each lane of a float vector: the rows of a panel,
// of a strip of W transposed, of a packed record.
inline constexpr size_t kPanelLanes = 16;
static_assert(kPanelLanes == kLanesOf<float>);

// Inputs whose codes are packed together: the codes of 32 inputs fill whole words of 32 bits for
// any number of bits.
inline constexpr size_t kChunkInputs = 32;

}  // namespace qualm
