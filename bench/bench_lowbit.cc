// Compares low-bit products with the read bandwidth of this machine and with dense float32.
// bench_lowbit [--threads T] [--rounds R] [--size N] [--tokens M] [--bits B] [--formats 1]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "artefact/codebook.h"
#include "artefact/quantized_linear.h"
#include "base/context.h"
#include "base/rng.h"
#include "kernels/packed.h"
#include "measure.h"
#include "tensor/dense.h"
#include "tensor/isa.h"

namespace qualm::bench {
namespace {

constexpr size_t kRotationBytes = size_t{512} << 20;  // more than any cache holds

// A layer with random codes, scales and zero points; kernels do not depend on the values.
QuantizedLinear RandomLayer(size_t size, int bits, int group_size, uint64_t seed) {
  Rng rng(seed);
  QuantizedLinear layer;

  layer.out_features = layer.in_features = size;
  layer.scheme.bits = bits;
  layer.scheme.granularity = group_size > 0 ? Granularity::kGroup : Granularity::kChannel;
  layer.scheme.group_size = group_size;

  // Codes over the whole range of the bits.
  layer.codes.resize(size * size);
  const uint64_t count = uint64_t{1} << bits;
  for (uint8_t& code : layer.codes) code = static_cast<uint8_t>(rng.Next() % count);

  // Scales as fp16 can hold them, since kernels store them so.
  layer.scales.resize(size * layer.group_count());
  layer.zeros.resize(layer.scales.size());
  for (float& scale : layer.scales) {
    scale = ToFloat(HalfFromFloat(static_cast<float>(0.001 + 0.01 * rng.Uniform())));
  }
  for (float& zero : layer.zeros) zero = static_cast<float>(rng.Below(count));
  return layer;
}

// Layers of the formats and methods other than plain integers, one of each.
std::vector<QuantizedLinear> SpecialLayers(size_t size) {
  std::vector<QuantizedLinear> layers;
  Rng rng(7);
  // Formats: a codebook instead of zero points.
  for (NumberType type : {NumberType::kNf4, NumberType::kMxfp4, NumberType::kNvfp4,
                          NumberType::kFp8E4m3, NumberType::kFp8E5m2}) {
    QuantizedLinear layer = RandomLayer(size, BitsOfFormat(type), 0, 7);
    layer.scheme = SchemeOfFormat(type);
    layer.zeros.clear();
    // Real layers have no codes of NaN.
    const Codebook& book = Codebook::Of(type);
    for (uint8_t& code : layer.codes) {
      if (std::isnan(book.Value(code))) code = 0;
    }
    layer.scales.assign(size * layer.group_count(), HasByteScales(type) ? 0.25f : 0x1p-8f);
    layers.push_back(std::move(layer));
  }

  // Float zero points, permuted groups, outliers, and groups with different bits.
  QuantizedLinear hqq = RandomLayer(size, 4, 64, 8);
  hqq.scheme.zero_point = ZeroPointKind::kFloat;
  layers.push_back(hqq);

  QuantizedLinear act_order = RandomLayer(size, 4, 128, 9);
  for (uint32_t k = 0; k < size; ++k)
    act_order.g_idx.push_back(k % (static_cast<uint32_t>(size) / 128));
  layers.push_back(std::move(act_order));

  QuantizedLinear outliers = RandomLayer(size, 3, 128, 10);
  outliers.outliers.emplace().row_start.push_back(0);
  for (size_t row = 0; row < size; ++row) {
    for (uint32_t k = 0; k < size; ++k) {
      if (rng.Uniform() >= 0.01) continue;
      outliers.outliers->column.push_back(k);
      outliers.outliers->value.push_back(HalfFromFloat(0.1f));
    }
    outliers.outliers->row_start.push_back(static_cast<uint32_t>(outliers.outliers->column.size()));
  }
  layers.push_back(std::move(outliers));

  QuantizedLinear mixed = RandomLayer(size, 2, 128, 11);
  for (size_t group = 0; group < mixed.group_count(); ++group) {
    mixed.bits_per_group.push_back(static_cast<uint8_t>(2 + group % 3));
  }
  layers.push_back(std::move(mixed));
  return layers;
}

ActivationGrid Int8PerToken() {
  ActivationGrid grid;
  grid.scheme.bits = 8;
  grid.scheme.granularity = Granularity::kToken;
  grid.scheme.dynamic = true;
  grid.scheme.zero_point = ZeroPointKind::kNone;
  grid.scheme.symmetric_convention = SymmetricConvention::kSigned;
  grid.scheme.scale_type = DType::kF32;
  return grid;
}

using Weights = std::vector<std::unique_ptr<LinearWeight>>;

// Copies of the same layer, as many as the rotation needs.
template <typename Make>
Weights Rotation(Make make) {
  Weights weights;
  size_t bytes = 0;
  while (bytes < kRotationBytes) {
    weights.push_back(make());
    bytes += weights.back()->weight_bytes();
  }
  return weights;
}

// One line of the table.
struct Row {
  std::string name;
  double bytes;  // of one weight
  size_t count;  // weights multiplied in one repetition
  std::function<void()> body;
};

void Print(const std::vector<Row>& rows, size_t tokens, size_t size, int rounds,
           const Context& context) {
  // The bandwidth is measured before and after, since it must be a ceiling.
  std::vector<std::function<void()>> bodies;
  for (const Row& row : rows) bodies.push_back(row.body);
  double bandwidth = ReadBandwidth(context);
  const std::vector<Timing> timings = MeasureInTurn(bodies, rounds);
  bandwidth = std::max(bandwidth, ReadBandwidth(context));

  const double peak = PeakFlops(context);
  const double dense = timings[0].best_s / static_cast<double>(rows[0].count);
  const double operations = 2.0 * static_cast<double>(tokens * size * size);

  for (size_t i = 0; i < rows.size(); ++i) {
    const double best = timings[i].best_s / static_cast<double>(rows[i].count);
    const double median = timings[i].median_s / static_cast<double>(rows[i].count);
    std::printf("%6zu %-30s %9.3f %9.3f %7.2f %6.1f%% %8.1f %6.1f%% %7.2fx %3d\n", tokens,
                rows[i].name.c_str(), best * 1e3, median * 1e3, rows[i].bytes / best / 1e9,
                100 * rows[i].bytes / best / bandwidth, operations / best / 1e9,
                100 * operations / best / peak, dense / best, timings[i].repetitions);
  }
}

int Main(int argc, char** argv) {
  // What is compared: dense weights, packed ones, OpenBLAS.
  const int threads = IntFlag(argc, argv, "--threads", 2);
  const int rounds = IntFlag(argc, argv, "--rounds", 5);
  const int only_bits = IntFlag(argc, argv, "--bits", 0);
  const auto size = static_cast<size_t>(IntFlag(argc, argv, "--size", 4096));
  ThreadPool pool(threads);
  SilentProgress silent;
  const Context context{pool, silent};

  const Matrix w = RandomMatrix(size, size, 1);
  std::vector<Matrix> plain;
  for (size_t bytes = 0; bytes < kRotationBytes; bytes += size * size * sizeof(float)) {
    plain.push_back(Matrix::CopyOf(w));
  }
  const Weights dense = Rotation([&] {
    return MakeDenseWeight({w.data(), DType::kF32, size, size}, context);
  });

  // The special formats replace the integer products below.
  std::vector<Weights> packed;
  const bool formats = IntFlag(argc, argv, "--formats", 0) != 0;
  if (formats) {
    for (const QuantizedLinear& layer : SpecialLayers(size)) {
      packed.push_back(Rotation([&] { return MakePackedWeight(layer, context); }));
    }
  }

  for (int bits : {2, 3, 4, 8}) {
    if (only_bits != 0 && bits != only_bits) continue;
    const QuantizedLinear layer = RandomLayer(size, bits, 128, static_cast<uint64_t>(bits));
    packed.push_back(Rotation([&] { return MakePackedWeight(layer, context); }));
  }

  // Integer products: weights per channel and in groups, inputs rounded to 8 bits per token.
  for (const auto& [bits, group_size] : {std::pair{8, 0}, {8, 128}, {4, 0}, {4, 128}}) {
    if (formats) break;
    if (only_bits != 0 && bits != only_bits) continue;
    QuantizedLinear layer = RandomLayer(size, bits, group_size, static_cast<uint64_t>(bits));
    layer.activations = Int8PerToken();
    packed.push_back(Rotation([&] { return MakePackedWeight(layer, context); }));
  }

  std::printf("W [%zu, %zu], %d threads, %.*s; read %.1f GB/s, multiply-add %.0f GFLOP/s\n", size,
              size, threads, static_cast<int>(InstructionSet().size()), InstructionSet().data(),
              ReadBandwidth(context) / 1e9, PeakFlops(context) / 1e9);
  std::printf(
      "tokens weight                         best ms median ms   GB/s    read  GFLOP/s   peak  to "
      "dense-f32 n\n");

  std::vector<size_t> all_tokens = {1, 2, 4, 8, 16, 128, 2048};
  if (const int tokens = IntFlag(argc, argv, "--tokens", 0); tokens > 0) {
    all_tokens = {static_cast<size_t>(tokens)};
  }

  // For each number of tokens all weights are timed in turn.
  for (size_t tokens : all_tokens) {
    const Matrix x = RandomMatrix(tokens, size, 2);
    Matrix y(tokens, size);
    // With many tokens arithmetic hides the reads: one weight then gives the same time as many.
    const auto limit = [&](size_t count) { return tokens > 64 ? size_t{1} : count; };

    std::vector<Row> rows;
    const auto add = [&](const Weights& weights) {
      const size_t count = limit(weights.size());
      rows.push_back({std::string(weights[0]->format()),
                      static_cast<double>(weights[0]->weight_bytes()), count, [&, count] {
                        for (size_t i = 0; i < count; ++i) weights[i]->Multiply(x, y, context);
                      }});
    };

    add(dense);
    for (const Weights& weights : packed) add(weights);
    const size_t count = limit(plain.size());
    rows.push_back({"OpenBLAS f32", static_cast<double>(size * size * sizeof(float)), count, [&] {
                      for (size_t i = 0; i < count; ++i) OpenBlasMultiply(x, plain[i], y, threads);
                    }});

    Print(rows, tokens, size, rounds, context);
  }
  return 0;
}

}  // namespace
}  // namespace qualm::bench

int main(int argc, char** argv) { return qualm::bench::Main(argc, argv); }
