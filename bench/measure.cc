// Timing by the best and the median of repetitions, and the inputs and the OpenBLAS product that
// the benchmarks compare with.
#include "measure.h"

#include <cblas.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "base/rng.h"

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
  // Round −1 warms up caches and clocks.
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

Matrix RandomMatrix(size_t rows, size_t cols, uint64_t seed) {
  Rng rng(seed);
  Matrix m = Matrix::Uninitialized(rows, cols);
  for (size_t i = 0; i < rows * cols; ++i) m.data()[i] = static_cast<float>(rng.Uniform() - 0.5);
  return m;
}

Matrix CorrelatedInputs(size_t tokens, size_t in) {
  // Each token is a mix of a few directions, and every 97th channel is larger.
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
