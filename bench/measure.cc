#include "measure.h"

#include <cblas.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "base/rng.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace qualm::bench {
namespace {

double SecondsOf(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Timing Summary(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return {seconds.front(), seconds[seconds.size() / 2], static_cast<int>(seconds.size())};
}

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

}  // namespace

Timing Measure(const std::function<void()>& body, int least, double seconds) {
  body();
  std::vector<double> times;
  double total = 0;
  while (static_cast<int>(times.size()) < least || total < seconds) {
    times.push_back(SecondsOf(body));
    total += times.back();
  }
  return Summary(times);
}

std::vector<Timing> MeasureInTurn(const std::vector<std::function<void()>>& bodies, int rounds) {
  std::vector<std::vector<double>> times(bodies.size());
  for (int round = -1; round < rounds; ++round) {
    for (size_t i = 0; i < bodies.size(); ++i) {
      const double seconds = SecondsOf(bodies[i]);
      if (round >= 0) times[i].push_back(seconds);
    }
  }
  std::vector<Timing> timings;
  for (auto& of_one : times) timings.push_back(Summary(of_one));
  return timings;
}

double ReadBandwidth(ThreadPool& pool) {
  constexpr size_t kPieces = 64, kPieceWords = size_t{1} << 20;
  AlignedArray<uint64_t> memory(kPieces * kPieceWords);
  std::fill_n(memory.data(), memory.size(), 1);
  const Timing timing = Measure(
      [&] {
        pool.ParallelFor(kPieces, [&](size_t piece) {
          integer_sink = Sum(memory.data() + piece * kPieceWords, kPieceWords);
        });
      },
      5, 0.3);
  return static_cast<double>(memory.size() * sizeof(uint64_t)) / timing.best_s;
}

double PeakFlops(ThreadPool& pool) {
#if defined(__x86_64__)
  constexpr size_t kSteps = 1000000;
  const bool wide = __builtin_cpu_supports("avx512f");
  const auto threads = static_cast<size_t>(pool.threads());
  const Timing timing = Measure(
      [&] {
        pool.ParallelFor(threads, [&](size_t) {
          float_sink = wide ? MultiplyAdds512(kSteps) : MultiplyAdds256(kSteps);
        });
      },
      5, 0.2);
  return static_cast<double>(threads * kSteps * 12 * (wide ? 32 : 16)) / timing.best_s;
#else
  (void)pool;
  return 0;
#endif
}

Matrix RandomMatrix(size_t rows, size_t cols, uint64_t seed) {
  Rng rng(seed);
  Matrix m = Matrix::Uninitialized(rows, cols);
  for (size_t i = 0; i < rows * cols; ++i) m.data()[i] = static_cast<float>(rng.Uniform() - 0.5);
  return m;
}

Matrix CorrelatedInputs(size_t tokens, size_t in) {
  constexpr size_t kDirections = 16;
  Matrix x = RandomMatrix(tokens, in, 1);
  const Matrix strength = RandomMatrix(tokens, kDirections, 2);
  const Matrix direction = RandomMatrix(kDirections, in, 3);
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t d = 0; d < kDirections; ++d) {
      for (size_t c = 0; c < in; ++c) x(t, c) += strength(t, d) * direction(d, c);
    }
    for (size_t c = 0; c < in; c += 97) x(t, c) *= 8;
  }
  return x;
}

int IntFlag(int argc, char** argv, const std::string& flag, int otherwise) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (flag == argv[i]) return std::atoi(argv[i + 1]);
  }
  return otherwise;
}

void OpenBlasMultiply(Span2D<const float> x, Span2D<const float> w, Span2D<float> y, int threads) {
  openblas_set_num_threads(threads);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(x.rows()),
              static_cast<int>(w.rows()), static_cast<int>(x.cols()), 1.0f, x.data(),
              static_cast<int>(x.stride()), w.data(), static_cast<int>(w.stride()), 0.0f, y.data(),
              static_cast<int>(y.stride()));
}

}  // namespace qualm::bench
