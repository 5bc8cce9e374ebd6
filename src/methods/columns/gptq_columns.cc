// The column loop of GPTQ with lazy updates: weights, scheme and the factor of the Hessian come in,
// the codes and scales of the layer go out. Rows are independent, so each thread takes a few strips
// of kPanelLanes rows through all columns (RowTask). A block's errors reach the columns after it in
// one matrix product (UpdateRest), which reads U from a packed copy (PackedUpper).
#include "methods/columns/gptq_columns.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/context.h"
#include "base/error.h"
#include "methods/columns/lanes.h"
#include "tensor/tile_update.h"

namespace qualm {
namespace {

constexpr size_t kMostStripsPerTask = 8;  // rows of W that share a pass over U: 8·16

// The part of U that lazy updates read, in the order in which they read it: for each block of rows,
// strips of kStripColumns columns from the block's end on, [rows of the block, kStripColumns] each.
// The first strip may begin a little before the end.
class PackedUpper {
 public:
  PackedUpper(const Matrix& upper, size_t block, const Context& context) : block_(block) {
    const size_t n = upper.rows();

    // Each block of rows that has columns after it gets one piece of values_.
    for (size_t end = block; end < n; end += block) {
      starts_.push_back(size_);
      size_ += (StripsEnd(n) - FirstStrip(end)) * block * kStripColumns;
    }
    values_ = AlignedArray<float>(size_);
    context.pool.ParallelFor(starts_.size(), [&](size_t b) {
      float* to = values_.data() + starts_[b];
      for (size_t strip = FirstStrip((b + 1) * block); strip < StripsEnd(n); ++strip) {
        for (size_t r = b * block; r < (b + 1) * block; ++r) {
          for (size_t c = strip * kStripColumns; c < (strip + 1) * kStripColumns; ++c) {
            *to++ = c < n ? upper(r, c) : 0.0f;
          }
        }
      }
    });
  }

  static size_t FirstStrip(size_t column) { return column / kStripColumns; }
  static size_t StripsEnd(size_t columns) { return (columns + kStripColumns - 1) / kStripColumns; }

  // The strips of the rows [begin, begin + block).
  const float* OfBlock(size_t begin) const { return values_.data() + starts_[begin / block_]; }

 private:
  size_t block_, size_ = 0;
  std::vector<size_t> starts_;  // by block; the last block updates nothing
  AlignedArray<float> values_;
};

// What all tasks read. It lives on the stack of QuantizeColumns, which outlives them.
struct Shared {
  Span2D<const float> weight;
  const Scheme& scheme;
  const HessianFactor& factor;
  const ColumnLoopOptions& options;
  const Grid& grid;
  const PackedUpper& packed;
  GridPoint tensor_point;
  size_t in, groups, group_size;

  bool has_groups() const { return scheme.granularity == Granularity::kGroup; }
  // "Late" groups take their scales when the loop reaches them, with all earlier errors applied.
  bool has_late_groups() const { return has_groups() && !options.static_groups; }
  size_t Column(size_t position) const {
    return factor.order.empty() ? position : factor.order[position];
  }
};

// Takes some neighbouring strips of rows from their weights to their codes. Run is called once:
// Prepare loads the weights, then each block of columns is rounded (RoundBlock) and its errors are
// applied to all later columns (UpdateRest), and Store writes the result. It is a class because the
// steps share a dozen buffers.
class RowTask {
 public:
  RowTask(const Shared& shared, size_t first_row, size_t strips, QuantizedLinear& result)
      : s_(shared),
        first_row_(first_row),
        strips_(strips),
        result_(result),
        // The lazy update works on whole strips of columns.
        strip_step_((shared.in + kStripColumns) * kPanelLanes),
        error_step_(shared.options.block * kPanelLanes),
        values_(strips * strip_step_),
        errors_(strips * error_step_),
        codes_(strips * shared.in * kPanelLanes),
        points_(strips * shared.groups) {
    if (s_.options.reference_group_scales) stale_ = AlignedArray<float>(strips * error_step_);
  }

  void Run() {
    Prepare();
    for (begin_ = 0; begin_ < s_.in; begin_ += s_.options.block) {
      end_ = std::min(s_.in, begin_ + s_.options.block);
      for (size_t strip = 0; strip < strips_; ++strip) RoundBlock(strip);
      UpdateRest();
    }
    Store();
  }

