// QuIP (Chee et al. 2023): W and H are made incoherent by random orthogonal matrices on both sides
// and a diagonal rescaling (section 4), then rounded by LDLQ (section 3), which is the column loop
// of GPTQ, optionally followed by greedy passes over the columns (appendix). In: weights, the Gram
// matrix and a seed. Out: codes on one grid for the whole matrix, and the rotations, which run
// online.
#include "quantize/rounders/quip.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "artefact/grid.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "kernels/transformed_weight.h"
#include "quantize/gptq_columns.h"
#include "quantize/greedy_pass.h"
#include "quantize/hessian.h"
#include "quantize/lanes.h"
#include "quantize/method_options.h"

namespace qualm {
namespace {

enum class RotationKind { kKronecker, kHadamard };

EnumNames NamesOfEnum(RotationKind) {
  static constexpr std::array<std::string_view, 2> kNames = {"kronecker", "hadamard"};
  return {"rotation", kNames};
}

struct Options {
  bool incoherence = true;
  RotationKind rotation = RotationKind::kKronecker;
  bool rescale = true;
  double rho = 2.4;  // the grid covers ±rho·‖W‖_F/√(mn)
  double damp = 0.01;
  int64_t greedy_passes = 0;
  // As the reference program: weights beyond the grid are cut off before they are rounded, so that
  // no other column makes up for it.
  bool clamp_first = false;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("incoherence", self.incoherence,
          {.meaning = "rotate before rounding; false is LDLQ alone"});
    visit("rotation", self.rotation,
          {.meaning = "products of two small orthogonal matrices, or signs and a Hadamard matrix"});
    visit("rescale", self.rescale, {.meaning = "balance the diagonals of H and of WᵀW first"});
    visit("rho", self.rho,
          {.meaning = "the grid covers this many root mean squares of the weights",
           .range = InRange(0.1, 100)});
    visit("damp", self.damp,
          {.meaning = "damp times the mean of diag(H) is added to the diagonal",
           .range = InRange(0, 100)});
    visit("greedy_passes", self.greedy_passes,
          {.meaning = "passes of coordinate descent afterwards", .range = InRange(0, 100)});
    visit("clamp_first", self.clamp_first,
          {.meaning = "weights beyond the grid are cut off before rounding"});
  }
};

// What is rounded: W and the Gram matrix behind the transforms.
struct Incoherent {
  Matrix weight, gram;
  std::vector<OnlineTransform> transforms;
};

OnlineTransform MakeRotation(OnlineTransform::Side side, size_t n, RotationKind kind,
                             uint64_t seed) {
  OnlineTransform rotation;
  rotation.side = side;
  rotation.seed = seed;
  if (kind == RotationKind::kHadamard) {
    rotation.kind = OnlineTransform::Kind::kHadamard;
    rotation.dims = {static_cast<uint32_t>(LargestHadamardBlock(n))};
    return rotation;
  }
  const auto [p, q] = KroneckerSizes(n);
  rotation.kind = OnlineTransform::Kind::kKronecker;
  rotation.dims = {static_cast<uint32_t>(p), static_cast<uint32_t>(q)};
  rotation.factors = DrawKroneckerFactors(p, q, seed);
  return rotation;
}

// D with D_j⁴ = H_jj / (WᵀW)_jj: W·D and D⁻¹·H·D⁻¹ have proportional diagonals. Both diagonals are
// at least 1e-8 of their largest.
std::vector<float> Rescaling(const Incoherent& data) {
  const size_t n = data.weight.cols();
  std::vector<double> h(n), w(n, 0.0);
  for (size_t j = 0; j < n; ++j) h[j] = data.gram(j, j);
  for (size_t r = 0; r < data.weight.rows(); ++r) {
    for (size_t j = 0; j < n; ++j) w[j] += double{data.weight(r, j)} * data.weight(r, j);
  }
  constexpr double kLeast = 1e-8;
  const double most_h = *std::ranges::max_element(h), most_w = *std::ranges::max_element(w);
  std::vector<float> scale(n, 1.0f);
  if (most_h == 0 || most_w == 0) return scale;
  for (size_t j = 0; j < n; ++j) {
    const double ratio = std::max(h[j] / most_h, kLeast) / std::max(w[j] / most_w, kLeast);
    scale[j] = static_cast<float>(std::pow(ratio, 0.25));
  }
  return scale;
}

Incoherent MakeIncoherent(const RounderInput& input, const Options& options, ThreadPool& pool) {
  Incoherent data{Matrix::CopyOf(input.weight), Matrix::CopyOf(input.gram), {}};
  if (!options.incoherence) return data;
  if (options.rescale) {
    const std::vector<float> scale = Rescaling(data);
    OnlineTransform online;
    online.factors = scale;
    pool.ParallelFor(data.weight.rows(), [&](size_t r) {
      for (size_t j = 0; j < scale.size(); ++j) data.weight(r, j) *= scale[j];
    });
    pool.ParallelFor(scale.size(), [&](size_t i) {
      for (size_t j = 0; j < scale.size(); ++j) {
        data.gram(i, j) = data.gram(i, j) / scale[i] / scale[j];
      }
    });
    data.transforms.push_back(std::move(online));
  }
  // Layers of one model get rotations of their own.
  Rng seeds(input.seed, StrCat("quip ", input.layer));
  const size_t out = data.weight.rows(), in = data.weight.cols();
  data.transforms.push_back(
      MakeRotation(OnlineTransform::Side::kInput, in, options.rotation, seeds.Next()));
  const auto right = RotationOf(data.transforms.back(), in);
  data.transforms.push_back(
      MakeRotation(OnlineTransform::Side::kOutput, out, options.rotation, seeds.Next()));
  const auto left = RotationOf(data.transforms.back(), out);
  RotateRows(*right, /*transposed=*/false, data.weight, pool);
  RotateColumns(*left, /*transposed=*/false, data.weight, pool);
  RotateRows(*right, /*transposed=*/false, data.gram, pool);
  RotateColumns(*right, /*transposed=*/false, data.gram, pool);
  // Symmetric again: rows and columns were rounded in another order.
  for (size_t i = 0; i < in; ++i) {
    for (size_t j = 0; j < i; ++j) data.gram(i, j) = data.gram(j, i);
  }
  return data;
}

// ±rho·‖W‖_F/√(mn) over all codes: s = 2·range/(2^b − 1), z in the middle.
GridPoint PointOf(const Matrix& weight, const Scheme& scheme, double rho) {
  double squares = 0;
  for (size_t r = 0; r < weight.rows(); ++r) {
    for (float w : weight.row(r)) squares += double{w} * w;
  }
  const double count = static_cast<double>(weight.rows()) * static_cast<double>(weight.cols());
  const auto range = static_cast<float>(rho * std::sqrt(squares / count));
  GridPoint point = Grid(scheme, scheme.bits).Fit(-range, range);
  point.zero = static_cast<float>((1 << scheme.bits) - 1) / 2;
  return point;
}

class Quip final : public WithOptions<Rounder, Options> {
 public:
  using WithOptions::WithOptions;

