// Compares dense products y = x·Wᵀ with the ceilings of this machine and with OpenBLAS.
// bench_gemm [--threads T] [--rounds R] [--size N] [--tokens M]
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/context.h"
#include "measure.h"
#include "tensor/dense.h"
#include "tensor/isa.h"

namespace qualm::bench {
namespace {

struct Options {
  int threads, rounds;
  size_t size;
};

// So many weights that together they fit in no cache.
struct Rotation {
  std::vector<Matrix> plain;
  std::vector<std::unique_ptr<LinearWeight>> f32, bf16, f16;
};

Rotation MakeRotation(size_t size, size_t tokens, const Context& context) {
  Rotation rotation;
  // With many tokens arithmetic hides the reads, so one weight is enough.
  const size_t bytes = size * size * sizeof(float);
  const size_t count = tokens > 64 ? 1 : std::max<size_t>(1, (size_t{512} << 20) / bytes);

  for (size_t i = 0; i < count; ++i) {
    rotation.plain.push_back(RandomMatrix(size, size, i));
    // The same values in three types.
    const Matrix& w = rotation.plain.back();
    std::vector<uint16_t> narrow(size * size);
    rotation.f32.push_back(MakeDenseWeight({w.data(), DType::kF32, size, size}, context));
    ConvertFromFloat(w.data(), DType::kBF16, narrow.data(), narrow.size());
    rotation.bf16.push_back(MakeDenseWeight({narrow.data(), DType::kBF16, size, size}, context));
    ConvertFromFloat(w.data(), DType::kF16, narrow.data(), narrow.size());
    rotation.f16.push_back(MakeDenseWeight({narrow.data(), DType::kF16, size, size}, context));
  }
  return rotation;
}

void Run(const Options& options, size_t tokens, const Context& context) {
  // Products are timed in turn, over all weights of the rotation in each.
  const Rotation rotation = MakeRotation(options.size, tokens, context);
  Matrix x = RandomMatrix(tokens, options.size, 99), y(tokens, options.size);
  size_t turn = 0;

  const size_t count = rotation.plain.size();
  const auto ours = [&](const std::vector<std::unique_ptr<LinearWeight>>& weights) {
    return [&] {
      for (size_t i = 0; i < count; ++i) weights[i]->Multiply(x, y, context);
    };
  };
  const std::vector<Timing> timings =
      MeasureInTurn({ours(rotation.f32), ours(rotation.bf16), ours(rotation.f16),
                     [&] {
                       for (const Matrix& w : rotation.plain)
                         OpenBlasMultiply(x, w, y, options.threads);
                     }},
                    options.rounds);
  (void)turn;

  // Rates per product, next to the machine's ceilings.
  const double peak = PeakFlops(context), bandwidth = ReadBandwidth(context);
  const double operations = 2.0 * static_cast<double>(tokens * options.size * options.size);
  const char* names[] = {"dense-f32", "dense-bf16", "dense-f16", "OpenBLAS f32"};
  const double bytes[] = {4, 2, 2, 4};

  // The last line is OpenBLAS, which the others are compared with.
  for (size_t i = 0; i < timings.size(); ++i) {
    const double seconds = timings[i].best_s / static_cast<double>(count);
    const double median = timings[i].median_s / static_cast<double>(count);
    const double rate = bytes[i] * static_cast<double>(options.size * options.size) / seconds;
    std::printf("%6zu %-13s %9.3f %9.3f %8.1f %6.1f%% %8.2f %6.1f%% %6.2fx %3d\n", tokens, names[i],
                seconds * 1e3, median * 1e3, operations / seconds / 1e9,
                100 * operations / seconds / peak, rate / 1e9, 100 * rate / bandwidth,
                timings.back().best_s / timings[i].best_s, timings[i].repetitions);
  }
}

int Main(int argc, char** argv) {
  const Options options = {IntFlag(argc, argv, "--threads", 2), IntFlag(argc, argv, "--rounds", 5),
                           static_cast<size_t>(IntFlag(argc, argv, "--size", 4096))};

  ThreadPool pool(options.threads);
  SilentProgress silent;
  const Context context{pool, silent};
  std::printf("W [%zu, %zu], %d threads, %.*s; read %.1f GB/s, multiply-add %.0f GFLOP/s\n",
              options.size, options.size, options.threads,
              static_cast<int>(InstructionSet().size()), InstructionSet().data(),
              ReadBandwidth(context) / 1e9, PeakFlops(context) / 1e9);
  std::printf(
      "tokens weight          best ms median ms  GFLOP/s  peak     GB/s   read  to OpenBLAS n\n");

  // One number of tokens if asked for, else the usual ones.
  if (const int tokens = IntFlag(argc, argv, "--tokens", 0); tokens > 0) {
    Run(options, static_cast<size_t>(tokens), context);
    return 0;
  }
  for (size_t tokens : std::initializer_list<size_t>{1, 4, 16, 128, 2048})
    Run(options, tokens, context);
  return 0;
}

}  // namespace
}  // namespace qualm::bench

int main(int argc, char** argv) { return qualm::bench::Main(argc, argv); }
