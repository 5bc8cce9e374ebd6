// The table of transforms, the look-up by name, and the arithmetic that searches share: rounding a
// scaled weight to nearest and its loss over the linear layers that read an input.
#include "methods/transforms.h"

#include <algorithm>
#include <cmath>

#include "artefact/activations.h"
#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "methods/columns/lanes.h"
#include "methods/quality.h"
#include "methods/transforms/awq.h"
#include "methods/transforms/os_plus.h"
#include "methods/transforms/quarot.h"
#include "methods/transforms/smoothquant.h"

namespace qualm {
namespace {

// One line per file in transforms/.
constexpr TransformEntry kTransforms[] = {
    {"awq", "scales inputs by a searched power of their mean magnitude, then clips weights",
     MakeAwq},
    {"os_plus", "moves inputs to the middle of their ranges and scales the widest ones (OS+)",
     MakeOsPlus},
    {"quarot", "rotates hidden states, heads and the MLP by Hadamard matrices", MakeQuaRot},
    {"smoothquant", "moves the difficulty of activations into the weights", MakeSmoothQuant},
};

}  // namespace

std::span<const TransformEntry> AllTransforms() { return kTransforms; }

std::unique_ptr<Transform> MakeTransform(std::string_view name, const Yaml* options,
                                         std::string_view place) {
  for (const TransformEntry& entry : kTransforms) {
    if (entry.name == name) return entry.make(options);
  }
  ThrowUnknownName(place, "transform", name, TransformNames());
}

std::vector<std::string> TransformNames() {
  std::vector<std::string> names;
  for (const TransformEntry& entry : kTransforms) names.emplace_back(entry.name);
  return names;
}

Matrix WeightClip::Apply(Span2D<const float> weight) const {
  Matrix clipped = Matrix::CopyOf(weight);
  if (empty()) return clipped;

  // Each group of a row is clamped to its own bounds.
  for (size_t r = 0; r < clipped.rows(); ++r) {
    std::span<float> row = clipped.row(r);
    for (size_t group = 0; group < low.cols(); ++group) {
      const size_t first = group * group_size, last = std::min(row.size(), first + group_size);
      for (size_t c = first; c < last; ++c) {
        row[c] = std::clamp(row[c], low(r, group), high(r, group));
      }
    }
  }
  return clipped;
}

namespace {

// RoundScaled row by row, so that ReadersLoss can write rows into memory that it keeps. Construct
// it once per weight and scale; Row may run in several threads.
class ScaledRounding {
 public:
  ScaledRounding(Span2D<const float> weight, const Scheme& scheme, std::span<const float> scale,
                 RoundedPart part, const Context& context)
      : weight_(weight),
        scale_(scale),
        part_(part),
        is_tensor_(scheme.granularity == Granularity::kTensor),
        group_size_(scheme.GroupSize(weight.cols())),
        grid_(GridOf(scheme, context)) {
    if (is_tensor_) tensor_point_ = FitTensor(scaled_, grid_, ClipSearch::kNone, context);
  }

  // Rounds one row into `to`, then undoes the scale and takes the error as asked for.
  void Row(size_t row, std::span<float> to) const {
    const float* const from = weight_.row(row).data();
    const size_t in = to.size();
    for (size_t c = 0; c < in; ++c) to[c] = from[c] * scale_[c];

    // Every group is rounded on a grid of the scaled weights.
    for (size_t begin = 0; begin < in; begin += group_size_) {
      const std::span<float> group = to.subspan(begin, std::min(group_size_, in - begin));
      GridPoint point = tensor_point_;
      if (!is_tensor_) {
        float min = 0, max = 0;
        RangeOf(group, min, max);
        point = grid_.Fit(min, max);
      }
      RoundSame(grid_, point, group, nullptr, group.data());
    }

    // Each further step is one division or subtraction in place.
    if (part_ == RoundedPart::kScaled) return;
    for (size_t c = 0; c < in; ++c) to[c] /= scale_[c];
    if (part_ == RoundedPart::kWhole) return;
    for (size_t c = 0; c < in; ++c) to[c] = from[c] - to[c];
  }

