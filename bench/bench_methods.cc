// Times every method on one layer, W [N, N] with correlated inputs X [M, N], and prints ratios to
// dense float32 products timed in the same rounds.
// bench_methods [--threads T] [--rounds R] [--size N] [--tokens M] [RECIPE ...]
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "base/context.h"
#include "measure.h"
#include "methods/quality.h"
#include "quantize/layer.h"
#include "tensor/dense.h"
#include "tensor/isa.h"

namespace qualm::bench {
namespace {

// Seconds of the reference programs (Python, two threads of the machine class of
// docs/benchmarks.md) on a layer of 4096 x 4096 with 2048 tokens; 0: not known.
struct Method {
  const char* recipe;
  double reference_s;
};
constexpr Method kMethods[] = {
    {"rtn-w4-g128", 0.35},         {"gptq-w4-g128", 17.8}, {"gptq-w4-g128-act", 9.0},
    {"smoothquant-w8a8", 0.5},     {"awq-w4-g128", 29.6},  {"awq-gptq-w4-g128", 0},
    {"os-plus-w8a8", 0},           {"spqr-w4-g16", 171},   {"quip-w4", 135},
    {"quip-w4-hadamard", 0},       {"owq-w4-g128", 0},     {"llm-int8", 0},
    {"easyquant-w4-channel", 0},   {"slim-w3-g128", 0},    {"hqq-w4-g128", 0},
    {"zeroquant-w4a8-g128", 0.16},
};

// The recipes named on the command line, or all of the table.
std::vector<std::string> Recipes(int argc, char** argv) {
  std::vector<std::string> names;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--", 2) == 0) {
      ++i;  // a flag and its value
    } else {
      names.emplace_back(argv[i]);
    }
  }
  if (names.empty()) {
    for (const Method& method : kMethods) names.emplace_back(method.recipe);
  }
  return names;
}

std::string ReferenceOf(const std::string& name, double seconds) {
  for (const Method& method : kMethods) {
    if (name != method.recipe || method.reference_s == 0) continue;
    char text[64];
    std::snprintf(text, sizeof(text), "%7.2f %7.1fx", method.reference_s,
                  method.reference_s / seconds);
    return text;
  }
  return "      -";
}

int Main(int argc, char** argv) {
  // One layer for all methods.
  const int threads = IntFlag(argc, argv, "--threads", 2);
  const int rounds = IntFlag(argc, argv, "--rounds", 3);
  const auto size = static_cast<size_t>(IntFlag(argc, argv, "--size", 4096));
  const auto tokens = static_cast<size_t>(IntFlag(argc, argv, "--tokens", 2048));
  ThreadPool pool(threads);
  SilentProgress silent;
  const Context context{pool, silent};
  const Matrix weight = RandomMatrix(size, size, 4), x = CorrelatedInputs(tokens, size);
  Matrix y(tokens, size);

  std::vector<Recipe> recipes;
  for (const std::string& name : Recipes(argc, argv)) recipes.push_back(FindRecipe(name));
  std::vector<LayerReport> reports(recipes.size());
  std::vector<std::vector<double>> seconds(recipes.size());

  // The products come first in each round, then the methods.
  const auto packed = MakeDenseWeight({weight.data(), DType::kF32, size, size}, context);
  std::vector<std::function<void()>> bodies = {[&] { packed->Multiply(x, y, context); },
                                               [&] { OpenBlasMultiply(x, weight, y, threads); }};
  for (size_t i = 0; i < recipes.size(); ++i) {
    bodies.push_back([&, i] {
      reports[i] = QuantizeLayer(weight, &x, recipes[i], "weight", "inputs", 1, context);
      seconds[i].push_back(reports[i].seconds);
    });
  }

  const std::vector<Timing> timings = MeasureInTurn(bodies, rounds);
  const double dense = timings[0].best_s;
  std::printf("W [%zu, %zu], X [%zu, %zu], %d threads, %.*s, n = %d\n", size, size, tokens, size,
              threads, static_cast<int>(InstructionSet().size()), InstructionSet().data(),
              timings[0].repetitions);
  std::printf("%-24s %8s %8s %9s %9s %7s %8s\n", "", "best s", "median s", "products", "bits/w",
              "error", "reference s and ratio");
  std::printf("%-24s %8.3f %8.3f %9.2f\n", "dense product", dense, timings[0].median_s, 1.0);
  std::printf("%-24s %8.3f %8.3f %9.2f\n", "OpenBLAS product", timings[1].best_s,
              timings[1].median_s, timings[1].best_s / dense);

  // Methods by the seconds of their work alone; their measurements of errors are not counted.
  for (size_t i = 0; i < recipes.size(); ++i) {
    std::ranges::sort(seconds[i]);
    const double best = seconds[i].front();
    std::printf("%-24s %8.3f %8.3f %9.2f %9.3f %7.4f %s\n", recipes[i].name.c_str(), best,
                seconds[i][seconds[i].size() / 2], best / dense, reports[i].layer.BitsPerWeight(),
                reports[i].rel_product_error.value_or(reports[i].rel_output_error.value_or(0)),
                ReferenceOf(recipes[i].name, best).c_str());
  }
  return 0;
}

}  // namespace
}  // namespace qualm::bench

int main(int argc, char** argv) { return qualm::bench::Main(argc, argv); }
