// AWQ (Lin et al. 2024, sections 3.2 and appendix): inputs with large magnitudes keep more of their
// weights' precision if these are scaled up before rounding. In: mean magnitudes and sampled rows
// of an input's channels. Out: the scale s of each input, from a grid of powers, that brings the
// rounded readers' outputs closest to the float one; then bounds that each group of weights is
// clipped to.
#include "methods/transforms/awq.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/strings.h"
#include "methods/method_options.h"
#include "methods/transforms/clip_search.h"

namespace qualm {
namespace {

constexpr double kSmallestScale = 1e-4;

// A candidate scale is a power of the mean input x̄, or of x̄ over the mean weight w̄.
enum class ScaleBy { kActivation, kActivationOverWeight };

EnumNames NamesOfEnum(ScaleBy) {
  static constexpr std::array<std::string_view, 2> kNames = {"activation",
                                                             "activation_over_weight"};
  return {"scale", kNames};
}

// Where a candidate's error is measured: at the output of the attention or MLP, if the input opens
// one, or at the outputs of its readers.
enum class LossAt { kModule, kLayers };

EnumNames NamesOfEnum(LossAt) {
  static constexpr std::array<std::string_view, 2> kNames = {"module", "layers"};
  return {"loss", kNames};
}

// How a group's range is shrunk, and where the clipped weights' error is measured (clip_search.h).
enum class ClipRange { kSymmetric, kAsymmetric };
enum class ClipLoss { kSquared, kFirstToken };

EnumNames NamesOfEnum(ClipRange) {
  static constexpr std::array<std::string_view, 2> kNames = {"symmetric", "asymmetric"};
  return {"clip_range", kNames};
}

EnumNames NamesOfEnum(ClipLoss) {
  static constexpr std::array<std::string_view, 2> kNames = {"squared", "first_token"};
  return {"clip_loss", kNames};
}

struct Options {
  int64_t grid = 20;
  ScaleBy scale = ScaleBy::kActivation;
  LossAt loss = LossAt::kModule;
  bool fold = true;
  bool scale_unfoldable = false;
  bool clip = true;
  bool clip_scores = false;
  ClipRange clip_range = ClipRange::kSymmetric;
  ClipLoss clip_loss = ClipLoss::kSquared;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("grid", self.grid, {.meaning = "candidates for the power", .range = InRange(1, 1000)});
    visit("scale", self.scale,
          {.meaning = "powers of the mean input, or of it over the mean weight"});
    visit("loss", self.loss,
          {.meaning = "measured at the output of the attention or MLP, or of the layers that read "
                      "the input"});
    visit("fold", self.fold, {.meaning = "fold the scale into what makes the input"});
    visit("scale_unfoldable", self.scale_unfoldable,
          {.meaning = "also scale groups whose scale has to stay an online operation"});
    visit("clip", self.clip, {.meaning = "search bounds that weights are clipped to"});
    visit("clip_scores", self.clip_scores, {.meaning = "clip q and k, too"});
    visit("clip_range", self.clip_range,
          {.meaning = "shrink the largest magnitude, or minimum and maximum"});
    visit("clip_loss", self.clip_loss,
          {.meaning = "squared error over up to 512 tokens, or magnitude on the first one"});
  }
};

// mean over all rows of |W_ij| / max |W_i·|, the largest within the group of j. [in]
std::vector<double> RelativeMagnitude(const InputReaders& readers) {
  std::vector<double> sums(readers.linears[0].weight.cols(), 0.0);
  size_t rows = 0;
  for (const TransformLinear& linear : readers.linears) {
    const size_t step =
        linear.scheme == nullptr ? sums.size() : linear.scheme->GroupSize(sums.size());
    // Each row and group relative to its largest weight.
    for (size_t r = 0; r < linear.weight.rows(); ++r) {
      const std::span<const float> row = linear.weight.row(r);
      for (size_t first = 0; first < row.size(); first += step) {
        const size_t last = std::min(row.size(), first + step);
        float largest = 0;
        for (size_t c = first; c < last; ++c) largest = std::max(largest, std::abs(row[c]));
        if (largest == 0) continue;
        for (size_t c = first; c < last; ++c) sums[c] += double{std::abs(row[c])} / largest;
      }
    }
    rows += linear.weight.rows();
  }

  for (double& sum : sums) sum /= static_cast<double>(rows);
  return sums;
}

class Awq final : public WithOptions<Transform, Options> {
 public:
  using WithOptions::WithOptions;

