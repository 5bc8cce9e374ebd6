// Shared by the kernel benchmarks: repeated timing, and the ceilings of the machine (read bandwidth
// and multiply-add rate) measured in the same run, since other programs may slow the machine at any
// time.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "efficiency/peaks.h"
#include "tensor/matrix.h"

namespace qualm::bench {

// Seconds of one call; other programs disturb the best less than the median.
struct Timing {
  double best_s = 0;
  double median_s = 0;
  int repetitions = 0;
};

// Runs `body` once to warm up, then at least `least` times and until `seconds` are over.
Timing Measure(const std::function<void()>& body, int least = 5, double seconds = 0.5);

// Times several bodies in turn, one round at a time, so that a slow phase of the machine affects
// all of them.
std::vector<Timing> MeasureInTurn(const std::vector<std::function<void()>>& bodies, int rounds);

Matrix RandomMatrix(size_t rows, size_t cols, uint64_t seed);

// Inputs with a few strong directions and large channels, as real activations have.
Matrix CorrelatedInputs(size_t tokens, size_t in);

// "--threads 2 --rounds 5": the value after `flag`, or `otherwise` if the flag is missing.
int IntFlag(int argc, char** argv, const std::string& flag, int otherwise);

// OpenBLAS: y = x·wᵀ, row-major, with `threads` threads.
void OpenBlasMultiply(Span2D<const float> x, Span2D<const float> w, Span2D<float> y, int threads);

}  // namespace qualm::bench
