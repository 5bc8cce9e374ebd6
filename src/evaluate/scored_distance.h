// How far a model's distributions are from a reference's at the positions that requests score.
#pragma once

#include <span>
#include <vector>

#include "evaluate/likelihood_scorer.h"

namespace qualm {

struct Context;

// Means over the positions of one request's continuation.
struct ScoredDistance {
  double kl = 0;         // KL(reference ‖ model) in nats, over the whole vocabulary
  double same_top1 = 0;  // share of positions with equal argmax
};

// One for every request. The models read the same tokens. Requires what ScoreLikelihoods requires
// of both, and vocabularies of one size. Called after each part: how many requests are compared.
std::vector<ScoredDistance> CompareScoredPositions(
    const Decoder& reference, const Decoder& model, std::span<const LikelihoodRequest> requests,
    const ScorerOptions& options, const Context& context,
    const std::function<void(uint64_t compared)>& on_part = {});

}  // namespace qualm
