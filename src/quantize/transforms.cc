#include "quantize/transforms.h"

#include <algorithm>
#include <cmath>

#include "artefact/activations.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "quantize/lanes.h"
#include "quantize/quality.h"
#include "quantize/transforms/awq.h"
#include "quantize/transforms/os_plus.h"
#include "quantize/transforms/quarot.h"
#include "quantize/transforms/smoothquant.h"

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

Matrix RoundScaled(Span2D<const float> weight, const Scheme& scheme, std::span<const float> scale,
                   RoundedPart part, ThreadPool& pool) {
  QuantizedLinear shape;
  GridPoint tensor_point;
  const bool is_tensor = scheme.granularity == Granularity::kTensor;
  Matrix scaled;  // where a grid needs to see all of it
  if (is_tensor || scheme.type == NumberType::kNvfp4) scaled = ScaleColumns(weight, scale, pool);
  const Grid grid = MakeGrid(scaled.rows() > 0 ? scaled.view() : weight, scheme, shape);
  if (is_tensor) tensor_point = FitTensor(scaled, grid, ClipSearch::kNone, pool);
  const size_t in = weight.cols(), size = scheme.GroupSize(in);
  Matrix rounded = Matrix::Uninitialized(weight.rows(), in);
  pool.ParallelFor(weight.rows(), [&](size_t r) {
    const float* const from = weight.row(r).data();
    float* const to = rounded.row(r).data();
    for (size_t c = 0; c < in; ++c) to[c] = from[c] * scale[c];
    for (size_t begin = 0; begin < in; begin += size) {
      const std::span<float> group(to + begin, std::min(size, in - begin));
      GridPoint point = tensor_point;
      if (!is_tensor) {
        float min = 0, max = 0;
        RangeOf(group, min, max);
        point = grid.Fit(min, max);
      }
      RoundSame(grid, point, group, nullptr, group.data());
    }
    if (part == RoundedPart::kScaled) return;
    for (size_t c = 0; c < in; ++c) to[c] /= scale[c];
    if (part == RoundedPart::kWhole) return;
    for (size_t c = 0; c < in; ++c) to[c] = from[c] - to[c];
  });
  return rounded;
}

double GroupLoss(const TransformGroup& group, std::span<const float> scale, ThreadPool& pool) {
  double total = 0;
  for (const TransformLinear& linear : group.linears) {
    if (linear.scheme == nullptr) continue;
    const Matrix error =
        RoundScaled(linear.weight, *linear.scheme, scale, RoundedPart::kError, pool);
    total += SquaredOutputNorm(group.stats->sample, error, pool);
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

std::vector<float> ColumnAbsMax(const TransformGroup& group, ThreadPool& pool) {
  std::vector<float> result(group.linears[0].weight.cols(), 0.0f);
  constexpr size_t kColumns = 256;  // per piece of work
  pool.ParallelFor((result.size() + kColumns - 1) / kColumns, [&](size_t piece) {
    const size_t first = piece * kColumns, last = std::min(result.size(), first + kColumns);
    for (const TransformLinear& linear : group.linears) {
      for (size_t r = 0; r < linear.weight.rows(); ++r) {
        const float* row = linear.weight.row(r).data();
        for (size_t c = first; c < last; ++c) result[c] = std::max(result[c], std::abs(row[c]));
      }
    }
  });
  return result;
}

Matrix ScaleColumns(Span2D<const float> weight, std::span<const float> scale, ThreadPool& pool) {
  Matrix scaled = Matrix::Uninitialized(weight.rows(), weight.cols());
  pool.ParallelFor(weight.rows(), [&](size_t r) {
    const float* from = weight.row(r).data();
    float* to = scaled.row(r).data();
    for (size_t c = 0; c < scale.size(); ++c) to[c] = from[c] * scale[c];
  });
  return scaled;
}

}  // namespace qualm
