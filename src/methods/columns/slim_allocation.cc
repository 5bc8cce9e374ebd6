// Decides which groups of input channels get one bit more and which one bit less (SliM-LLM, Huang
// et al. 2024, section 3.2). The factor of the Hessian gives each group a salience; the number of
// changed groups is searched on a sample of inputs.
#include "methods/columns/slim_allocation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/context.h"
#include "base/error.h"
#include "methods/columns/lanes.h"
#include "methods/columns/slim_grid.h"
#include "methods/quality.h"

namespace qualm {
namespace {

constexpr size_t kMostRows = 512;

// Salience of a group: Σ w²/U_jj² over its columns and all rows.
std::vector<double> SalienceOfGroups(Span2D<const float> weight, const Scheme& scheme,
                                     const HessianFactor& factor) {
  const size_t in = weight.cols(), size = scheme.GroupSize(in);
  std::vector<double> columns(in, 0.0), groups(scheme.GroupCount(in), 0.0);
  for (size_t r = 0; r < weight.rows(); ++r) {
    for (size_t c = 0; c < in; ++c) columns[c] += double{weight(r, c)} * weight(r, c);
  }

  for (size_t c = 0; c < in; ++c) {
    const double u = factor.upper(c, c);
    groups[c / size] += columns[c] / (u * u);
  }
  return groups;
}

// The layer's outputs on the sample while the bits of some groups change. Construct it with all
// groups at scheme.bits, call Change for a group at a time, and ask for the Divergence in between.
// It exists so that a change costs one group's product instead of the layer's.
class Outputs {
 public:
  Outputs(Span2D<const float> weight, const Scheme& scheme, Span2D<const float> sample,
          const Context& context)
      : weight_(weight), scheme_(scheme), grids_(scheme), context_(context) {
    // Rows are taken at equal distances over the sample.
    const size_t rows = std::min(kMostRows, sample.rows()), step = sample.rows() / rows;
    inputs_ = Matrix(rows, sample.cols());
    for (size_t t = 0; t < rows; ++t) {
      std::ranges::copy(sample.row(t * step), inputs_.row(t).begin());
    }

    log_float_ = DenseProduct(inputs_, weight, context_);
    LogSoftmax(log_float_);
    quantized_ = DenseProduct(inputs_, Rounded(0, weight.cols(), scheme.bits), context_);
  }

  // Rounds one group with other bits than before and updates the outputs by the difference.
  void Change(size_t group, int from, int to) {
    const size_t size = scheme_.GroupSize(weight_.cols()), first = group * size;
    const size_t count = std::min(size, weight_.cols() - first);
    Matrix difference = Rounded(first, count, to);
    const Matrix before = Rounded(first, count, from);
    Matrix inputs(inputs_.rows(), count);
    for (size_t r = 0; r < difference.rows(); ++r) {
      for (size_t c = 0; c < count; ++c) difference(r, c) -= before(r, c);
    }
    for (size_t t = 0; t < inputs.rows(); ++t) {
      for (size_t c = 0; c < count; ++c) inputs(t, c) = inputs_(t, first + c);
    }

    // Only this group's inputs take part in the change.
    const Matrix change = DenseProduct(inputs, difference, context_);
    for (size_t t = 0; t < change.rows(); ++t) {
      for (size_t r = 0; r < change.cols(); ++r) quantized_(t, r) += change(t, r);
    }
  }

  // mean KL(quantized ‖ float) over the rows.
  double Divergence() const {
    Matrix log_quantized = Matrix::CopyOf(quantized_);
    LogSoftmax(log_quantized);

    // Each row's sum in one thread, then the mean in order of the rows.
    std::vector<double> rows(log_quantized.rows());
    context_.pool.ParallelFor(rows.size(), [&](size_t t) {
      double sum = 0;
      for (size_t r = 0; r < log_quantized.cols(); ++r) {
        const double q = log_quantized(t, r);
        sum += std::exp(q) * (q - log_float_(t, r));
      }
      rows[t] = sum;
    });
    return std::accumulate(rows.begin(), rows.end(), 0.0) / static_cast<double>(rows.size());
  }

 private:
  // x − log Σ exp(x) per row, in place, with the largest value taken out first.
  void LogSoftmax(Matrix& logits) const {
    context_.pool.ParallelFor(logits.rows(), [&](size_t t) {
      const std::span<float> row = logits.row(t);
      const float largest = *std::ranges::max_element(row);
      double sum = 0;
      // The log of the denominator.
      for (float v : row) sum += std::exp(double{v} - largest);
      const auto shift = static_cast<float>(largest + std::log(sum));
      for (float& v : row) v -= shift;
    });
  }

  // The columns [first, first + count), which are whole groups, rounded to nearest.
  Matrix Rounded(size_t first, size_t count, int bits) const {
    const size_t size = scheme_.GroupSize(weight_.cols());
    Matrix rounded(weight_.rows(), count);
    context_.pool.ParallelFor(StripCount(weight_.rows()), [&](size_t strip) {
      const size_t row = strip * kPanelLanes;
      AlignedArray<float> values(count * kPanelLanes);
      LoadStrip({weight_.data() + first, weight_.rows(), count, weight_.stride()}, row,
                values.data());

      // Each group's rounded values go from lanes back to rows.
      for (size_t begin = 0; begin < count; begin += size) {
        const size_t end = std::min(count, begin + size);
        GridLanes lanes;
        grids_.Fit(bits, &values[begin * kPanelLanes], end - begin, lanes);
        for (size_t c = begin; c < end; ++c) {
          float* const lane = &values[c * kPanelLanes];
          grids_.Of(bits).QuantizeLanes(lane, lanes, nullptr, lane);
          for (size_t l = 0; l < kPanelLanes && row + l < rounded.rows(); ++l) {
            rounded(row + l, c) = lane[l];
          }
        }
      }
    });
    return rounded;
  }

  Span2D<const float> weight_;
  const Scheme& scheme_;
  MixedGrids grids_;
  const Context& context_;
  Matrix inputs_, log_float_, quantized_;
};

}  // namespace

std::vector<uint8_t> AllocateGroupBits(Span2D<const float> weight, const Scheme& scheme,
                                       const HessianFactor& factor, Span2D<const float> sample,
                                       const Context& context) {
  // Groups by rising salience; ties keep their order.
  const std::vector<double> salience = SalienceOfGroups(weight, scheme, factor);
  const size_t groups = salience.size();
  std::vector<uint8_t> bits(groups, static_cast<uint8_t>(scheme.bits));
  std::vector<size_t> order(groups);
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return salience[a] < salience[b]; });

  // One more pair at a time: the least salient group left loses a bit, the most salient one gains
  // it.
  Outputs outputs(weight, scheme, sample, context);
  double least = outputs.Divergence();
  size_t best = 0;
  for (size_t i = 1; i <= groups / 2; ++i) {
    outputs.Change(order[i - 1], scheme.bits, scheme.bits - 1);
    outputs.Change(order[groups - i], scheme.bits, scheme.bits + 1);
    const double divergence = outputs.Divergence();
    if (divergence < least) {
      least = divergence;
      best = i;
    }
  }

  // The pairs up to the best number.
  for (size_t i = 0; i < best; ++i) {
    bits[order[i]] = static_cast<uint8_t>(scheme.bits - 1);
    bits[order[groups - 1 - i]] = static_cast<uint8_t>(scheme.bits + 1);
  }
  return bits;
}

}  // namespace qualm
