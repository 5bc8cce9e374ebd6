// Searches how far the range of each output row and group of inputs is shrunk before rounding
// (clip_search.h). All rows of a strip are searched at the same time; the error of a candidate is
// that of the group's part of the output, which needs the group's inputs only.
#include "methods/transforms/clip_search.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/context.h"
#include "base/error.h"
#include "methods/columns/lanes.h"
#include "tensor/tile_update.h"

namespace qualm {
namespace {

// kSteps and kMostTokens are those of llm-awq.
constexpr int kSteps = 10;  // factors 1 − i/20
constexpr size_t kMostTokens = 512;

// Turns the error d of one group's weights into the error of its output: with G = XᵀX of the
// group's inputs, ‖X·d‖² = dᵀ·G·d; with fewer tokens than inputs, X itself is cheaper. One object
// serves all strips of a group.
class GroupError {
 public:
  GroupError(Span2D<const float> sample, size_t first, size_t count, const ClipOptions& options)
      : absolute_(options.first_token) {
    const size_t tokens = options.first_token ? 1 : std::min(kMostTokens, sample.rows());
    const size_t step = options.first_token ? 1 : sample.rows() / tokens;

    // Rows at equal distances over the sample.
    Matrix x(count, tokens);  // transposed
    for (size_t t = 0; t < tokens; ++t) {
      for (size_t c = 0; c < count; ++c) x(c, t) = sample(t * step, first + c);
    }

    is_gram_ = count < tokens;
    if (!is_gram_) {
      factors_ = std::move(x);
      return;
    }

    // The Gram matrix, both halves.
    factors_ = Matrix(count, count);
    for (size_t a = 0; a < count; ++a) {
      for (size_t b = a; b < count; ++b) {
        double sum = 0;
        for (size_t t = 0; t < tokens; ++t) sum += double{x(a, t)} * x(b, t);
        factors_(a, b) = factors_(b, a) = static_cast<float>(sum);
      }
    }
  }

  // difference [count, kPanelLanes] -> error per lane. `room` has space for kPanelLanes·width()
  // floats.
  std::array<double, kPanelLanes> Of(const float* difference, float* room) const {
    // y = −G·d or −X·d.
    const size_t width = factors_.cols();
    std::fill_n(room, width * kPanelLanes, 0.0f);
    for (size_t j = 0; j < factors_.rows(); ++j) {
      SubtractOuter(factors_.row(j).data(), width, difference + j * kPanelLanes, room);
    }

    // dᵀ·G·d from y, or the norm of X·d.
    std::array<double, kPanelLanes> error{};
    for (size_t i = 0; i < width; ++i) {
      for (size_t lane = 0; lane < kPanelLanes; ++lane) {
        const double y = room[i * kPanelLanes + lane];
        error[lane] +=
            is_gram_ ? -y * difference[i * kPanelLanes + lane] : (absolute_ ? std::abs(y) : y * y);
      }
    }
    return error;
  }

  size_t width() const { return factors_.cols(); }

 private:
  bool absolute_, is_gram_;
  Matrix factors_;  // [count, count] or [count, tokens]
};

// The bounds of each lane.
struct LaneRange {
  std::array<float, kPanelLanes> low, high;
};

// The range that factors apply to: the plain one, or the largest magnitude on both sides.
LaneRange RangeToShrink(const float* values, size_t count, bool is_asymmetric) {
  LaneRange range;
  RangeOfLanes(values, count, range.low.data(), range.high.data());
  if (is_asymmetric) return range;
  for (size_t lane = 0; lane < kPanelLanes; ++lane) {
    range.high[lane] = std::max(std::abs(range.low[lane]), std::abs(range.high[lane]));
    range.low[lane] = -range.high[lane];
  }
  return range;
}

// Searches one group of a strip, values [count, kPanelLanes]. Its buffers serve all candidates.
class StripSearch {
 public:
  StripSearch(const Grid& grid, const GroupError& error, size_t count)
      : grid_(grid),
        error_(error),
        count_(count),
        clamped_(count * kPanelLanes),
        difference_(count * kPanelLanes),
        room_(error.width() * kPanelLanes) {}

