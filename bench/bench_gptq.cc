// Times one layer through GPTQ, stage by stage, and compares it with a dense float32 product of
// 2·size³ operations by OpenBLAS in the same run.
// bench_gptq [--threads T] [--rounds R] [--size N] [--tokens M] [--bits B] [--group G] [--mse 1]
#include <algorithm>
#include <cstdio>
#include <vector>

#include "base/context.h"
#include "measure.h"
#include "methods/columns/gptq_columns.h"
#include "methods/columns/hessian.h"
#include "methods/quality.h"
#include "methods/rounders/rtn.h"
#include "tensor/gram.h"
#include "tensor/isa.h"

namespace qualm::bench {
namespace {

struct Options {
  int threads, rounds;
  size_t size, tokens;
  Scheme scheme;
  ClipSearch search;
};

void Run(const Options& options) {
  // Inputs, and room for the results, which later stages and the errors at the end read.
  ThreadPool pool(options.threads);
  SilentProgress silent;
  const Context context{pool, silent};
  const size_t n = options.size;
  const Matrix weight = RandomMatrix(n, n, 4), x = CorrelatedInputs(options.tokens, n);
  const Matrix other = RandomMatrix(n, n, 5);

  Matrix product(n, n), gram;
  RounderInput input;
  input.layer = "bench";
  input.weight = weight;
  input.gram_tokens = options.tokens;

  HessianFactor factor;
  QuantizedLinear plain, ordered, nearest;
  HessianOptions by_activation;
  by_activation.act_order = true;
  ColumnLoopOptions late, fixed;
  late.search = fixed.search = options.search;
  fixed.static_groups = true;

  // The stages in order; each round runs all of them.
  const std::vector<Timing> timings = MeasureInTurn(
      {[&] { OpenBlasMultiply(weight, other, product, options.threads); },
       [&] {
         gram = Matrix(n, n);
         AccumulateGram(x, gram, context);
         input.gram = gram;
       },
       [&] { factor = FactorHessian(input, {}, context); },
       [&] { plain = QuantizeColumns(weight, options.scheme, factor, late, context); },
       [&] { factor = FactorHessian(input, by_activation, context); },
       [&] { ordered = QuantizeColumns(weight, options.scheme, factor, fixed, context); },
       [&] { nearest = RoundToNearest(weight, options.scheme, options.search, context); }},
      options.rounds);

  // A table of stages.
  const double cube = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  const double square = static_cast<double>(n) * static_cast<double>(n);
  struct Row {
    const char* name;
    size_t timing;
    double operations;  // 0: not worth a rate
  };

  std::printf("%-36s %9s %9s %9s\n", "stage", "best s", "median s", "GFLOP/s");
  for (const Row& row :
       {Row{"OpenBLAS product", 0, 2 * cube},
        Row{"Gram matrix", 1, square * static_cast<double>(options.tokens)},
        Row{"factor", 2, 2 * cube / 3}, Row{"columns", 3, cube}, Row{"factor, act-order", 4, 0},
        Row{"columns, act-order, static groups", 5, cube}, Row{"round to nearest", 6, 0}}) {
    const Timing& timing = timings[row.timing];
    std::printf("%-36s %9.3f %9.3f %9.1f\n", row.name, timing.best_s, timing.median_s,
                row.operations / timing.median_s / 1e9);
  }

  // Sums of stages relative to the product.
  auto ratio = [&](const char* name, std::initializer_list<size_t> stages) {
    double best = 0, median = 0;
    for (size_t stage : stages) {
      best += timings[stage].best_s;
      median += timings[stage].median_s;
    }
    std::printf("%-36s %9.3f %9.3f   ratio to the product: best %.2f, median %.2f\n", name, best,
                median, best / timings[0].best_s, median / timings[0].median_s);
  };

  ratio("GPTQ with Gram matrix", {1, 2, 3});
  ratio("GPTQ act-order with Gram matrix", {1, 4, 5});

  // The errors show that the stages did the work.
  std::printf("output error: nearest %.4f, GPTQ %.4f, act-order %.4f\n",
              RelativeOutputError(x, weight, nearest.Dequantize(), context),
              RelativeOutputError(x, weight, plain.Dequantize(), context),
              RelativeOutputError(x, weight, ordered.Dequantize(), context));
}

int Main(int argc, char** argv) {
  // Flags, with the sizes of a 7B model's layer as defaults.
  Options options;
  options.threads = IntFlag(argc, argv, "--threads", 2);
  options.rounds = IntFlag(argc, argv, "--rounds", 3);
  options.size = static_cast<size_t>(IntFlag(argc, argv, "--size", 4096));
  options.tokens = static_cast<size_t>(IntFlag(argc, argv, "--tokens", 2048));
  options.scheme.bits = IntFlag(argc, argv, "--bits", 4);
  options.scheme.group_size = IntFlag(argc, argv, "--group", 128);
  options.scheme.granularity =
      options.scheme.group_size > 0 ? Granularity::kGroup : Granularity::kChannel;
  options.scheme.Validate();
  options.search = IntFlag(argc, argv, "--mse", 0) > 0 ? ClipSearch::kMse : ClipSearch::kNone;

  std::printf("W [%zu, %zu], %zu tokens, %s, %d threads, %.*s\n", options.size, options.size,
              options.tokens, options.scheme.ShortName().c_str(), options.threads,
              static_cast<int>(InstructionSet().size()), InstructionSet().data());
  Run(options);
  return 0;
}

}  // namespace
}  // namespace qualm::bench

int main(int argc, char** argv) { return qualm::bench::Main(argc, argv); }
