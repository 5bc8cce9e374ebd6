// Measures what this machine can do at most: reading memory, multiply-adds in registers, and our
// own kernels' products. Each measurement repeats a fixed amount of work for a third of a second
// and keeps the spread of the rates.
#include "efficiency/peaks.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>

#include "artefact/quantized_linear.h"
#include "base/context.h"
#include "base/rng.h"
#include "base/strings.h"
#include "kernels/packed.h"
#include "tensor/dense.h"
#include "tensor/matrix.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace qualm {
namespace {

constexpr size_t kTokens = 1024, kSize = 2048;  // tokens and size of the measured products

// Results are stored here, so that the compiler cannot leave the work out.
volatile float float_sink;
volatile uint64_t integer_sink;

// Sums in 32 chains, which the compiler keeps in vector registers.
uint64_t Sum(const uint64_t* from, size_t count) {
  uint64_t sums[32] = {};
  for (size_t i = 0; i < count; i += 32) {
    for (size_t j = 0; j < 32; ++j) sums[j] += from[i + j];
  }
  uint64_t total = 0;
  for (uint64_t sum : sums) total += sum;
  return total;
}

#if defined(__x86_64__)
// Multiply-adds that depend on nothing but themselves. 12 chains hide the latency of 4 or 5 cycles
// at two multiply-adds a cycle.
float MultiplyAdds256(size_t steps) {
  __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f), s[12];
  for (auto& sum : s) sum = b;
  for (size_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (auto& sum : s) sum = _mm256_fmadd_ps(sum, a, b);
  }
  for (int i = 1; i < 12; ++i) s[0] = _mm256_add_ps(s[0], s[i]);
  return _mm256_cvtss_f32(s[0]);
}

__attribute__((target("avx512f"))) float MultiplyAdds512(size_t steps) {
  __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-3f), s[12];
  for (auto& sum : s) sum = b;
  for (size_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (auto& sum : s) sum = _mm512_fmadd_ps(sum, a, b);
  }
  for (int i = 1; i < 12; ++i) s[0] = _mm512_add_ps(s[0], s[i]);
  return _mm512_cvtss_f32(s[0]);
}
#endif

// More bytes than any cache holds.
size_t BytesBeyondCaches() {
  size_t bytes = size_t{512} << 20;
#if defined(_SC_LEVEL3_CACHE_SIZE)
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  if (cache > 0) bytes = std::max(bytes, 4 * static_cast<size_t>(cache));
#endif
  return bytes;
}

Matrix RandomMatrix(size_t rows, size_t cols) {
  Matrix matrix(rows, cols);
  Rng rng(1);
  for (size_t row = 0; row < rows; ++row) {
    for (float& value : matrix.row(row)) value = static_cast<float>(rng.Uniform());
  }
  return matrix;
}

// A layer with random codes; speed does not depend on the values of scales and zero points.
QuantizedLinear RandomLayer(size_t size, const Scheme& scheme) {
  QuantizedLinear layer;
  layer.out_features = layer.in_features = size;
  layer.scheme = scheme;
  layer.codes.resize(size * size);
  Rng rng(1);
  for (uint8_t& code : layer.codes) {
    code = static_cast<uint8_t>(rng.Below(uint64_t{1} << scheme.bits));
  }
  layer.scales.assign(size * layer.group_count(), 0x1p-8f);
  if (!scheme.is_symmetric()) layer.zeros.assign(layer.scales.size(), 8);
  return layer;
}

// Units of work per second: one run to warm up, then runs for a while.
Spread RateOf(double work, const std::function<void()>& body) {
  constexpr size_t kLeast = 5;
  constexpr double kSeconds = 0.3;
  body();
  // Short runs are noisy, so there is a least number of them and a least total time.
  std::vector<double> rates;
  double total = 0;
  while (rates.size() < kLeast || total < kSeconds) {
    const auto start = std::chrono::steady_clock::now();
    body();
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    rates.push_back(work / seconds);
    total += seconds;
  }
  return SpreadOf(std::move(rates));
}

}  // namespace

Spread SpreadOf(std::vector<double> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  return {median, values.front(), values.back(), values.size()};
}

