// Applies the online transforms of a layer around an inner weight: scales, shifts and rotations of
// the inputs before the product, and of the outputs after it. EffectiveWeight folds the same
// transforms into a plain matrix, for measuring and verifying.
#include "kernels/transformed_weight.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

using Kind = OnlineTransform::Kind;
using Side = OnlineTransform::Side;

bool IsRotation(const OnlineTransform& transform) {
  return transform.kind == Kind::kHadamard || transform.kind == Kind::kKronecker;
}

// One transform made ready for rows of n numbers: the rotation, if there is one, is built once here
// and not for every row.
class Step {
 public:
  Step(const OnlineTransform& transform, size_t n) : transform_(transform) {
    if (IsRotation(transform)) rotation_ = RotationOf(transform, n);
  }

  void Apply(std::span<float> row) const {
    const float* const factors = transform_.factors.data();
    switch (transform_.kind) {
      case Kind::kScale:
        for (size_t c = 0; c < row.size(); ++c) row[c] /= factors[c];
        return;
      case Kind::kShift:
        for (size_t c = 0; c < row.size(); ++c) row[c] -= factors[c];
        return;
      case Kind::kHadamard:
      case Kind::kKronecker:
        // The output side undoes the rotation that was applied to W's rows before quantization.
        if (transform_.side == Side::kInput) {
          rotation_->Apply(row);
        } else {
          rotation_->ApplyTransposed(row);
        }
        return;
      case Kind::kMatrix:
        MultiplyBlocks(row, transform_.factors, transform_.dims[0]);
        return;
    }
  }

 private:
  OnlineTransform transform_;
  std::shared_ptr<const Rotation> rotation_;
};

// The transforms of one side, in the order in which they are applied.
std::vector<Step> StepsOf(std::span<const OnlineTransform> transforms, Side side, size_t n) {
  std::vector<Step> steps;
  for (const OnlineTransform& transform : transforms) {
    if (transform.side == side) steps.emplace_back(transform, n);
  }
  return steps;
}

// Applies all steps to each row, in place.
void ApplyTo(const std::vector<Step>& steps, Span2D<float> rows, const Context& context) {
  if (steps.empty()) return;
  context.pool.ParallelFor(rows.rows(), [&](size_t t) {
    for (const Step& step : steps) step.Apply(rows.row(t));
  });
}

// The inner weight's format with the name of each transform appended.
std::string FormatOf(std::string_view inner, std::span<const OnlineTransform> transforms) {
  static constexpr std::array<std::string_view, 5> kNames = {"scale", "shift", "hadamard",
                                                             "kronecker", "matrix"};
  std::string name(inner);
  for (const OnlineTransform& transform : transforms) {
    name += StrCat("+", kNames[static_cast<size_t>(transform.kind)]);
  }
  return name;
}

// Wraps a weight: Multiply transforms a copy of the inputs, multiplies, then transforms the outputs
// in place. factor_bytes_ counts what the transforms read in addition to the weight.
class TransformedWeight final : public LinearWeight {
 public:
  TransformedWeight(std::unique_ptr<LinearWeight> inner,
                    std::span<const OnlineTransform> transforms)
      : inner_(std::move(inner)),
        inputs_(StepsOf(transforms, Side::kInput, inner_->in_features())),
        outputs_(StepsOf(transforms, Side::kOutput, inner_->out_features())),
        format_(FormatOf(inner_->format(), transforms)) {
    for (const OnlineTransform& transform : transforms) {
      factor_bytes_ += transform.factors.size() * sizeof(float);
    }
  }

  size_t out_features() const override { return inner_->out_features(); }
  size_t in_features() const override { return inner_->in_features(); }
  size_t weight_bytes() const override { return inner_->weight_bytes() + factor_bytes_; }
  std::string_view format() const override { return format_; }

  void Multiply(Span2D<const float> x, Span2D<float> y, const Context& context) const override {
    if (inputs_.empty()) {
      inner_->Multiply(x, y, context);
    } else {
      Matrix inputs = Matrix::CopyOf(x);
      ApplyTo(inputs_, inputs, context);
      inner_->Multiply(inputs, y, context);
    }
    ApplyTo(outputs_, y, context);
  }

 private:
  std::unique_ptr<LinearWeight> inner_;
  std::vector<Step> inputs_, outputs_;
  std::string format_;
  size_t factor_bytes_ = 0;
};

}  // namespace

