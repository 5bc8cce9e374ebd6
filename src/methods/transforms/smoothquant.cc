// SmoothQuant (Xiao et al. 2023, section 4): s_j = max|X_j|^α / max|W_j|^(1−α) moves a part of the
// activations' ranges into the weights. In: the largest magnitudes of an input's channels and the
// weights that read them. Out: the scale of each input.
#include "methods/transforms/smoothquant.h"

#include <algorithm>
#include <cmath>

#include "methods/method_options.h"

namespace qualm {
namespace {

// Smaller magnitudes of weight columns and scales are raised to this, so that they can be divisors.
constexpr double kSmallest = 1e-5;

struct Options {
  double alpha = 0.5;
  bool fold = true;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("alpha", self.alpha,
          {.meaning = "how much of the difficulty moves into the weights", .range = InRange(0, 1)});
    visit("fold", self.fold, {.meaning = "fold the scale into what makes the input"});
  }
};

class SmoothQuant final : public WithOptions<Transform, Options> {
 public:
  using WithOptions::WithOptions;

  std::string_view name() const override { return "smoothquant"; }

  InputEdit Choose(const InputReaders& readers, const Context& context) const override {
    const std::vector<float> x = AbsMax(*readers.stats), w = ColumnAbsMax(readers, context);
    InputEdit edit;
    edit.scale.resize(x.size());

    // s_j of the paper, with both factors kept away from 0.
    for (size_t j = 0; j < x.size(); ++j) {
      const double weight = std::max<double>(w[j], kSmallest);
      const double scale =
          std::pow(double{x[j]}, options_.alpha) / std::pow(weight, 1 - options_.alpha);
      // An input that was always 0 in calibration gives no information about its range.
      edit.scale[j] = x[j] == 0 ? 1.0f : static_cast<float>(std::max(scale, kSmallest));
    }

    edit.keep_online = !options_.fold;
    return edit;
  }
};

}  // namespace

std::unique_ptr<Transform> MakeSmoothQuant(const Yaml* options) {
  return std::make_unique<SmoothQuant>(OptionsFrom<Options>(options));
}

}  // namespace qualm
