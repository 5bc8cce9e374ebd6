// What follows from the rows of a verdict: the front, and the pairs.
#pragma once

#include <vector>

#include "judge/judge.h"

namespace qualm {

// Sets is_on_front of every text of every file that has a comparison.
void MarkFronts(std::vector<JudgedRow>& rows);

// Every pair of rows but the noise floor, under every measure that both have: log perplexity and KL
// on texts of the same tokens, the first metric of tasks with the same prompts. One family for
// Holm's adjustment.
std::vector<JudgedPair> PairsOf(const std::vector<JudgedRow>& rows);

}  // namespace qualm
