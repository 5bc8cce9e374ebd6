// OS+ (Wei et al. 2023, "Outlier Suppression+", section 4): inputs are moved to the middle of their
// ranges, channel by channel, and the channels that are still wider than a threshold are scaled
// down to it; the threshold is the one with the smallest error of the rounded layer's output. In:
// the range of each input and sampled rows. Out: shift and scale of each input.
#include "quantize/transforms/os_plus.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "artefact/activations.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "quantize/activation_range.h"
#include "quantize/method_options.h"
#include "quantize/quality.h"

namespace qualm {
namespace {

struct Options {
  int64_t grid = 20;
  bool shift = true;
  bool fold = true;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("grid", self.grid,
          {.meaning = "candidates for the threshold", .range = InRange(1, 1000)});
    visit("shift", self.shift, {.meaning = "move inputs to the middle of their ranges"});
    visit("fold", self.fold, {.meaning = "fold shift and scale into what precedes the group"});
  }
};

// The error of a group's output for candidate scales.
class Search {
 public:
  Search(const TransformGroup& group, std::span<const float> shift, ThreadPool& pool)
      : group_(group), pool_(pool) {
    moved_ = Matrix::CopyOf(group.stats->sample);
    for (size_t t = 0; t < moved_.rows(); ++t) {
      for (size_t c = 0; c < shift.size(); ++c) moved_(t, c) -= shift[c];
    }
    for (const TransformLinear& linear : group.linears) {
      outputs_.push_back(DenseProduct(moved_, linear.weight, pool));
    }
  }

  double Loss(std::span<const float> scale) const {
    Matrix scaled = Matrix::Uninitialized(moved_.rows(), moved_.cols());
    for (size_t t = 0; t < moved_.rows(); ++t) {
      for (size_t c = 0; c < scale.size(); ++c) scaled(t, c) = moved_(t, c) / scale[c];
    }
    double total = 0;
    for (size_t i = 0; i < group_.linears.size(); ++i) {
      const TransformLinear& linear = group_.linears[i];
      if (linear.scheme == nullptr) continue;
      const Matrix rounded =
          RoundScaled(linear.weight, *linear.scheme, scale, RoundedPart::kScaled, pool_);
      total += SquaredDistance(outputs_[i], DenseProduct(Rounded(linear, scaled), rounded, pool_));
    }
    return total;
  }

 private:
  Matrix Rounded(const TransformLinear& linear, const Matrix& x) const {
    Matrix rounded = Matrix::CopyOf(x);
    if (linear.activations == nullptr) return rounded;
    const ActivationQuantizer quantizer(FitActivations(*linear.activations, x, {}, {}));
    pool_.ParallelFor(x.rows(), [&](size_t t) { quantizer.Round(x.row(t), rounded.row(t)); });
    return rounded;
  }

  const TransformGroup& group_;
  ThreadPool& pool_;
  Matrix moved_;
  std::vector<Matrix> outputs_;  // of the float layers on the moved inputs
};

class OsPlus final : public WithOptions<Transform, Options> {
 public:
  using WithOptions::WithOptions;

  std::string_view name() const override { return "os_plus"; }

  InputEdit Choose(const TransformGroup& group, ThreadPool& pool) const override {
    const LayerStats& stats = *group.stats;
    InputEdit edit;
    edit.keep_online = !options_.fold;
    std::vector<float> half(stats.max.size());
    if (options_.shift) edit.shift.resize(half.size());
    for (size_t c = 0; c < half.size(); ++c) {
      const float middle = options_.shift ? (stats.max[c] + stats.min[c]) / 2 : 0.0f;
      if (options_.shift) edit.shift[c] = middle;
      half[c] = std::max(stats.max[c] - middle, middle - stats.min[c]);
    }
    const float widest = *std::ranges::max_element(half);
    const Search search(group, edit.shift, pool);
    double best = std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < options_.grid; ++i) {
      const double part = 1 - static_cast<double>(i) / static_cast<double>(options_.grid);
      std::vector<float> scale(half.size(), 1.0f);
      for (size_t c = 0; c < half.size() && widest > 0; ++c) {
        scale[c] = std::max(1.0f, half[c] / static_cast<float>(part * widest));
      }
      const double loss = search.Loss(scale);
      if (!(loss < best)) continue;
      best = loss;
      edit.scale = std::move(scale);
      edit.choice = StrCat("threshold ", part, " of the widest range");
    }
    if (edit.scale.empty()) {
      ThrowFailed(StrCat("layer ", group.linears[0].name),
                  "os_plus: the loss of every candidate is not a number");
    }
    return edit;
  }
};

}  // namespace

std::unique_ptr<Transform> MakeOsPlus(const Yaml* options) {
  return std::make_unique<OsPlus>(OptionsFrom<Options>(options));
}

}  // namespace qualm
