// Tables of upper and lower case (case_data.cc is generated).
#pragma once

#include <array>
#include <cstdint>

namespace qualm::unicode {

// `delta` is added to first, first + step, ... last. `step` is 1 or 2.
struct CaseRun {
  uint32_t first, last, step;
  int32_t delta;
};
struct LongUpper {
  uint32_t code;
  std::array<uint32_t, 3> upper;  // two or three; 0: none
};
struct CodeRange {
  uint32_t first, last;  // inclusive
};

// All sorted by code point; runs do not overlap.
extern const std::array<CaseRun, 181> kLower;
extern const std::array<CaseRun, 194> kUpper;
extern const std::array<LongUpper, 102> kLongUpper;
extern const std::array<CodeRange, 149> kCased;
extern const std::array<CodeRange, 427> kCaseIgnorable;
extern const std::array<CodeRange, 189> kPunctuation;

}  // namespace qualm::unicode