Spread ReadBandwidths(const Context& context) {
  constexpr size_t kPieceWords = size_t{1} << 20;
  const size_t pieces = BytesBeyondCaches() / (kPieceWords * sizeof(uint64_t));
  AlignedArray<uint64_t> memory(pieces * kPieceWords);
  std::fill_n(memory.data(), memory.size(), 1);

  // Each piece is large enough that handing it out costs nothing.
  return RateOf(static_cast<double>(memory.size() * sizeof(uint64_t)), [&] {
    context.pool.ParallelFor(pieces, [&](size_t piece) {
      integer_sink = Sum(memory.data() + piece * kPieceWords, kPieceWords);
    });
  });
}

double ReadBandwidth(const Context& context) { return ReadBandwidths(context).highest; }

double PeakFlops(const Context& context) {
#if defined(__x86_64__)
  // A multiply-add is two operations on each of 8 or 16 floats.
  constexpr size_t kSteps = 1000000;
  const bool wide = __builtin_cpu_supports("avx512f");
  const auto threads = static_cast<size_t>(context.pool.threads());
  return RateOf(static_cast<double>(threads * kSteps * 12 * (wide ? 32 : 16)),
                [&] {
                  context.pool.ParallelFor(threads, [&](size_t) {
                    float_sink = wide ? MultiplyAdds512(kSteps) : MultiplyAdds256(kSteps);
                  });
                })
      .highest;
#else
  (void)context;
  return 0;
#endif
}

Spread FloatProductRate(const Context& context) {
  const Matrix x = RandomMatrix(kTokens, kSize), w = RandomMatrix(kSize, kSize);
  Matrix y(kTokens, kSize);
  const auto weight = MakeDenseWeight({w.data(), DType::kF32, kSize, kSize}, context);
  return RateOf(2.0 * kTokens * kSize * kSize, [&] { weight->Multiply(x, y, context); });
}

// Weights and inputs both have 8 bits: per channel, and per token.
Spread IntegerProductRate(const Context& context) {
  Scheme scheme;
  scheme.bits = 8;
  scheme.zero_point = ZeroPointKind::kNone;
  scheme.symmetric_convention = SymmetricConvention::kSigned;
  QuantizedLinear layer = RandomLayer(kSize, scheme);
  // The same grid for the inputs, but with a scale for each token.
  scheme.granularity = Granularity::kToken;
  scheme.dynamic = true;
  scheme.scale_type = DType::kF32;
  layer.activations = ActivationGrid{scheme, {}};
  const auto weight = MakePackedWeight(layer, context);

  const Matrix x = RandomMatrix(kTokens, kSize);
  Matrix y(kTokens, kSize);
  return RateOf(2.0 * kTokens * kSize * kSize, [&] { weight->Multiply(x, y, context); });
}

// Many copies of a layer, so that each product reads its weights from memory and not from a cache.
Spread PackedReadRate(const Context& context) {
  constexpr size_t kWide = 4096;
  Scheme scheme;
  scheme.granularity = Granularity::kGroup;
  scheme.group_size = 128;
  const QuantizedLinear layer = RandomLayer(kWide, scheme);
  std::vector<std::unique_ptr<LinearWeight>> weights;
  size_t bytes = 0;
  // Enough copies that no cache holds them all.
  while (bytes < BytesBeyondCaches()) {
    weights.push_back(MakePackedWeight(layer, context));
    bytes += weights.back()->weight_bytes();
  }

  const Matrix x = RandomMatrix(1, kWide);
  Matrix y(1, kWide);
  return RateOf(static_cast<double>(bytes), [&] {
    for (const auto& weight : weights) weight->Multiply(x, y, context);
  });
}

MachinePeaks MeasurePeaks(const Context& context) {
  return {ReadBandwidths(context), PeakFlops(context), FloatProductRate(context),
          IntegerProductRate(context), PackedReadRate(context)};
}

// Describes this machine as if it had a data sheet.
Hardware HardwareOf(const MachinePeaks& peaks, std::string title, double memory_bytes) {
  Hardware hardware;
  hardware.name = "this";
  hardware.title = std::move(title);
  hardware.source = StrCat("measured: the best of ", peaks.read_bytes.n,
                           " readings of memory, multiply-adds in registers, int8 products");
  hardware.bytes_per_second = peaks.read_bytes.highest;
  hardware.memory_bytes = memory_bytes;
  // Without a measurement in registers, our own product is the best rate that is known.
  hardware.ops.fp32 = std::max(peaks.register_flops, peaks.float_product.highest);
  hardware.ops.int8 = peaks.integer_product.highest;
  return hardware;
}

}  // namespace qualm
