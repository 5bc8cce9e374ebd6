// Reads the `allocate` key, measures what each number of bits costs and loses for one layer, and
// distributes a budget of bytes over the layers greedily along their convex hulls.
#include "recipe/bit_allocation.h"

#include <algorithm>

#include "artefact/scheme.h"
#include "artefact/stored_bytes.h"
#include "base/error.h"
#include "base/strings.h"
#include "methods/quality.h"
#include "methods/transforms.h"

namespace qualm {
namespace {

// The indices of a layer's choices on the lower convex hull of (bytes, error), cheapest first, with
// falling errors.
std::vector<size_t> Hull(const std::vector<LayerChoice>& choices) {
  std::vector<size_t> order(choices.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    return choices[a].bytes != choices[b].bytes ? choices[a].bytes < choices[b].bytes
                                                : choices[a].error < choices[b].error;
  });

  std::vector<size_t> hull;
  const auto slope = [&](size_t a, size_t b) {
    return (choices[a].error - choices[b].error) /
           static_cast<double>(choices[b].bytes - choices[a].bytes);
  };

  // A choice that costs more and is not better is dropped, and so is a point above the line between
  // its neighbours on the hull.
  for (size_t i : order) {
    if (!hull.empty() && (choices[i].bytes == choices[hull.back()].bytes ||
                          choices[i].error >= choices[hull.back()].error)) {
      continue;
    }
    while (hull.size() > 1 && slope(hull[hull.size() - 2], hull.back()) <= slope(hull.back(), i)) {
      hull.pop_back();
    }
    hull.push_back(i);
  }
  return hull;
}

}  // namespace

AllocationPlan ParseAllocation(const Yaml& yaml) {
  AllocationPlan plan = OptionsFrom<AllocationPlan>(&yaml);

  // Later steps rely on rising choices, each of them once.
  std::ranges::sort(plan.choices);
  for (size_t i = 1; i < plan.choices.size(); ++i) {
    if (plan.choices[i] != plan.choices[i - 1]) continue;
    ThrowBadInput(yaml.place(), "each number of bits once", StrCat(plan.choices[i], " twice"));
  }
  if (plan.choices.empty()) ThrowBadInput(yaml.place(), "at least one choice of bits", "none");
  return plan;
}

std::vector<LayerChoice> MeasureChoices(Span2D<const float> weight, const Scheme& scheme,
                                        Span2D<const float> sample, const AllocationPlan& plan,
                                        const Context& context) {
  // Errors are relative to the float layer's output on the sample.
  const std::vector<float> ones(weight.cols(), 1.0f);
  const double norm = SquaredOutputNorm(sample, weight, context);

  std::vector<LayerChoice> choices;
  for (int bits : plan.choices) {
    Scheme tried = scheme;
    tried.bits = bits;
    const Matrix error = RoundScaled(weight, tried, ones, RoundedPart::kError, context);
    LayerChoice choice;
    choice.bits = bits;
    choice.bytes = EstimateStoredBytes(tried, weight.rows(), weight.cols());
    choice.error = norm == 0 ? 0 : SquaredOutputNorm(sample, error, context) / norm;
    choices.push_back(choice);
  }
  return choices;
}

std::vector<size_t> Allocate(std::span<const std::vector<LayerChoice>> layers, uint64_t budget) {
  // Every layer begins at its cheapest choice.
  std::vector<std::vector<size_t>> hulls;
  std::vector<size_t> at(layers.size(), 0);  // on the hull
  uint64_t bytes = 0;
  for (const std::vector<LayerChoice>& choices : layers) {
    hulls.push_back(Hull(choices));
    bytes += choices[hulls.back()[0]].bytes;
  }

  if (bytes > budget) {
    ThrowBadInput("allocate",
                  StrCat("a budget of at least ", bytes, " bytes, the cheapest choices"),
                  StrCat(budget), "raise target_bits, or offer fewer bits");
  }

  // One step at a time: the layer whose next choice lowers the error most per byte.
  while (true) {
    size_t best = layers.size();
    double best_fall = 0;
    for (size_t l = 0; l < layers.size(); ++l) {
      if (at[l] + 1 >= hulls[l].size()) continue;
      const LayerChoice& from = layers[l][hulls[l][at[l]]];
      const LayerChoice& to = layers[l][hulls[l][at[l] + 1]];
      if (bytes + (to.bytes - from.bytes) > budget) continue;
      const double fall = (from.error - to.error) / static_cast<double>(to.bytes - from.bytes);
      if (fall > best_fall) {
        best = l;
        best_fall = fall;
      }
    }

    if (best == layers.size()) break;
    bytes +=
        layers[best][hulls[best][at[best] + 1]].bytes - layers[best][hulls[best][at[best]]].bytes;
    ++at[best];
  }

  std::vector<size_t> result;
  for (size_t l = 0; l < layers.size(); ++l) result.push_back(hulls[l][at[l]]);
  return result;
}

}  // namespace qualm
