// OS+ (Wei et al. 2023, "Outlier Suppression+", section 4): inputs are moved to the middle of their
// ranges, channel by channel, and channels that are still wider than a threshold are scaled down to
// it; the search takes the threshold with the smallest error of the rounded layers' outputs. In:
// the range of each input and sampled rows. Out: shift and scale of each input.
#include "methods/transforms/os_plus.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "artefact/activations.h"
#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "methods/activation_range.h"
#include "methods/method_options.h"
#include "methods/quality.h"

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
    visit("fold", self.fold, {.meaning = "fold shift and scale into what makes the input"});
  }
};

// The error of the readers' outputs for candidate scales. The shifted sample and the float outputs
// are computed once; Loss is called for each candidate.
class Search {
 public:
  Search(const InputReaders& readers, std::span<const float> shift, const Context& context)
      : readers_(readers), context_(context) {
    moved_ = Matrix::CopyOf(readers.stats->sample);
    for (size_t t = 0; t < moved_.rows(); ++t) {
      for (size_t c = 0; c < shift.size(); ++c) moved_(t, c) -= shift[c];
    }
    for (const TransformLinear& linear : readers.linears) {
      outputs_.push_back(DenseProduct(moved_, linear.weight, context));
    }
  }

  double Loss(std::span<const float> scale) const {
    Matrix scaled = Matrix::Uninitialized(moved_.rows(), moved_.cols());
    for (size_t t = 0; t < moved_.rows(); ++t) {
      for (size_t c = 0; c < scale.size(); ++c) scaled(t, c) = moved_(t, c) / scale[c];
    }

    // Weights and inputs are both rounded, as they will be at run time.
    double total = 0;
    for (size_t i = 0; i < readers_.linears.size(); ++i) {
      const TransformLinear& linear = readers_.linears[i];
      if (linear.scheme == nullptr) continue;
      const Matrix rounded =
          RoundScaled(linear.weight, *linear.scheme, scale, RoundedPart::kScaled, context_);
      total +=
          SquaredDistance(outputs_[i], DenseProduct(Rounded(linear, scaled), rounded, context_));
    }
    return total;
  }

 private:
  // The inputs as the layer will see them.
  Matrix Rounded(const TransformLinear& linear, const Matrix& x) const {
    Matrix rounded = Matrix::CopyOf(x);
    if (linear.activations == nullptr) return rounded;
    const ActivationQuantizer quantizer(FitActivations(*linear.activations, x, {}, {}));
    context_.pool.ParallelFor(x.rows(),
                              [&](size_t t) { quantizer.Round(x.row(t), rounded.row(t)); });
    return rounded;
  }

  const InputReaders& readers_;
  const Context& context_;
  Matrix moved_;
  std::vector<Matrix> outputs_;  // of the float layers on the moved inputs
};

class OsPlus final : public WithOptions<Transform, Options> {
 public:
  using WithOptions::WithOptions;

  std::string_view name() const override { return "os_plus"; }

  InputEdit Choose(const InputReaders& readers, const Context& context) const override {
    const LayerStats& stats = *readers.stats;
    InputEdit edit;
    edit.keep_online = !options_.fold;

    // The middle of each channel's range, and how far it reaches from there.
    std::vector<float> half(stats.max.size());
    if (options_.shift) edit.shift.resize(half.size());
    for (size_t c = 0; c < half.size(); ++c) {
      const float middle = options_.shift ? (stats.max[c] + stats.min[c]) / 2 : 0.0f;
      if (options_.shift) edit.shift[c] = middle;
      half[c] = std::max(stats.max[c] - middle, middle - stats.min[c]);
    }

    const float widest = *std::ranges::max_element(half);
    const Search search(readers, edit.shift, context);
    double best = std::numeric_limits<double>::infinity();

    // Thresholds from the widest range downwards; of equal losses the first.
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
      ThrowFailed(StrCat("layer ", readers.linears[0].name),
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
