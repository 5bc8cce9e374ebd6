// How much of a test text stands in the calibration text: the share of its 13-grams of tokens
// (PROTOCOLS, section 7). A quantized model keeps the hashes of its calibration set's 13-grams, not
// the text, so that any later evaluation can say how far its own text was seen before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "tokenize/tokenizer.h"

namespace qualm {

inline constexpr size_t kOverlapGram = 13;  // tokens; the length that GPT-3's authors used (words)
inline constexpr const char* kCalibrationGramsName = "calibration-13grams.safetensors";

// Hashes (XXH3, 64 bits, over the ids as little-endian 32-bit words) of all 13-grams inside the
// sequences, rising, each once. Shorter sequences have none.
std::vector<uint64_t> GramHashes(std::span<const std::vector<TokenId>> sequences);

struct Overlap {
  size_t grams = 0;  // 13-grams of the text, equal ones as often as they occur
  size_t found = 0;  // those that are among the hashes
};

// `hashes` as GramHashes gives them. Two different 13-grams share a hash with probability 2^-64.
Overlap MeasureOverlap(std::span<const uint64_t> hashes, std::span<const TokenId> ids);

// The hashes as one file: tensor "hashes" I64 [n] (the bits of the unsigned numbers).
void WriteGramHashes(const std::filesystem::path& folder, std::span<const uint64_t> hashes);
// Nothing if the folder has no such file; bad input if the file is not what WriteGramHashes writes.
std::optional<std::vector<uint64_t>> ReadGramHashes(const std::filesystem::path& folder);

}  // namespace qualm