  std::string_view name() const override { return "quip"; }
  bool needs_gram() const override { return true; }
  bool stores_scheme_only() const override { return false; }

  void RequireScheme(const Scheme& scheme, std::string_view layer) const override {
    if (scheme.type == NumberType::kInteger && scheme.granularity == Granularity::kTensor &&
        scheme.zero_point == ZeroPointKind::kFloat && !scheme.range_includes_zero) {
      return;
    }
    ThrowBadInput(StrCat("layer ", layer),
                  "integers with granularity: tensor, zero_point: float and range_includes_zero: "
                  "false",
                  scheme.ShortName(), "quip has one grid around 0 for the whole rotated matrix");
  }

  RounderResult Round(const RounderInput& input, const Scheme& scheme,
                      ThreadPool& pool) const override {
    RequireFinite(input.weight, input.layer);
    RequireScheme(scheme, input.layer);
    Incoherent data = MakeIncoherent(input, options_, pool);
    RounderInput rotated = input;
    rotated.weight = data.weight;
    rotated.gram = data.gram;
    HessianOptions hessian;
    hessian.damp = options_.damp;
    const HessianFactor factor = FactorHessian(rotated, hessian, pool);
    RounderResult result;
    DescribeFactor(factor, options_.damp, result);
    ColumnLoopOptions columns;
    columns.tensor_point = PointOf(data.weight, scheme, options_.rho);
    if (options_.clamp_first) Clamp(*columns.tensor_point, scheme.bits, data.weight);
    result.layer = result.fell_back_to_rtn
                       ? QuantizeColumns(data.weight, scheme, IdentityFactor(data.weight.cols()),
                                         columns, pool)
                       : QuantizeColumns(data.weight, scheme, factor, columns, pool);
    for (int64_t pass = 0; pass < options_.greedy_passes && !result.fell_back_to_rtn; ++pass) {
      GreedyPass(data.weight, data.gram, options_.damp, result.layer, pool);
    }
    result.layer.transforms = data.transforms;
    return result;
  }

 private:
  static void Clamp(GridPoint point, int bits, Matrix& weight) {
    const float most = static_cast<float>((1 << bits) - 1) - point.zero;
    for (size_t r = 0; r < weight.rows(); ++r) {
      for (float& w : weight.row(r)) {
        w = std::clamp(w, -point.scale * point.zero, point.scale * most);
      }
    }
  }
};

}  // namespace

std::unique_ptr<Rounder> MakeQuip(const Yaml* options) {
  return std::make_unique<Quip>(OptionsFrom<Options>(options));
}

}  // namespace qualm