 private:
  float* Value(size_t strip, size_t position) {
    return values_.data() + strip * strip_step_ + position * kPanelLanes;
  }
  float* ErrorOf(size_t strip, size_t position) {
    return errors_.data() + strip * error_step_ + (position - begin_) * kPanelLanes;
  }
  float* Stale(size_t strip, size_t position) {
    return stale_.data() + strip * error_step_ + (position - begin_) * kPanelLanes;
  }
  size_t FirstRow(size_t strip) const { return first_row_ + strip * kPanelLanes; }
  // The grid and the fit of a group come from the method's hooks if it has any.
  const Grid& GridOf(size_t group) const {
    return s_.options.hooks != nullptr ? *s_.options.hooks->GridOf(group) : s_.grid;
  }
  void Fit(size_t strip, size_t position, const float* values, size_t count, GridLanes& points) {
    if (s_.options.hooks != nullptr) {
      s_.options.hooks->Fit(FirstRow(strip), position / s_.group_size, position, values, count,
                            points);
    } else {
      s_.grid.FitLanes(values, count, s_.options.search, points);
    }
  }
  GridLanes& Points(size_t strip, size_t group) { return points_[strip * s_.groups + group]; }
  size_t GroupAt(size_t position) const {
    if (!s_.has_groups()) return 0;
    return (s_.has_late_groups() ? position : s_.Column(position)) / s_.group_size;
  }

  // Loads weights in the order of the factor and fits what does not depend on updates.
  void Prepare() {
    AlignedArray<float> by_column(s_.in * kPanelLanes);
    for (size_t strip = 0; strip < strips_; ++strip) {
      LoadStrip(s_.weight, first_row_ + strip * kPanelLanes, by_column.data());

      // One point for the tensor and scales per channel come from W as it is.
      if (s_.scheme.granularity == Granularity::kTensor) {
        Points(strip, 0) = SamePoint(s_.tensor_point);
      } else if (!s_.has_groups()) {
        Fit(strip, 0, by_column.data(), s_.in, Points(strip, 0));
      }

      // Dead columns are 0 from here on, also for static groups.
      for (size_t c = 0; c < s_.in; ++c) {
        if (s_.factor.dead[c] != 0) std::fill_n(&by_column[c * kPanelLanes], kPanelLanes, 0.0f);
      }
      if (s_.has_groups() && s_.options.static_groups) {
        for (size_t group = 0; group < s_.groups; ++group) {
          const size_t first = group * s_.group_size;
          Fit(strip, first, &by_column[first * kPanelLanes], std::min(s_.group_size, s_.in - first),
              Points(strip, group));
        }
      }

      // The loop runs in the order of the factor; the padding after the last column is zero.
      for (size_t p = 0; p < s_.in; ++p) {
        std::copy_n(&by_column[s_.Column(p) * kPanelLanes], kPanelLanes, Value(strip, p));
      }
      std::fill(Value(strip, s_.in), Value(strip, 0) + strip_step_, 0.0f);
    }
  }

  // Rounds the block's columns one by one. Each column's error reaches the rest of the block at
  // once.
  void RoundBlock(size_t strip) {
    if (s_.options.reference_group_scales) {
      std::copy(Value(strip, begin_), Value(strip, end_), Stale(strip, begin_));
    }

    for (size_t p = begin_; p < end_; ++p) {
      const size_t group = GroupAt(p);
      if (s_.has_late_groups() && p % s_.group_size == 0) FitLate(strip, p);

      const float* value = Value(strip, p);
      std::array<float, kPanelLanes> rounded;
      GridOf(group).QuantizeLanes(value, Points(strip, group),
                                  &codes_[(strip * s_.in + p) * kPanelLanes], rounded.data());
      if (s_.options.hooks != nullptr) {
        s_.options.hooks->Keep(FirstRow(strip), p, value, rounded.data());
      }

      // e = (w − ŵ) / U_jj, and the columns after it in this block lose e·U_jk.
      const std::span<const float> upper = s_.factor.upper.row(p);
      float* error = ErrorOf(strip, p);
      for (size_t l = 0; l < kPanelLanes; ++l) error[l] = (value[l] - rounded[l]) / upper[p];
      SubtractOuter(upper.data() + p + 1, end_ - p - 1, error, Value(strip, p + 1));
    }
  }

