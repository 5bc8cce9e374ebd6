// Calibration sets: token sequences drawn from a corpus by a named sampler (PROTOCOLS, section 7),
// with held-out sequences from the same corpus to check the result on. Same input, same set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenize/tokenizer.h"

namespace qualm {

struct Corpus;

struct SamplerOptions {
  std::string sampler = "random-crop";
  size_t samples = 128;  // n: sequences; for `concat` documents
  size_t length = 2048;  // tokens of a sequence
  uint64_t seed = 0;
  size_t held_out = 16;  // held-out sequences wanted; a small corpus may give fewer, also none
};

struct CalibrationSet {
  std::vector<std::vector<TokenId>> sequences;  // each of `length` tokens
  // Sequences of `length` tokens that share no text with the ones above: for random-crop windows
  // that do not overlap them nor each other, otherwise windows of other documents.
  std::vector<std::vector<TokenId>> held_out;

  std::string sampler;
  std::string corpus;  // its name
  std::string corpus_hash;
  size_t samples = 0;  // as asked for; see `documents` for concat
  size_t length = 0;
  uint64_t seed = 0;
  size_t documents = 0;  // different documents that `sequences` come from; the corpus' number of
                         // documents for random-crop, which joins them
  std::string hash;      // over sampler, corpus content, samples, length, seed, every token
  std::string held_out_hash;  // over every token of `held_out`

  size_t tokens() const { return sequences.size() * length; }

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("sampler", self.sampler);
    visit("corpus", self.corpus);
    visit("corpus_hash", self.corpus_hash);
    visit("samples", self.samples);
    visit("length", self.length);
    visit("seed", self.seed, {.is_seed = true});
    visit("documents", self.documents);
    visit("hash", self.hash);
    visit("held_out_hash", self.held_out_hash);
    visit("sequences", self.sequences);
    visit("held_out", self.held_out);
  }
};

// Throws bad input for an unknown sampler, samples or length 0, and a corpus that is too short for
// a single sequence (with what it has and what is needed). Samplers:
//   random-crop    the documents joined by the corpus' separator ("\n\n"), tokenised once; windows
//                  at random places, which may overlap each other (GPTQ).
//   document-crop  a random document longer than `length`, a random window of it. Documents are
//                  taken in random order, each once; when all have been used, again from the first
//                  (GPTQ's C4).
//   concat         `samples` random documents of at most `length` tokens, white space at both ends
//                  removed, tokenised one by one, joined and cut into sequences; the rest is
//                  dropped, so there are fewer sequences than documents. A corpus with fewer such
//                  documents gives all it has (AWQ).
// Every tokenisation is EncodeWithSpecial: a BOS stands only where it puts one, and a window that
// does not start there has none.
CalibrationSet SampleCalibration(const Corpus& corpus, const Tokenizer& tokenizer,
                                 const SamplerOptions& options);

// Fills the hashes of a set whose other fields are there: for sets that no sampler makes.
void HashCalibration(CalibrationSet& set);

std::vector<std::string> SamplerNames();
// One line about a sampler of SamplerNames().
std::string_view SamplerDescription(std::string_view name);

}  // namespace qualm