  std::string_view name() const override { return "awq"; }

  InputEdit Choose(const InputReaders& readers, const Context& context) const override {
    // A scale is of no use if nothing is rounded, or if it would cost an online operation unasked.
    InputEdit edit;
    edit.keep_online = !options_.fold;
    const bool folds = readers.can_fold && options_.fold;
    const bool is_rounded = std::ranges::any_of(
        readers.linears, [](const TransformLinear& linear) { return linear.scheme != nullptr; });
    if (!is_rounded || (!folds && options_.fold && !options_.scale_unfoldable)) return edit;

    std::vector<double> relative;
    if (options_.scale == ScaleBy::kActivationOverWeight) relative = RelativeMagnitude(readers);

    // The loss of the layers is cheaper and is also what is left if the input opens no module.
    std::optional<ReadersLoss> layers;
    if (options_.loss == LossAt::kLayers || !readers.module_loss) layers.emplace(readers);

    double best = std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < options_.grid; ++i) {
      const double ratio = static_cast<double>(i) / static_cast<double>(options_.grid);
      std::vector<float> scale = Candidate(readers.stats->abs_mean, relative, ratio);
      const double loss = layers ? layers->Of(scale, context) : ModuleLoss(readers, scale, context);
      if (!(loss < best)) continue;
      best = loss;
      edit.scale = std::move(scale);
      edit.choice = StrCat("ratio ", ratio);
    }

    if (edit.scale.empty()) {
      ThrowFailed(StrCat("layer ", readers.linears[0].name),
                  "awq: the loss of every candidate is not a number");
    }
    return edit;
  }

  std::vector<WeightClip> Clip(const InputReaders& readers, const Context& context) const override {
    if (!options_.clip) return {};
    const ClipOptions search{.is_asymmetric = options_.clip_range == ClipRange::kAsymmetric,
                             .first_token = options_.clip_loss == ClipLoss::kFirstToken};
    // q and k are left alone by default, as in the reference program.
    std::vector<WeightClip> clips(readers.linears.size());
    for (size_t i = 0; i < clips.size(); ++i) {
      const TransformLinear& linear = readers.linears[i];
      if (linear.scheme == nullptr || linear.scheme->granularity == Granularity::kTensor) continue;
      if (linear.feeds_scores && !options_.clip_scores) continue;
      clips[i] = SearchClip(linear.weight, *linear.scheme, readers.stats->sample, search, context);
    }
    return clips;
  }

 private:
  // Powers of the magnitudes, at least kSmallestScale, normalised so that sqrt(max·min) = 1.
  std::vector<float> Candidate(std::span<const double> magnitude, std::span<const double> relative,
                               double ratio) const {
    std::vector<double> scale(magnitude.size());
    for (size_t j = 0; j < scale.size(); ++j) {
      scale[j] = std::pow(magnitude[j], ratio);
      // A column of zeros can have any scale.
      if (!relative.empty()) scale[j] /= std::pow(std::max(relative[j], 1e-30), 1 - ratio);
      scale[j] = std::max(scale[j], kSmallestScale);
    }

    const auto [least, most] = std::ranges::minmax(scale);
    const double middle = std::sqrt(least * most);
    std::vector<float> result(scale.size());
    for (size_t j = 0; j < scale.size(); ++j) result[j] = static_cast<float>(scale[j] / middle);
    return result;
  }

  // The module's loss with every rounded layer's weight replaced.
  static double ModuleLoss(const InputReaders& readers, std::span<const float> scale,
                           const Context& context) {
    std::vector<Matrix> weights;
    for (const TransformLinear& linear : readers.linears) {
      weights.push_back(linear.scheme == nullptr ? Matrix::CopyOf(linear.weight)
                                                 : RoundScaled(linear.weight, *linear.scheme, scale,
                                                               RoundedPart::kWhole, context));
    }
    return readers.module_loss(weights);
  }
};

}  // namespace

std::unique_ptr<Transform> MakeAwq(const Yaml* options) {
  return std::make_unique<Awq>(OptionsFrom<Options>(options));
}

}  // namespace qualm
