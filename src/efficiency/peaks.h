// What this machine can do at most, measured in a second or two.
#pragma once

#include <cstddef>
#include <vector>

namespace qualm {

class ThreadPool;

struct Spread {
  double median = 0, lowest = 0, highest = 0;
  size_t n = 0;
};
Spread SpreadOf(std::vector<double> values);

// Bytes per second that the pool's threads read from 512 MiB of memory; the second is the best.
Spread ReadBandwidths(ThreadPool& pool);
double ReadBandwidth(ThreadPool& pool);
// Float32 operations per second (a multiply-add is two) with everything in registers, at best.
double PeakFlops(ThreadPool& pool);
// The same of our dense float product, [512, 2048] by [2048, 2048].
Spread ProductFlops(ThreadPool& pool);

}  // namespace qualm