  // Fits the group that begins at `position`, from its columns with all earlier errors applied.
  // Columns of later blocks have not received the errors of this block yet: here the errors are
  // applied to a copy, and to the columns themselves when the block is done.
  void FitLate(size_t strip, size_t position) {
    // The easy case: the whole group lies inside the block and is up to date.
    const size_t last = std::min(s_.in, position + s_.group_size);
    GridLanes& points = Points(strip, position / s_.group_size);
    const bool is_stale = s_.options.reference_group_scales && position > begin_;
    if (last <= end_ && !is_stale) {
      Fit(strip, position, Value(strip, position), last - position, points);
      return;
    }

    // Else the group is copied: first what lies inside the block, then what lies after it.
    AlignedArray<float> columns((last - position) * kPanelLanes);
    const size_t inside = std::min(last, end_);
    const float* from = is_stale ? Stale(strip, position) : Value(strip, position);
    float* to = std::copy_n(from, (inside - position) * kPanelLanes, columns.data());
    std::copy_n(Value(strip, inside), (last - inside) * kPanelLanes, to);

    // The columns after the block still lack the errors of this block.
    if (!s_.options.reference_group_scales) {
      for (size_t p = begin_; p < position; ++p) {
        SubtractOuter(s_.factor.upper.row(p).data() + inside, last - inside, ErrorOf(strip, p), to);
      }
    }
    Fit(strip, position, columns.data(), last - position, points);
  }

  // Subtracts the block's errors from all later columns. The first strip may begin before them:
  // those columns are done and are not read again.
  void UpdateRest() {
    if (end_ == s_.in) return;
    const float* upper = s_.packed.OfBlock(begin_);
    const size_t depth = end_ - begin_;
    for (size_t strip = PackedUpper::FirstStrip(end_); strip < PackedUpper::StripsEnd(s_.in);
         ++strip, upper += depth * kStripColumns) {
      SubtractProduct(upper, errors_.data(), error_step_, strips_, depth,
                      Value(0, strip * kStripColumns), {kPanelLanes, strip_step_});
    }
  }

  void Store() {
    for (size_t strip = 0; strip < strips_; ++strip) {
      const size_t row = first_row_ + strip * kPanelLanes;
      // The hooks store the scales of schemes with a second level.
      for (size_t group = 0; group < s_.groups && !s_.scheme.second_level; ++group) {
        StorePoints(Points(strip, group), row, group, result_);
      }
      StoreCodes(&codes_[strip * s_.in * kPanelLanes], row, s_.factor.order, result_);
    }
  }

  const Shared& s_;
  size_t first_row_, strips_;
  QuantizedLinear& result_;
  size_t begin_ = 0, end_ = 0;  // the block of columns that is being rounded
  size_t strip_step_, error_step_;
  AlignedArray<float> values_;     // per strip [in, kPanelLanes] by position
  AlignedArray<float> errors_;     // per strip [block, kPanelLanes]
  AlignedArray<float> stale_;      // the block's values when it began, for reference_group_scales
  AlignedArray<uint8_t> codes_;    // per strip [in, kPanelLanes] by position
  std::vector<GridLanes> points_;  // [strips, groups]
};

}  // namespace

QuantizedLinear QuantizeColumns(Span2D<const float> weight, const Scheme& scheme,
                                const HessianFactor& factor, const ColumnLoopOptions& options,
                                const Context& context) {
  const size_t in = weight.cols();
  QUALM_CHECK(factor.upper.rows() == in && options.block > 0);
  QUALM_CHECK(options.hooks == nullptr || scheme.granularity != Granularity::kTensor);

  // A block is not longer than the row.
  ColumnLoopOptions bounded = options;
  bounded.block = std::min(options.block, in);
  QuantizedLinear result = MakeQuantizedLinear(weight.rows(), in, scheme);
  const Grid grid = MakeGrid(weight, scheme, result);

  // Everything that the tasks share.
  const PackedUpper packed(factor.upper, bounded.block, context);
  Shared shared{weight,
                scheme,
                factor,
                bounded,
                grid,
                packed,
                GridPoint{},
                in,
                result.group_count(),
                result.group_size()};
  if (scheme.granularity == Granularity::kTensor) {
    shared.tensor_point = options.tensor_point ? *options.tensor_point
                                               : FitTensor(weight, grid, options.search, context);
  }

  // Late groups in another order of columns: each input records its group.
  if (shared.has_late_groups() && !factor.order.empty()) {
    result.g_idx.resize(in);
    for (size_t p = 0; p < in; ++p) {
      result.g_idx[factor.order[p]] = static_cast<uint32_t>(p / shared.group_size);
    }
  }

  const size_t strips = StripCount(weight.rows());
  // At least two tasks for each thread; the result does not depend on how the rows are divided.
  const size_t strips_per_task = std::clamp<size_t>(
      strips / (2 * static_cast<size_t>(context.pool.threads())), 1, kMostStripsPerTask);
  context.pool.ParallelFor((strips + strips_per_task - 1) / strips_per_task, [&](size_t task) {
    const size_t first = task * strips_per_task;
    RowTask(shared, first * kPanelLanes, std::min(strips_per_task, strips - first), result).Run();
  });
  return result;
}

}  // namespace qualm
