// The highest rates of this machine, measured in a few seconds.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "efficiency/hardware.h"

namespace qualm {

struct Context;

// The median and the extremes of n measurements.
struct Spread {
  double median = 0, lowest = 0, highest = 0;
  size_t n = 0;
};
// The median of an even number of values is the mean of the two in the middle.
Spread SpreadOf(std::vector<double> values);

// Bytes per second that the pool's threads read from memory: 512 MiB, or four times the last cache.
// ReadBandwidth gives the best rate.
Spread ReadBandwidths(const Context& context);
double ReadBandwidth(const Context& context);
// Float32 operations per second (a multiply-add is two) at best, with everything in registers; 0 if
// that cannot be measured here.
double PeakFlops(const Context& context);

// The rates of our own kernels. In operations per second: the dense float32 product, and the
// product of int8 weights per channel with int8 inputs per token, both [1024, 2048] by [2048,
// 2048]. In bytes per second: codes, scales and zero points that one token reads of int4-g128
// weights in memory.
Spread FloatProductRate(const Context& context);
Spread IntegerProductRate(const Context& context);
Spread PackedReadRate(const Context& context);

// All measurements together.
struct MachinePeaks {
  Spread read_bytes;
  double register_flops = 0;
  Spread float_product, integer_product, packed_read;
};
MachinePeaks MeasurePeaks(const Context& context);

// The device "this": the best reading rate; float32 from registers, or from the best dense product
// if that was not measured; int8 from the best integer product.
Hardware HardwareOf(const MachinePeaks& peaks, std::string title, double memory_bytes);

}  // namespace qualm
