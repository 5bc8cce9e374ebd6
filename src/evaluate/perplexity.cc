// Runs windows through one to three models (BatchScorer), reduces their logits row by row, and adds
// up windows in their order (ComparisonSums, ScoreText). Windows that an earlier run has scored are
// not computed again.
#include "evaluate/perplexity.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "evaluate/row_scores.h"

namespace qualm {

namespace {

constexpr size_t kTileRows = 64;     // rows of logits in memory at a time, per model
constexpr size_t kRowsPerPiece = 8;  // rows that one thread reduces at a time
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Runs batches of windows through all models and reduces their logits to WindowRows. It keeps room
// for one tile of logits per model; Score is called for each batch.
class BatchScorer {
 public:
  BatchScorer(const ScoredModels& models, const Context& context)
      : models_(models), context_(context) {
    const size_t vocab = models.model->vocab_size();
    for (const ScoringModel* model : Present()) {
      if (model->vocab_size() != vocab) {
        ThrowBadInput("--reference", StrCat("the model's vocabulary of ", vocab, " tokens"),
                      StrCat(model->vocab_size()));
      }
      logits_.push_back(Matrix::Uninitialized(kTileRows, vocab));
    }
  }

  std::vector<WindowRows> Score(const PerplexityText& text, std::span<const Window> windows) {
    // All models see the same windows.
    std::vector<std::vector<TokenId>> ids;
    for (const Window& window : windows) ids.push_back(text.WindowIds(window));
    std::vector<Matrix> hidden;  // one per model
    for (const ScoringModel* model : Present()) hidden.push_back(model->Hidden(ids, context_));

    std::vector<WindowRows> rows(windows.size());
    size_t first_row = 0;  // of the window inside `hidden`
    for (size_t w = 0; w < windows.size(); ++w) {
      Resize(rows[w], windows[w].targets());
      for (size_t done = 0; done < windows[w].targets(); done += kTileRows) {
        const size_t count = std::min(kTileRows, windows[w].targets() - done);
        // The logits at one position predict the token at the next position.
        const size_t position = windows[w].first_target - 1 + done;
        ScoreTile(hidden, first_row + position,
                  std::span<const TokenId>(ids[w]).subspan(position + 1, count), done, rows[w]);
      }
      first_row += windows[w].tokens;
    }
    return rows;
  }

 private:
  // The models that are given, always in this order; tiles and hidden states have the same indexes.
  std::vector<const ScoringModel*> Present() const {
    std::vector<const ScoringModel*> present = {models_.model};
    if (models_.reference != nullptr) present.push_back(models_.reference);
    if (models_.rounded_reference != nullptr) present.push_back(models_.rounded_reference);
    return present;
  }

  void Resize(WindowRows& rows, size_t targets) const {
    rows.nll.resize(targets);
    if (models_.reference != nullptr) rows.comparison.resize(targets);
    if (models_.rounded_reference != nullptr) rows.noise_floor.resize(targets);
  }

  // Scores the rows [first_row, first_row + targets.size()) of `hidden`; results go to the entries
  // from `offset` on.
  void ScoreTile(std::span<const Matrix> hidden, size_t first_row, std::span<const TokenId> targets,
                 size_t offset, WindowRows& rows) {
    // The logits of these rows, for every model.
    const std::vector<const ScoringModel*> present = Present();
    std::array<Span2D<const float>, 3> tile;
    for (size_t m = 0; m < present.size(); ++m) {
      const Span2D<float> logits = logits_[m].view().Rows(0, targets.size());
      present[m]->Logits(hidden[m].view().Rows(first_row, targets.size()), logits, context_);
      tile[m] = logits;
    }

    // Then row by row: the likelihood alone, or both models' distributions compared.
    const size_t pieces = (targets.size() + kRowsPerPiece - 1) / kRowsPerPiece;
    context_.pool.ParallelFor(pieces, [&](size_t piece) {
      RowComparer comparer;
      const size_t end = std::min(targets.size(), (piece + 1) * kRowsPerPiece);
      for (size_t row = piece * kRowsPerPiece; row < end; ++row) {
        const size_t entry = offset + row;
        if (models_.reference == nullptr) {
          rows.nll[entry] = NegativeLogLikelihood(tile[0].row(row), targets[row]);
          continue;
        }
        rows.comparison[entry] = comparer.Compare(tile[1].row(row), tile[0].row(row), targets[row]);
        rows.nll[entry] = rows.comparison[entry].nll;
        if (models_.rounded_reference != nullptr) {
          rows.noise_floor[entry] =
              comparer.Compare(tile[1].row(row), tile[2].row(row), targets[row]);
        }
      }
    });
  }