void MultiplyBlocks(std::span<float> row, std::span<const float> matrix, size_t side) {
  const float length = std::sqrt(static_cast<float>(side));
  std::vector<float> product(side);
  for (size_t first = 0; first < row.size(); first += side) {
    std::ranges::fill(product, 0.0f);
    for (size_t i = 0; i < side; ++i) {
      const float value = row[first + i];
      const float* const factors = matrix.data() + i * side;
      for (size_t j = 0; j < side; ++j) product[j] += value * factors[j];
    }
    for (size_t j = 0; j < side; ++j) row[first + j] = product[j] / length;
  }
}

namespace {

// The transform of a matrix, put into the weight: rows for the input side, columns for the
// output's.
void FoldMatrix(const OnlineTransform& transform, Matrix& weight) {
  const size_t side = transform.dims[0];
  const float length = std::sqrt(static_cast<float>(side));
  const auto factor = [&](size_t i, size_t j) { return transform.factors[i * side + j] / length; };
  const bool is_input = transform.side == Side::kInput;
  const Matrix before = Matrix::CopyOf(weight);
  for (size_t r = 0; r < weight.rows(); ++r) {
    for (size_t c = 0; c < weight.cols(); ++c) {
      const size_t place = is_input ? c : r, first = place / side * side;
      float sum = 0;
      for (size_t k = 0; k < side; ++k) {
        sum += is_input ? before(r, first + k) * factor(c - first, k)
                        : before(first + k, c) * factor(k, r - first);
      }
      weight(r, c) = sum;
    }
  }
}

}  // namespace

std::unique_ptr<Rotation> RotationOf(const OnlineTransform& transform, size_t n) {
  QUALM_CHECK(IsRotation(transform));
  if (transform.kind == Kind::kHadamard) {
    return MakeHadamard(n, transform.dims.at(0), transform.seed);
  }
  return MakeKronecker(transform.dims.at(0), transform.dims.at(1), transform.factors,
                       transform.seed);
}

Matrix TransformInputs(std::span<const OnlineTransform> transforms, Span2D<const float> x,
                       const Context& context) {
  Matrix result = Matrix::CopyOf(x);
  ApplyTo(StepsOf(transforms, Side::kInput, x.cols()), result, context);
  return result;
}

void TransformOutputs(std::span<const OnlineTransform> transforms, Span2D<float> y,
                      const Context& context) {
  ApplyTo(StepsOf(transforms, Side::kOutput, y.cols()), y, context);
}

std::unique_ptr<LinearWeight> WithTransforms(std::unique_ptr<LinearWeight> inner,
                                             std::span<const OnlineTransform> transforms) {
  if (transforms.empty()) return inner;
  return std::make_unique<TransformedWeight>(std::move(inner), transforms);
}

Matrix EffectiveWeight(const QuantizedLinear& layer, const Context& context) {
  Matrix weight = layer.Dequantize();

  // y = O·Ŵ·T_k···T_1·x: the input transforms act on the rows of Ŵ, the last one first.
  for (auto it = layer.transforms.rbegin(); it != layer.transforms.rend(); ++it) {
    if (it->side != Side::kInput || it->kind == Kind::kShift) continue;
    if (it->kind == Kind::kMatrix) {
      FoldMatrix(*it, weight);
      continue;
    }
    if (IsRotation(*it)) {
      RotateRows(*RotationOf(*it, layer.in_features), /*transposed=*/true, weight, context);
      continue;
    }

    context.pool.ParallelFor(weight.rows(), [&](size_t r) {
      for (size_t c = 0; c < weight.cols(); ++c) weight(r, c) /= it->factors[c];
    });
  }

  // The output transforms act on the columns of Ŵ, in their own order.
  for (const OnlineTransform& transform : layer.transforms) {
    if (transform.side != Side::kOutput || transform.kind == Kind::kShift) continue;
    if (transform.kind == Kind::kMatrix) {
      FoldMatrix(transform, weight);
      continue;
    }
    if (IsRotation(transform)) {
      RotateColumns(*RotationOf(transform, layer.out_features), /*transposed=*/true, weight,
                    context);
      continue;
    }

    for (size_t r = 0; r < weight.rows(); ++r) {
      for (float& w : weight.row(r)) w /= transform.factors[r];
    }
  }
  return weight;
}

}  // namespace qualm
