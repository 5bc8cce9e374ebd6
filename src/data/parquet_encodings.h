// How Parquet stores the integers and bytes of a page (Encodings.md of the format): each function
// turns an encoded run into numbers or into the plain layout. Input is untrusted; what is made is
// charged to the file's budget before it is allocated.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/budget.h"

namespace qualm {

// Runs and bit-packed groups of integers of `width` bits (RLE): levels, indexes, booleans.
std::vector<uint32_t> ReadHybrid(std::string_view bytes, int width, size_t count, Budget& budget,
                                 std::string_view place);
// BIT_PACKED, which only levels of old files have: the highest bit of a byte comes first.
std::vector<uint32_t> ReadBitPacked(std::string_view bytes, int width, size_t count, Budget& budget,
                                    std::string_view place);

// DELTA_BINARY_PACKED: at least `count` integers, modulo 2^64; `bytes` is moved past them. All of
// them are returned, since they are what the header says.
std::vector<uint64_t> ReadDeltas(std::string_view& bytes, size_t count, Budget& budget,
                                 std::string_view place);
// DELTA_LENGTH_BYTE_ARRAY: the texts, inside `bytes`.
std::vector<std::string_view> ReadDeltaLengthTexts(std::string_view bytes, size_t count,
                                                   Budget& budget, std::string_view place);
// DELTA_BYTE_ARRAY: each text begins like the one before.
std::vector<std::string> ReadDeltaTexts(std::string_view bytes, size_t count, Budget& budget,
                                        std::string_view place);
// BYTE_STREAM_SPLIT: first bytes of all values, second bytes, ...; returns the plain layout.
std::string ReadSplitStreams(std::string_view bytes, size_t width, size_t count, Budget& budget,
                             std::string_view place);

// How many bits the levels 0..most take.
int BitsFor(uint32_t most);

}  // namespace qualm