  ScoredModels models_;
  const Context& context_;
  std::vector<Matrix> logits_;  // [kTileRows, vocab] per model
};

// Sums over windows of the numbers that compare a model with the reference. AddWindow for each
// window in order, then Result.
class ComparisonSums {
 public:
  void AddWindow(const Window& window, std::span<const RowComparison> rows) {
    // The window is the unit of all errors, so each window gives one number per metric.
    double kl = 0, same = 0, square = 0, nll = 0, reference_nll = 0;
    std::vector<double> values;
    for (const RowComparison& row : rows) {
      kl += row.kl;
      same += row.same_top1 ? 1 : 0;
      square += row.delta_p * row.delta_p;
      nll += row.nll;
      reference_nll += row.reference_nll;
      values.push_back(row.kl);
    }

    const double targets = static_cast<double>(rows.size());
    targets_.push_back(targets);
    weights_.push_back(window.weight);
    kl_.push_back(kl);
    same_.push_back(same);
    square_.push_back(square);
    // Perplexity is weighted by window, all other metrics by position.
    delta_nll_.push_back(window.weight * ((nll - reference_nll) / targets));
    reference_nll_.push_back(window.weight * (reference_nll / targets));
    sample_.AddWindow(values);
  }

  Comparison Result() const {
    constexpr std::array<double, 3> kProbabilities = {0.5, 0.99, 0.999};
    const std::vector<Estimate> quantiles = sample_.Quantiles(kProbabilities);
    return {.kl_mean = RatioEstimate(kl_, targets_),
            .kl_median = quantiles[0],
            .kl_p99 = quantiles[1],
            .kl_p999 = quantiles[2],
            .kl_max = {sample_.Max(), kNone},
            .top1_agreement = RatioEstimate(same_, targets_),
            .rms_delta_p = SqrtOf(RatioEstimate(square_, targets_)),
            .delta_log_ppl = RatioEstimate(delta_nll_, weights_)};
  }

  Estimate ReferencePpl() const { return ExpOf(RatioEstimate(reference_nll_, weights_)); }

 private:
  std::vector<double> targets_, weights_, kl_, same_, square_, delta_nll_, reference_nll_;
  ClusteredSample sample_;
};

// Sums over the windows of one text. AddWindow for each window in order; Result at any time after
// the first.
class TextSums {
 public:
  explicit TextSums(const PerplexityText& text) {
    result_.name = text.name;
    result_.windows = text.windows.size();
    result_.targets = text.targets();
  }

  void AddWindow(const Window& window, const WindowRows& rows) {
    // The window's mean NLL, with its protocol weight.
    double nll = 0;
    for (double value : rows.nll) nll += value;
    nll /= static_cast<double>(rows.nll.size());
    result_.window_nll.push_back(nll);
    weighted_nll_.push_back(window.weight * nll);
    weights_.push_back(window.weight);

    has_comparison_ |= !rows.comparison.empty();
    has_noise_floor_ |= !rows.noise_floor.empty();
    if (has_comparison_) comparison_.AddWindow(window, rows.comparison);
    if (has_noise_floor_) noise_floor_.AddWindow(window, rows.noise_floor);
  }

  Estimate Ppl() const { return ExpOf(RatioEstimate(weighted_nll_, weights_)); }

