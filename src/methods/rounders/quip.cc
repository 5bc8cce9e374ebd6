// QuIP (Chee et al. 2023): random orthogonal matrices on both sides and a diagonal rescaling make W
// and H incoherent (section 4); then LDLQ (section 3), which is the column loop of GPTQ, rounds
// them, optionally followed by greedy passes over the columns (appendix). In: weights, the Gram
// matrix and a seed. Out: codes on one grid for the whole matrix, and the rotations, which run
// online.
#include "methods/rounders/quip.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "artefact/grid.h"
#include "base/context.h"
#include "base/error_place.h"
#include "base/rng.h"
#include "base/strings.h"
#include "kernels/transformed_weight.h"
#include "methods/columns/gptq_columns.h"
#include "methods/columns/greedy_pass.h"
#include "methods/columns/hessian.h"
#include "methods/columns/lanes.h"
#include "methods/method_options.h"

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
  // As the reference program does it: weights beyond the grid are cut off before they are rounded,
  // so that no other column compensates for that.
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

// W and the Gram matrix after the transforms, which is what gets rounded.
struct Incoherent {
  Matrix weight, gram;
  std::vector<OnlineTransform> transforms;
};

OnlineTransform MakeRotation(OnlineTransform::Side side, size_t n, RotationKind kind,
                             uint64_t seed) {
  OnlineTransform rotation;
  rotation.side = side;
  rotation.seed = seed;
  // Hadamard matrices exist for blocks of some sizes only; the largest block is repeated.
  if (kind == RotationKind::kHadamard) {
    rotation.kind = OnlineTransform::Kind::kHadamard;
    rotation.dims = {static_cast<uint32_t>(LargestHadamardBlock(n))};
    return rotation;
  }

  // The product of two small matrices needs p² + q² numbers instead of n².
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
  // Both diagonals, relative to their largest elements below.
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

// Applies rescaling and rotations to W and to the Gram matrix, and lists them as online transforms.
Incoherent MakeIncoherent(const RounderInput& input, const Options& options,
                          const Context& context) {
  Incoherent data{Matrix::CopyOf(input.weight), Matrix::CopyOf(input.gram), {}};
  if (!options.incoherence) return data;
  if (options.rescale) {
    const std::vector<float> scale = Rescaling(data);
    // x/d meets W·d, and the Gram matrix of x/d has 1/d on both sides.
    OnlineTransform online;
    online.factors = scale;
    context.pool.ParallelFor(data.weight.rows(), [&](size_t r) {
      for (size_t j = 0; j < scale.size(); ++j) data.weight(r, j) *= scale[j];
    });
    context.pool.ParallelFor(scale.size(), [&](size_t i) {
      for (size_t j = 0; j < scale.size(); ++j) {
        data.gram(i, j) = data.gram(i, j) / scale[i] / scale[j];
      }
    });
    data.transforms.push_back(std::move(online));
  }

  // Each layer of a model gets different rotations.
  Rng seeds(input.seed, StrCat("quip ", input.layer));
  const size_t out = data.weight.rows(), in = data.weight.cols();
  data.transforms.push_back(
      MakeRotation(OnlineTransform::Side::kInput, in, options.rotation, seeds.Next()));
  const auto right = RotationOf(data.transforms.back(), in);
  data.transforms.push_back(
      MakeRotation(OnlineTransform::Side::kOutput, out, options.rotation, seeds.Next()));
  const auto left = RotationOf(data.transforms.back(), out);

  // The rotation of the inputs acts on both, that of the outputs on W only.
  RotateRows(*right, /*transposed=*/false, data.weight, context);
  RotateColumns(*left, /*transposed=*/false, data.weight, context);
  RotateRows(*right, /*transposed=*/false, data.gram, context);
  RotateColumns(*right, /*transposed=*/false, data.gram, context);
  // The two passes rounded rows and columns in different order, so the halves differ in the last
  // bits.
  for (size_t i = 0; i < in; ++i) {
    for (size_t j = 0; j < i; ++j) data.gram(i, j) = data.gram(j, i);
  }
  return data;
}

// The point whose codes cover ±rho·‖W‖_F/√(mn): s = 2·range/(2^b − 1), z in the middle.
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

  void RequireScheme(const Scheme& scheme) const override {
    if (scheme.type == NumberType::kInteger && scheme.granularity == Granularity::kTensor &&
        scheme.zero_point == ZeroPointKind::kFloat && !scheme.range_includes_zero) {
      return;
    }
    ThrowExpected(
        "integers with granularity: tensor, zero_point: float and range_includes_zero: "
        "false",
        scheme.ShortName(), "quip has one grid around 0 for the whole rotated matrix");
  }

  RounderResult Round(const RounderInput& input, const Scheme& scheme,
                      const Context& context) const override {
    RequireFinite(input.weight);
    RequireScheme(scheme);
    // Everything after this happens in the rotated basis.
    Incoherent data = MakeIncoherent(input, options_, context);
    RounderInput rotated = input;
    rotated.weight = data.weight;
    rotated.gram = data.gram;
    HessianOptions hessian;
    hessian.damp = options_.damp;
    const HessianFactor factor = FactorHessian(rotated, hessian, context);
    RounderResult result;
    DescribeFactor(factor, options_.damp, result);

    ColumnLoopOptions columns;
    // One grid for the whole matrix, from its root mean square.
    columns.tensor_point = PointOf(data.weight, scheme, options_.rho);
    if (options_.clamp_first) Clamp(*columns.tensor_point, scheme.bits, data.weight);

    result.layer = result.fell_back_to_rtn
                       ? QuantizeColumns(data.weight, scheme, IdentityFactor(data.weight.cols()),
                                         columns, context)
                       : QuantizeColumns(data.weight, scheme, factor, columns, context);

    // Greedy passes need the Gram matrix to be usable.
    for (int64_t pass = 0; pass < options_.greedy_passes && !result.fell_back_to_rtn; ++pass) {
      GreedyPass(data.weight, data.gram, options_.damp, result.layer, context);
    }
    result.layer.transforms = data.transforms;
    return result;
  }

 private:
  // Clamps weights to the range that the codes cover.
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