  LaneRange Run(const float* values, bool is_asymmetric) {
    const LaneRange whole = RangeToShrink(values, count_, is_asymmetric);
    LaneRange best = whole;
    std::array<double, kPanelLanes> least;
    least.fill(INFINITY);

    for (int step = 0; step < kSteps; ++step) {
      const auto factor = static_cast<float>(1.0 - step / 20.0);
      LaneRange range;
      for (size_t lane = 0; lane < kPanelLanes; ++lane) {
        range.low[lane] = whole.low[lane] * factor;
        range.high[lane] = whole.high[lane] * factor;
      }

      // Every lane keeps its own best; of equal errors the first, the widest.
      const std::array<double, kPanelLanes> error = ErrorOf(values, range);
      for (size_t lane = 0; lane < kPanelLanes; ++lane) {
        if (!(error[lane] < least[lane])) continue;
        least[lane] = error[lane];
        best.low[lane] = range.low[lane];
        best.high[lane] = range.high[lane];
      }
    }
    return best;
  }

 private:
  // The error of the output if values are clamped to `range` and rounded to nearest.
  std::array<double, kPanelLanes> ErrorOf(const float* values, const LaneRange& range) {
    // Clamped as the weights will be before they are rounded.
    for (size_t c = 0; c < count_; ++c) {
      for (size_t lane = 0; lane < kPanelLanes; ++lane) {
        const float v = values[c * kPanelLanes + lane];
        const float above = v > range.low[lane] ? v : range.low[lane];
        clamped_[c * kPanelLanes + lane] = above < range.high[lane] ? above : range.high[lane];
      }
    }

    // The grid of the clamped values, and the error that it makes on the values themselves.
    GridLanes lanes;
    grid_.FitLanes(clamped_.data(), count_, ClipSearch::kNone, lanes);
    std::array<float, kPanelLanes> rounded;
    for (size_t c = 0; c < count_; ++c) {
      grid_.QuantizeLanes(&clamped_[c * kPanelLanes], lanes, nullptr, rounded.data());
      for (size_t lane = 0; lane < kPanelLanes; ++lane) {
        difference_[c * kPanelLanes + lane] = values[c * kPanelLanes + lane] - rounded[lane];
      }
    }
    return error_.Of(difference_.data(), room_.data());
  }

  const Grid& grid_;
  const GroupError& error_;
  size_t count_;
  AlignedArray<float> clamped_, difference_, room_;
};

}  // namespace

WeightClip SearchClip(Span2D<const float> weight, const Scheme& scheme, Span2D<const float> sample,
                      const ClipOptions& options, const Context& context) {
  QUALM_CHECK(sample.rows() > 0 && sample.cols() == weight.cols());
  QUALM_CHECK(scheme.granularity != Granularity::kTensor);
  WeightClip clip;
  clip.group_size = scheme.GroupSize(weight.cols());
  const size_t groups = scheme.GroupCount(weight.cols());
  clip.low = Matrix::Uninitialized(weight.rows(), groups);
  clip.high = Matrix::Uninitialized(weight.rows(), groups);

  QuantizedLinear unused;
  const Grid grid = MakeGrid(weight, scheme, unused);
  const size_t strips = StripCount(weight.rows());

  // Group by group, because GroupError depends on the group's inputs only.
  for (size_t group = 0; group < groups; ++group) {
    const size_t first = group * clip.group_size;
    const size_t count = std::min(clip.group_size, weight.cols() - first);
    const GroupError error(sample, first, count, options);
    context.pool.ParallelFor(strips, [&](size_t strip) {
      AlignedArray<float> values(count * kPanelLanes);
      const size_t row = strip * kPanelLanes;
      LoadStrip({weight.data() + first, weight.rows(), count, weight.stride()}, row, values.data());

      const LaneRange range =
          StripSearch(grid, error, count).Run(values.data(), options.is_asymmetric);

      for (size_t lane = 0; lane < std::min(kPanelLanes, weight.rows() - row); ++lane) {
        clip.low(row + lane, group) = range.low[lane];
        clip.high(row + lane, group) = range.high[lane];
      }
    });
  }
  return clip;
}

}  // namespace qualm
