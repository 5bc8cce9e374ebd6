// Calibration sets of random tokens, for models without a tokenizer.
#pragma once

#include <cstdint>

#include "calibrate/sampler.h"
#include "support/logits_hash.h"

namespace qualm::testing {

// `sequences` sequences of 48 tokens to calibrate on, and one held out.
inline CalibrationSet RandomCalibration(size_t vocabulary, uint64_t sequences) {
  CalibrationSet set;
  set.length = 48;
  for (uint64_t seed = 0; seed < sequences; ++seed) {
    set.sequences.push_back(RandomTokens(set.length, vocabulary, seed));
  }
  set.held_out.push_back(RandomTokens(set.length, vocabulary, sequences));
  set.sampler = "random-tokens";
  set.corpus = "none";
  set.samples = set.sequences.size();
  HashCalibration(set);
  return set;
}

}  // namespace qualm::testing
