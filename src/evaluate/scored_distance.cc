// How far two models' predictions are apart at the positions that a task scores: the KL divergence
// and the share of equal top tokens, by request. Hidden states of one model are kept while the
// other runs, because logits of all positions would not fit into memory.
#include "evaluate/scored_distance.h"

#include <algorithm>

#include "base/context.h"
#include "base/error.h"
#include "evaluate/row_scores.h"
#include "model/decoder.h"
#include "tensor/matrix.h"

namespace qualm {
namespace {

// Hidden states of all scored positions of a part, which wait for the other model.
constexpr size_t kPartFloats = size_t{32} << 20;
// Positions whose logits exist at the same time, of both models.
constexpr size_t kRowsAtOnce = 128;

// Hidden states of the scored positions of each unit of equal requests, at the index of its first.
using HiddenRows = std::vector<Matrix>;

// Runs the scorer only for its hidden states. `units` returns which requests are equal.
HiddenRows RowsOf(const Decoder& decoder, std::span<const LikelihoodRequest> requests,
                  const ScorerOptions& options, const Context& context,
                  std::vector<std::vector<size_t>>* units) {
  HiddenRows rows(requests.size());
  (void)ScoreLikelihoods(decoder, requests, options, context, {}, {},
                         [&](std::span<const size_t> same, Span2D<const float> hidden) {
                           Matrix copy = Matrix::Uninitialized(hidden.rows(), hidden.cols());
                           for (size_t r = 0; r < hidden.rows(); ++r) {
                             std::ranges::copy(hidden.row(r), copy.row(r).begin());
                           }
                           rows[same[0]] = std::move(copy);
                           if (units != nullptr) units->emplace_back(same.begin(), same.end());
                         });
  return rows;
}

// Both models' logits are computed for a few rows at a time and compared row by row.
ScoredDistance DistanceOf(const Decoder& reference, const Matrix& reference_hidden,
                          const Decoder& model, const Matrix& model_hidden,
                          const Context& context) {
  const size_t vocab = model.plan.vocab_size(), rows = model_hidden.rows();
  std::vector<RowComparison> compared(rows);
  Matrix a = Matrix::Uninitialized(std::min(rows, kRowsAtOnce), vocab);
  Matrix b = Matrix::Uninitialized(std::min(rows, kRowsAtOnce), vocab);

  for (size_t first = 0; first < rows; first += kRowsAtOnce) {
    const size_t count = std::min(kRowsAtOnce, rows - first);
    reference.Logits(reference_hidden.view().Rows(first, count), a.view().Rows(0, count), context);
    model.Logits(model_hidden.view().Rows(first, count), b.view().Rows(0, count), context);
    context.pool.ParallelFor(count, [&](size_t i) {
      RowComparer comparer;
      compared[first + i] = comparer.Compare(a.row(i), b.row(i), 0);  // the target does not matter
    });
  }

  // Means over the positions, summed in their order.
  ScoredDistance distance;
  for (const RowComparison& one : compared) {
    distance.kl += one.kl;
    distance.same_top1 += one.same_top1 ? 1 : 0;
  }
  distance.kl /= static_cast<double>(rows);
  distance.same_top1 /= static_cast<double>(rows);
  return distance;
}

}  // namespace

std::vector<ScoredDistance> CompareScoredPositions(
    const Decoder& reference, const Decoder& model, std::span<const LikelihoodRequest> requests,
    const ScorerOptions& options, const Context& context,
    const std::function<void(uint64_t compared)>& on_part) {
  QUALM_CHECK(reference.plan.vocab_size() == model.plan.vocab_size());

  std::vector<ScoredDistance> distances(requests.size());
  const size_t width = std::max(reference.plan.hidden_size, model.plan.hidden_size);
  for (size_t begin = 0; begin < requests.size();) {
    // As many requests as their hidden states may take memory, but at least one.
    size_t end = begin, floats = 0;
    while (end < requests.size() && (end == begin || floats < kPartFloats)) {
      floats += requests[end++].continuation_length() * width;
    }

    // Both models see the same part, so that they form the same units.
    const auto part = requests.subspan(begin, end - begin);
    std::vector<std::vector<size_t>> units;
    const HiddenRows a = RowsOf(reference, part, options, context, &units);
    const HiddenRows b = RowsOf(model, part, options, context, nullptr);

    for (const std::vector<size_t>& unit : units) {
      const ScoredDistance distance = DistanceOf(reference, a[unit[0]], model, b[unit[0]], context);
      for (size_t i : unit) distances[begin + i] = distance;
    }

    begin = end;
    if (on_part) on_part(end);
  }
  return distances;
}

}  // namespace qualm
