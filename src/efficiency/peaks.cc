#include "efficiency/peaks.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "tensor/dense.h"
#include "tensor/matrix.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace qualm {
namespace {

volatile float float_sink;
volatile uint64_t integer_sink;

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
// 12 chains hide the latency of 4 or 5 cycles at two multiply-adds a cycle.
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

// Units of work per second: once to warm up, then for a while.
Spread RateOf(double work, const std::function<void()>& body) {
  constexpr size_t kLeast = 5;
  constexpr double kSeconds = 0.3;
  body();
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
  return {values[values.size() / 2], values.front(), values.back(), values.size()};
}

Spread ReadBandwidths(ThreadPool& pool) {
  constexpr size_t kPieces = 64, kPieceWords = size_t{1} << 20;
  AlignedArray<uint64_t> memory(kPieces * kPieceWords);
  std::fill_n(memory.data(), memory.size(), 1);
  return RateOf(static_cast<double>(memory.size() * sizeof(uint64_t)), [&] {
    pool.ParallelFor(kPieces, [&](size_t piece) {
      integer_sink = Sum(memory.data() + piece * kPieceWords, kPieceWords);
    });
  });
}

double ReadBandwidth(ThreadPool& pool) { return ReadBandwidths(pool).highest; }

double PeakFlops(ThreadPool& pool) {
#if defined(__x86_64__)
  constexpr size_t kSteps = 1000000;
  const bool wide = __builtin_cpu_supports("avx512f");
  const auto threads = static_cast<size_t>(pool.threads());
  return RateOf(static_cast<double>(threads * kSteps * 12 * (wide ? 32 : 16)),
                [&] {
                  pool.ParallelFor(threads, [&](size_t) {
                    float_sink = wide ? MultiplyAdds512(kSteps) : MultiplyAdds256(kSteps);
                  });
                })
      .highest;
#else
  (void)pool;
  return 0;
#endif
}

Spread ProductFlops(ThreadPool& pool) {
  constexpr size_t kTokens = 512, kSize = 2048;
  Matrix x(kTokens, kSize), w(kSize, kSize), y(kTokens, kSize);
  Rng rng(1);
  for (Matrix* matrix : {&x, &w}) {
    for (size_t i = 0; i < matrix->rows(); ++i) {
      for (float& value : matrix->row(i)) value = static_cast<float>(rng.Uniform());
    }
  }
  const auto weight = MakeDenseWeight({w.data(), DType::kF32, kSize, kSize}, pool);
  return RateOf(2.0 * kTokens * kSize * kSize, [&] { weight->Multiply(x, y, pool); });
}

}  // namespace qualm
