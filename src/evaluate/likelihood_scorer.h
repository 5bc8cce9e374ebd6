// Answers many requests: equal ones once, common prefixes once, and computes logits only for
// positions that are scored. An answer does not depend on the other requests (PROTOCOLS, section
// 9).
//
// Requests in the order of their tokens are a depth-first walk through the tree of their prefixes:
// a cache that follows the walk keeps what the next request shares with the last one. Several
// caches walk parts of the tree at the same time, so that every forward pass has enough tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "evaluate/request.h"
#include "tensor/matrix.h"

namespace qualm {

struct Context;
class Decoder;

struct ScorerOptions {
  size_t batch_tokens = 2048;  // of a forward pass, approximately; at least one request
  uint64_t cache_bytes = uint64_t{2} << 30;  // of all caches together, approximately
};

// How much work was asked for and how much was done; the difference is what sharing saved.
struct ScorerCounts {
  uint64_t requests = 0;         // in total
  uint64_t distinct = 0;         // different ones
  uint64_t tokens = 0;           // of the distinct ones, continuations' last tokens left out
  uint64_t computed_tokens = 0;  // that went through the model
};

// Called on this thread with the indexes of equal requests as soon as they are answered.
using AnswerSink =
    std::function<void(std::span<const size_t> requests, const LikelihoodAnswer& answer)>;
// Called after each forward pass, so that the answers so far can be kept.
using PassSink = std::function<void(uint64_t answered)>;

// Called with requests that have the same inputs, and with the final hidden states [rows,
// hidden_size] of the positions that they score. If it is given, no logits are computed and
// `on_answer` is not called.
using HiddenSink =
    std::function<void(std::span<const size_t> requests, Span2D<const float> hidden)>;

// Requires: every request fits into the model's context (all its tokens but the last).
ScorerCounts ScoreLikelihoods(const Decoder& decoder, std::span<const LikelihoodRequest> requests,
                              const ScorerOptions& options, const Context& context,
                              const AnswerSink& on_answer, const PassSink& on_pass = {},
                              const HiddenSink& on_hidden = {});

}  // namespace qualm
