// AWQ (Lin et al. 2024, sections 3.2 and appendix): inputs with large magnitudes keep more of their
// weights' precision when those are scaled up before rounding. In: mean magnitudes and sampled rows
// of a group's inputs. Out: the scale s of each input that makes the rounded group's output nearest
// to the float one, from a grid of powers; then bounds that each group of weights is clipped to.
#include "quantize/transforms/awq.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "io/yaml.h"
#include "quantize/transforms/clip_search.h"

namespace qualm {
namespace {

constexpr double kSmallestScale = 1e-4;

constexpr std::array<std::string_view, 2> kScaleNames = {"activation", "activation_over_weight"};
constexpr std::array<std::string_view, 2> kLossNames = {"module", "layers"};
constexpr std::array<std::string_view, 2> kRangeNames = {"symmetric", "asymmetric"};
constexpr std::array<std::string_view, 2> kClipLossNames = {"squared", "first_token"};

struct Options {
  int64_t grid = 20;
  bool over_weight = false;  // s = x̄^r / w̄^(1−r) instead of x̄^r
  bool module_loss = true;   // output of the attention or MLP, where the group opens one
  bool fold = true;
  bool scale_unfoldable = false;  // scale groups whose scale has to stay an online operation
  bool clip = true;
  bool clip_scores = false;  // clip q and k, too
  ClipOptions clip_options;
};

// mean over all rows of |W_ij| / max |W_i·| over the group of j. [in]
std::vector<double> RelativeMagnitude(const TransformGroup& group) {
  std::vector<double> sums(group.linears[0].weight.cols(), 0.0);
  size_t rows = 0;
  for (const TransformLinear& linear : group.linears) {
    const size_t step =
        linear.scheme == nullptr ? sums.size() : linear.scheme->GroupSize(sums.size());
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

class Awq final : public Transform {
 public:
  explicit Awq(const Options& options) : options_(options) {}

  std::string_view name() const override { return "awq"; }

  InputEdit Choose(const TransformGroup& group, ThreadPool& pool) const override {
    InputEdit edit;
    edit.keep_online = !options_.fold;
    const bool folds = group.can_fold && options_.fold;
    const bool is_rounded = std::ranges::any_of(
        group.linears, [](const TransformLinear& linear) { return linear.scheme != nullptr; });
    if (!is_rounded || (!folds && options_.fold && !options_.scale_unfoldable)) return edit;
    std::vector<double> relative;
    if (options_.over_weight) relative = RelativeMagnitude(group);
    std::optional<GroupLoss> layers;
    if (!options_.module_loss || !group.module_loss) layers.emplace(group);
    double best = std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < options_.grid; ++i) {
      const double ratio = static_cast<double>(i) / static_cast<double>(options_.grid);
      std::vector<float> scale = Candidate(group.stats->abs_mean, relative, ratio);
      const double loss = layers ? layers->Of(scale, pool) : ModuleLoss(group, scale, pool);
      if (!(loss < best)) continue;
      best = loss;
      edit.scale = std::move(scale);
      edit.choice = StrCat("ratio ", ratio);
    }
    if (edit.scale.empty()) {
      ThrowFailed(StrCat("layer ", group.linears[0].name),
                  "awq: the loss of every candidate is not a number");
    }
    return edit;
  }

  std::vector<WeightClip> Clip(const TransformGroup& group, ThreadPool& pool) const override {
    if (!options_.clip) return {};
    std::vector<WeightClip> clips(group.linears.size());
    for (size_t i = 0; i < clips.size(); ++i) {
      const TransformLinear& linear = group.linears[i];
      if (linear.scheme == nullptr || linear.scheme->granularity == Granularity::kTensor) continue;
      if (linear.feeds_scores && !options_.clip_scores) continue;
      clips[i] = SearchClip(linear.weight, *linear.scheme, group.stats->sample,
                            options_.clip_options, pool);
    }
    return clips;
  }

  std::string OptionsJson() const override {
    const auto quoted = [](std::string_view name) { return StrCat("\"", name, "\""); };
    const ClipOptions& clip = options_.clip_options;
    return StrCat(R"({"grid": )", options_.grid, R"(, "scale": )",
                  quoted(kScaleNames[options_.over_weight ? 1 : 0]), R"(, "loss": )",
                  quoted(kLossNames[options_.module_loss ? 0 : 1]), R"(, "fold": )", options_.fold,
                  R"(, "scale_unfoldable": )", options_.scale_unfoldable, R"(, "clip": )",
                  options_.clip, R"(, "clip_scores": )", options_.clip_scores,
                  R"(, "clip_range": )", quoted(kRangeNames[clip.is_asymmetric ? 1 : 0]),
                  R"(, "clip_loss": )", quoted(kClipLossNames[clip.first_token ? 1 : 0]), "}");
  }

 private:
  // Powers of magnitudes, at least kSmallestScale, and sqrt(max·min) = 1.
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

  static double ModuleLoss(const TransformGroup& group, std::span<const float> scale,
                           ThreadPool& pool) {
    std::vector<Matrix> weights;
    for (const TransformLinear& linear : group.linears) {
      weights.push_back(linear.scheme == nullptr ? Matrix::CopyOf(linear.weight)
                                                 : RoundScaled(linear.weight, *linear.scheme, scale,
                                                               RoundedPart::kWhole, pool));
    }
    return group.module_loss(weights);
  }

  Options options_;
};

}  // namespace

std::unique_ptr<Transform> MakeAwq(const Yaml* yaml) {
  if (yaml != nullptr) {
    yaml->RequireKnownKeys(std::array<std::string, 9>{"grid", "scale", "loss", "fold",
                                                      "scale_unfoldable", "clip", "clip_scores",
                                                      "clip_range", "clip_loss"});
  }
  Options options;
  options.grid = IntOption(yaml, "grid", options.grid, 1, 1000);
  options.over_weight = ChoiceOption(yaml, "scale", 0, kScaleNames) == 1;
  options.module_loss = ChoiceOption(yaml, "loss", 0, kLossNames) == 0;
  options.fold = BoolOption(yaml, "fold", options.fold);
  options.scale_unfoldable = BoolOption(yaml, "scale_unfoldable", options.scale_unfoldable);
  options.clip = BoolOption(yaml, "clip", options.clip);
  options.clip_scores = BoolOption(yaml, "clip_scores", options.clip_scores);
  options.clip_options.is_asymmetric = ChoiceOption(yaml, "clip_range", 0, kRangeNames) == 1;
  options.clip_options.first_token = ChoiceOption(yaml, "clip_loss", 0, kClipLossNames) == 1;
  return std::make_unique<Awq>(options);
}

}  // namespace qualm
