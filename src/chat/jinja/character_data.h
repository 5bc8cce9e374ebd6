// The tables after characters.h (character_data.cc is generated).
#pragma once

#include <cstdint>
#include <span>

namespace qualm::jinja {

// Characters from `first` to the beginning of the next run have these flags.
struct FlagRun {
  uint32_t first;
  uint16_t flags;
};
// Every `stride`-th character of [first, last] maps to itself plus `delta`.
struct CaseRun {
  uint32_t first, last;
  int32_t stride, delta;
};
// A character that maps to two or three; 0 where there is no third.
struct CaseExpansion {
  uint32_t code;
  uint32_t to[3];
};

// All sorted by code point.
extern const std::span<const FlagRun> kFlagRuns;
extern const std::span<const CaseRun> kUpperRuns, kLowerRuns, kTitleRuns, kFoldRuns;
extern const std::span<const CaseExpansion> kUpperExpansions, kLowerExpansions, kTitleExpansions,
    kFoldExpansions;

}  // namespace qualm::jinja
