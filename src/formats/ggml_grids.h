// The codebooks of ggml's IQ types. A point is packed into 16 bits: for each of its values the
// place in the list of values that the grid uses, the first one in the lowest bits; two bits for
// each of eight values, or three bits for each of four (IQ3).
#pragma once

#include <array>
#include <cstdint>

namespace qualm {

extern const std::array<uint16_t, 256> kIq2XxsGrid;
extern const std::array<uint16_t, 512> kIq2XsGrid;
extern const std::array<uint16_t, 1024> kIq2SGrid;
extern const std::array<uint16_t, 256> kIq3XxsGrid;
extern const std::array<uint16_t, 512> kIq3SGrid;
extern const std::array<uint16_t, 2048> kIq1Grid;

}  // namespace qualm
