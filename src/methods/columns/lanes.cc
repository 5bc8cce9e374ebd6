// Between matrices and strips of kPanelLanes rows: loads a strip's weights, stores its codes,
// scales and zero points, and allocates the layer that they go to. RoundByGroup is the whole of
// round-to-nearest on top of them. The checks that all rounders share are here too.
#include "methods/columns/lanes.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "artefact/codebook.h"
#include "base/context.h"
#include "base/error_place.h"
#include "base/strings.h"

namespace qualm {

void LoadStrip(Span2D<const float> weight, size_t first_row, float* values) {
  const size_t in = weight.cols();
  for (size_t lane = 0; lane < kPanelLanes; ++lane) {
    if (first_row + lane < weight.rows()) {
      const float* row = weight.row(first_row + lane).data();
      for (size_t c = 0; c < in; ++c) values[c * kPanelLanes + lane] = row[c];
    } else {
      for (size_t c = 0; c < in; ++c) values[c * kPanelLanes + lane] = 0;
    }
  }
}

QuantizedLinear MakeQuantizedLinear(size_t out_features, size_t in_features, const Scheme& scheme) {
  QuantizedLinear layer;
  layer.out_features = out_features;
  layer.in_features = in_features;
  layer.scheme = scheme;
  layer.codes.resize(out_features * in_features);
  // Scales of a second level: bytes per row and group, and float pairs per block of rows.
  if (scheme.second_level) {
    const auto rows = static_cast<size_t>(scheme.second_level->group_rows);
    const size_t groups = scheme.GroupCount(in_features);
    const size_t blocks = (out_features + rows - 1) / rows;
    SecondLevelValues empty{std::vector<uint8_t>(out_features * groups),
                            std::vector<float>(blocks * groups),
                            std::vector<float>(blocks * groups)};
    layer.second_level_scales = empty;
    if (!scheme.is_symmetric()) layer.second_level_zeros = std::move(empty);
    return layer;
  }

  // Else one float scale per tensor, channel or group, and a zero point if the scheme has them.
  layer.scales.resize(scheme.granularity == Granularity::kTensor
                          ? 1
                          : out_features * scheme.GroupCount(in_features));
  if (!scheme.is_symmetric()) layer.zeros.resize(layer.scales.size());
  return layer;
}

void StoreCodes(const uint8_t* codes, size_t first_row, std::span<const uint32_t> order,
                QuantizedLinear& to) {
  const size_t in = to.in_features, rows = std::min(kPanelLanes, to.out_features - first_row);
  for (size_t lane = 0; lane < rows; ++lane) {
    uint8_t* row = to.codes.data() + (first_row + lane) * in;
    for (size_t p = 0; p < in; ++p) {
      row[order.empty() ? p : order[p]] = codes[p * kPanelLanes + lane];
    }
  }
}

void StorePoints(const GridLanes& lanes, size_t first_row, size_t group, QuantizedLinear& to) {
  const size_t groups = to.group_count();
  const size_t rows = std::min(kPanelLanes, to.out_features - first_row);
  for (size_t lane = 0; lane < rows; ++lane) {
    // A kTensor scheme has a single point, which the first row stores.
    size_t at = (first_row + lane) * groups + group;
    if (to.scheme.granularity == Granularity::kTensor) {
      if (at > 0) return;
      at = 0;
    }

    // The grid of nvfp4 works with group scale times tensor scale; only the former is stored.
    to.scales[at] =
        HasByteScales(to.scheme.type)
            ? DecodeByteScale(to.scheme.type,
                              EncodeByteScale(to.scheme.type, lanes.scale[lane] / to.tensor_scale))
            : lanes.scale[lane];
    if (!to.zeros.empty()) to.zeros[at] = lanes.zero[lane];
  }
}

GridLanes SamePoint(GridPoint point) {
  GridLanes lanes;
  lanes.scale.fill(point.scale);
  lanes.zero.fill(point.zero);
  return lanes;
}

GridPoint FitTensor(Span2D<const float> weight, const Grid& grid, ClipSearch search,
                    const Context& context) {
  const size_t strips = StripCount(weight.rows());
  // The range of the whole matrix.
  float min = weight(0, 0), max = weight(0, 0);
  for (size_t r = 0; r < weight.rows(); ++r) {
    for (float value : weight.row(r)) {
      min = std::min(min, value);
      max = std::max(max, value);
    }
  }
  const GridPoint whole = grid.Fit(min, max);
  if (search == ClipSearch::kNone) return whole;
  // Squared errors of every shrink step, by strip: they are added in order of the strips, so the
  // choice does not depend on the threads.
  std::vector<std::array<double, kShrinkSteps>> errors(strips);
  std::array<float, kPanelLanes> unit;
  unit.fill(1 / whole.scale);
  context.pool.ParallelFor(strips, [&](size_t strip) {
    AlignedArray<float> values(weight.cols() * kPanelLanes);
    LoadStrip(weight, strip * kPanelLanes, values.data());

    // Rows beyond the matrix are zeros and must not count.
    const size_t rows = std::min(kPanelLanes, weight.rows() - strip * kPanelLanes);
    for (int step = 0; step < kShrinkSteps; ++step) {
      const float factor = ShrinkFactor(step);
      std::array<double, kPanelLanes> sums{};
      grid.AddClipErrors(values.data(), weight.cols(),
                         SamePoint(grid.Fit(factor * min, factor * max)), unit, sums.data());
      double& total = errors[strip][static_cast<size_t>(step)];
      total = 0;
      for (size_t lane = 0; lane < rows; ++lane) total += sums[lane];
    }
  });

  // The step with the least error; of equal ones the first, which shrinks least.
  std::array<double, kShrinkSteps> total{};
  for (const auto& of_strip : errors) {
    for (size_t step = 0; step < total.size(); ++step) total[step] += of_strip[step];
  }
  const auto best = static_cast<int>(std::ranges::min_element(total) - total.begin());
  return grid.Fit(ShrinkFactor(best) * min, ShrinkFactor(best) * max);
}

void RoundByGroup(Span2D<const float> weight, const Grid& grid, const GroupFit& fit,
                  QuantizedLinear& layer, const Context& context) {
  const size_t in = weight.cols();
  context.pool.ParallelFor(StripCount(weight.rows()), [&](size_t strip) {
    const size_t first_row = strip * kPanelLanes;
    AlignedArray<float> values(in * kPanelLanes);
    AlignedArray<uint8_t> codes(in * kPanelLanes);
    std::array<float, kPanelLanes> rounded;
    LoadStrip(weight, first_row, values.data());

    // Each group gets its scale, then its columns get their codes.
    for (size_t group = 0; group < layer.group_count(); ++group) {
      const size_t begin = group * layer.group_size();
      const size_t end = std::min(in, begin + layer.group_size());
      GridLanes lanes;
      fit(values.data() + begin * kPanelLanes, end - begin, lanes);
      StorePoints(lanes, first_row, group, layer);
      for (size_t c = begin; c < end; ++c) {
        grid.QuantizeLanes(values.data() + c * kPanelLanes, lanes, codes.data() + c * kPanelLanes,
                           rounded.data());
      }
    }

    StoreCodes(codes.data(), first_row, {}, layer);
  });
}

std::string ScaleLimitNote(const QuantizedLinear& layer) {
  // The scales of byte types have a tensor scale that makes them fit.
  if (HasByteScales(layer.scheme.type)) return "";
  const DType type = layer.scheme.scale_type;
  const float largest = type == DType::kF16    ? kLargestHalf
                        : type == DType::kBF16 ? 0x1.fep127f
                                               : std::numeric_limits<float>::max();

  const auto limited = std::ranges::count(layer.scales, largest);
  if (limited == 0) return "";
  return StrCat(limited, " scales were lowered to ", largest, ", the largest ", NameOf(type),
                ": weights are clipped; use scale_type float32");
}

void RequireFinite(Span2D<const float> weight) {
  for (size_t r = 0; r < weight.rows(); ++r) {
    for (size_t c = 0; c < weight.cols(); ++c) {
      if (std::isfinite(weight(r, c))) continue;
      ThrowExpected("finite weights", StrCat(weight(r, c)), StrCat("at row ", r, ", column ", c));
    }
  }
}

Grid MakeGrid(Span2D<const float> weight, const Scheme& scheme, QuantizedLinear& layer) {
  if (scheme.type == NumberType::kNvfp4) {
    float largest = 0;
    for (size_t r = 0; r < weight.rows(); ++r) {
      for (float value : weight.row(r)) largest = std::max(largest, std::abs(value));
    }
    layer.tensor_scale = TensorScaleFor(largest);
  }
  return Grid(scheme, scheme.bits, layer.tensor_scale);
}

void RequireStaticScheme(const Scheme& scheme, size_t in_features, bool takes_second_level) {
  // Scales per token or at run time are for activations only.
  if (scheme.granularity == Granularity::kToken || scheme.dynamic) {
    ThrowExpected("granularity tensor, channel or group",
                  scheme.dynamic ? "a dynamic scheme" : "token");
  }
  if (scheme.second_level && !takes_second_level) {
    ThrowExpected("a scheme without second_level", "one", "this rounder does not quantize scales");
  }
  if (scheme.granularity == Granularity::kGroup &&
      static_cast<size_t>(scheme.group_size) > in_features) {
    ThrowExpected(StrCat("group_size of at most in_features ", in_features),
                  StrCat(scheme.group_size), "use a smaller group or granularity: channel");
  }
}

}  // namespace qualm
