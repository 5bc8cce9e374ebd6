// The distance of two models on a task: compares them on every request, then takes means over the
// continuations of an item and over items.
#include "evaluate/task_distance.h"

#include <limits>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "evaluate/scored_distance.h"
#include "model/model.h"

namespace qualm {

ScoredDistances DistancesOnTask(const TaskOutcome& reference_outcome, const Model& reference,
                                const TaskOutcome& outcome, const Model& model,
                                const ScorerOptions& options, const Context& context) {
  // Distances need the same tokens at the same positions; generated texts of two models differ.
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  if (!outcome.texts.empty()) return {{kNone, kNone}, {kNone, kNone}};
  if (outcome.key.prompt_hash != reference_outcome.key.prompt_hash) {
    const auto& ours = outcome.requests.requests;
    const auto& theirs = reference_outcome.requests.requests;
    size_t at = 0;
    while (at < ours.size() && at < theirs.size() && ours[at].hash == theirs[at].hash) ++at;
    ThrowBadInput(outcome.key.task, "two models with the same tokenizer",
                  StrCat("token sequences that differ at request ", at));
  }

  // All requests of the task, in order: an item's are next to each other.
  std::vector<LikelihoodRequest> requests;
  for (const AskedRequest& asked : outcome.requests.requests) requests.push_back(asked.request);
  context.progress.Begin(StrCat(outcome.key.task, ", distance"), requests.size());
  const std::vector<ScoredDistance> distances =
      CompareScoredPositions(*reference.decoder, *model.decoder, requests, options, context,
                             [&](uint64_t compared) { context.progress.Advance(compared, ""); });
  context.progress.End();

  // Items count the same, however many continuations they have.
  std::vector<double> kl, same;
  for (const AskedItem& item : outcome.requests.items) {
    double kl_sum = 0, same_sum = 0;
    for (size_t c = 0; c < item.count; ++c) {
      kl_sum += distances[item.first + c].kl;
      same_sum += distances[item.first + c].same_top1;
    }
    kl.push_back(kl_sum / static_cast<double>(item.count));
    same.push_back(same_sum / static_cast<double>(item.count));
  }

  const std::vector<double> ones(kl.size(), 1);
  return {RatioEstimate(kl, ones), RatioEstimate(same, ones)};
}

}  // namespace qualm