 private:
  // Some grids depend on the whole scaled weight.
  Grid GridOf(const Scheme& scheme, const Context& context) {
    QuantizedLinear unused;
    if (!is_tensor_ && scheme.type != NumberType::kNvfp4) return MakeGrid(weight_, scheme, unused);
    scaled_ = ScaleColumns(weight_, scale_, context);
    return MakeGrid(scaled_, scheme, unused);
  }

  Span2D<const float> weight_;
  std::span<const float> scale_;
  RoundedPart part_;
  bool is_tensor_;
  size_t group_size_;
  Matrix scaled_;
  Grid grid_;
  GridPoint tensor_point_;
};

}  // namespace

Matrix RoundScaled(Span2D<const float> weight, const Scheme& scheme, std::span<const float> scale,
                   RoundedPart part, const Context& context) {
  const ScaledRounding rounding(weight, scheme, scale, part, context);
  Matrix rounded = Matrix::Uninitialized(weight.rows(), weight.cols());
  context.pool.ParallelFor(weight.rows(), [&](size_t row) { rounding.Row(row, rounded.row(row)); });
  return rounded;
}

ReadersLoss::ReadersLoss(const InputReaders& readers) : readers_(readers) {
  for (const TransformLinear& linear : readers.linears) {
    errors_.push_back(linear.scheme == nullptr
                          ? nullptr
                          : MakeWritableWeight(linear.weight.rows(), linear.weight.cols()));
  }
}

double ReadersLoss::Of(std::span<const float> scale, const Context& context) {
  double total = 0;
  for (size_t i = 0; i < errors_.size(); ++i) {
    // A skipped layer has no error.
    if (errors_[i] == nullptr) continue;
    const TransformLinear& linear = readers_.linears[i];
    const ScaledRounding rounding(linear.weight, *linear.scheme, scale, RoundedPart::kError,
                                  context);
    errors_[i]->Write([&](size_t row, std::span<float> to) { rounding.Row(row, to); }, context);
    total += SquaredOutputNorm(readers_.stats->sample, *errors_[i], context);
  }
  return total;
}

std::vector<float> AbsMax(const LayerStats& stats) {
  std::vector<float> result(stats.max.size());
  for (size_t c = 0; c < result.size(); ++c) {
    result[c] = std::max(std::abs(stats.min[c]), std::abs(stats.max[c]));
  }
  return result;
}

// Pieces of columns, so that no two threads write the same element.
std::vector<float> ColumnAbsMax(const InputReaders& readers, const Context& context) {
  std::vector<float> result(readers.linears[0].weight.cols(), 0.0f);
  constexpr size_t kColumns = 256;  // per piece of work
  context.pool.ParallelFor((result.size() + kColumns - 1) / kColumns, [&](size_t piece) {
    const size_t first = piece * kColumns, last = std::min(result.size(), first + kColumns);

    for (const TransformLinear& linear : readers.linears) {
      for (size_t r = 0; r < linear.weight.rows(); ++r) {
        const float* row = linear.weight.row(r).data();
        for (size_t c = first; c < last; ++c) result[c] = std::max(result[c], std::abs(row[c]));
      }
    }
  });
  return result;
}

Matrix ScaleColumns(Span2D<const float> weight, std::span<const float> scale,
                    const Context& context) {
  Matrix scaled = Matrix::Uninitialized(weight.rows(), weight.cols());
  context.pool.ParallelFor(weight.rows(), [&](size_t r) {
    const float* from = weight.row(r).data();
    float* to = scaled.row(r).data();
    for (size_t c = 0; c < scale.size(); ++c) to[c] = from[c] * scale[c];
  });
  return scaled;
}

}  // namespace qualm
