// What this machine can do at most, measured in a few seconds.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "efficiency/hardware.h"

namespace qualm {

class ThreadPool;

struct Spread {
  double median = 0, lowest = 0, highest = 0;
  size_t n = 0;
};
// Of an even number of values the median is the mean of the two in the middle.
Spread SpreadOf(std::vector<double> values);

// Bytes per second that the pool's threads read from memory, 512 MiB or four times the last cache;
// the second is the best.
Spread ReadBandwidths(ThreadPool& pool);
double ReadBandwidth(ThreadPool& pool);
// Float32 operations per second (a multiply-add is two) with everything in registers, at best; 0
// where that is not measured.
double PeakFlops(ThreadPool& pool);

// Of our own kernels: the dense float32 product and the product of int8 weights per channel with
// int8 inputs per token, [1024, 2048] by [2048, 2048], operations per second; and the bytes per
// second of codes, scales and zero points that one token reads of int4-g128 weights in memory.
Spread FloatProductRate(ThreadPool& pool);
Spread IntegerProductRate(ThreadPool& pool);
Spread PackedReadRate(ThreadPool& pool);

struct MachinePeaks {
  Spread read_bytes;
  double register_flops = 0;
  Spread float_product, integer_product, packed_read;
};
MachinePeaks MeasurePeaks(ThreadPool& pool);

// The device "this": the best reading rate; float32 from the registers, or where that was not
// measured the best dense product; int8 from the best integer product.
Hardware HardwareOf(const MachinePeaks& peaks, std::string title, double memory_bytes);

}  // namespace qualm