  TextScores Result() {
    result_.ppl = Ppl();
    if (has_comparison_) {
      result_.reference_ppl = comparison_.ReferencePpl();
      result_.comparison = comparison_.Result();
    }
    if (has_noise_floor_) result_.noise_floor = noise_floor_.Result();
    return std::move(result_);
  }

 private:
  TextScores result_;
  std::vector<double> weighted_nll_, weights_;
  ComparisonSums comparison_, noise_floor_;
  bool has_comparison_ = false, has_noise_floor_ = false;
};

// The rows of the windows [first, first + count), taken from `known` or scored now.
std::vector<WindowRows> RowsOf(const PerplexityText& text, size_t index, size_t first, size_t count,
                               const PerplexityOptions& options, BatchScorer& scorer) {
  std::vector<WindowRows> rows(count);
  std::vector<size_t> open;
  std::vector<Window> windows;

  // Windows that are not known are collected for one pass.
  for (size_t w = 0; w < count; ++w) {
    std::optional<WindowRows> known;
    if (options.known) known = options.known(index, first + w);
    if (known) {
      rows[w] = std::move(*known);
      continue;
    }
    open.push_back(w);
    windows.push_back(text.windows[first + w]);
  }

  if (open.empty()) return rows;
  std::vector<WindowRows> scored = scorer.Score(text, windows);
  for (size_t i = 0; i < open.size(); ++i) {
    rows[open[i]] = std::move(scored[i]);
    if (options.keep) options.keep(index, first + open[i], rows[open[i]]);
  }
  return rows;
}

// Scores one text batch by batch and keeps only sums per window.
TextScores ScoreText(const PerplexityText& text, size_t index, size_t batch,
                     const PerplexityOptions& options, BatchScorer& scorer,
                     const Context& context) {
  TextSums sums(text);
  context.progress.Begin(StrCat("eval ", text.name), text.windows.size());
  for (size_t first = 0; first < text.windows.size(); first += batch) {
    const size_t count = std::min(batch, text.windows.size() - first);
    const std::vector<WindowRows> rows = RowsOf(text, index, first, count, options, scorer);
    for (size_t w = 0; w < count; ++w) sums.AddWindow(text.windows[first + w], rows[w]);
    // The perplexity so far is shown with the progress.
    context.progress.Advance(first + count, StrCat("ppl ", Fixed(sums.Ppl().value, 3)));
  }
  context.progress.End();
  return sums.Result();
}

}  // namespace

TextScores ScoresOfWindows(const PerplexityText& text,
                           const std::function<WindowRows(size_t window)>& rows) {
  QUALM_CHECK(!text.windows.empty());
  TextSums sums(text);
  for (size_t w = 0; w < text.windows.size(); ++w) sums.AddWindow(text.windows[w], rows(w));
  return sums.Result();
}

std::vector<TextScores> ScorePerplexity(const ScoredModels& models,
                                        std::span<const PerplexityText> texts,
                                        const PerplexityOptions& options, const Context& context) {
  QUALM_CHECK(models.model != nullptr);
  QUALM_CHECK(models.rounded_reference == nullptr || models.reference != nullptr);
  BatchScorer scorer(models, context);
  std::vector<TextScores> results;
  for (size_t index = 0; index < texts.size(); ++index) {
    const PerplexityText& text = texts[index];
    QUALM_CHECK(!text.windows.empty());

    // A batch has about kBatchTokens tokens unless a size was asked for.
    const size_t batch = options.batch != 0
                             ? options.batch
                             : std::max<size_t>(1, kBatchTokens / text.windows.front().tokens);
    results.push_back(ScoreText(text, index, batch, options, scorer, context));
    if (!std::isfinite(results.back().ppl.value)) {
      context.progress.Warn(StrCat(text.name, ": perplexity is not finite (",
                                   results.back().ppl.value,
                                   "): the model's logits overflow or are not numbers"));
    }
  }
  return results;
}

}  // namespace qualm
