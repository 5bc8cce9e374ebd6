// Perplexity of prepared texts and, in the same pass, the distance to a reference model. Windows
// are run in batches; logits are computed in tiles of rows and reduced at once, so no logits are
// kept.
//
// Deterministic: per-position numbers depend on the window alone, all sums run in window order, so
// the result has the same bits for every batch size and number of threads.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "evaluate/protocol.h"
#include "evaluate/row_scores.h"
#include "evaluate/scoring_model.h"
#include "evaluate/statistics.h"

namespace qualm {

struct Context;

// Lifetime: the models must outlive the call.
struct ScoredModels {
  const ScoringModel* model = nullptr;
  const ScoringModel* reference = nullptr;          // null: no comparison
  const ScoringModel* rounded_reference = nullptr;  // null: no noise floor; needs `reference`
};

// How a model's next-token distributions differ from the reference's over all scored positions.
// Errors treat windows as clusters; quantiles: bootstrap over windows; the maximum has none.
struct Comparison {
  Estimate kl_mean, kl_median, kl_p99, kl_p999, kl_max;  // KL(reference ‖ model), nats
  Estimate top1_agreement;                               // share of positions with equal argmax
  Estimate rms_delta_p;    // root mean square of p_model - p_reference of the correct token
  Estimate delta_log_ppl;  // log ppl(model) - log ppl(reference), paired over windows
};

// The scores of one text; the comparisons are there if the reference models were given.
struct TextScores {
  std::string name;
  size_t windows = 0;
  size_t targets = 0;
  Estimate ppl;
  std::vector<double> window_nll;  // mean NLL of each window's targets, nats
  std::optional<Estimate> reference_ppl;
  std::optional<Comparison> comparison;   // model against reference
  std::optional<Comparison> noise_floor;  // rounded reference against reference
};

// Per-position numbers of one window; the comparisons are empty if there is no such model.
struct WindowRows {
  std::vector<double> nll;
  std::vector<RowComparison> comparison, noise_floor;
};

// A window's numbers as bytes, with a hash after them (docs/formats/results.md, windows).
std::string BytesOf(const WindowRows& rows);
// Nothing if `bytes` does not begin with a whole and undamaged window; its length goes to `used`.
// There is no noise floor in it.
std::optional<WindowRows> WindowRowsOf(std::string_view bytes, size_t& used);

struct PerplexityOptions {
  size_t batch = 0;  // windows per forward pass; 0: about kBatchTokens tokens
  // `known` gives the rows that an earlier run found for a window of a text (by their indexes),
  // `keep` receives the rows of a window as soon as they are computed; with both, a killed run can
  // be continued. They may be empty.
  std::function<std::optional<WindowRows>(size_t text, size_t window)> known = {};
  std::function<void(size_t text, size_t window, const WindowRows& rows)> keep = {};
};
inline constexpr size_t kBatchTokens = 2048;

// The scores of a text from the numbers of all its windows: `rows` is called once for each, in
// order. What the first window has, all have.
TextScores ScoresOfWindows(const PerplexityText& text,
                           const std::function<WindowRows(size_t window)>& rows);

// One result per text. Throws bad input if the vocabularies of the models differ.
std::vector<TextScores> ScorePerplexity(const ScoredModels& models,
                                        std::span<const PerplexityText> texts,
                                        const PerplexityOptions& options, const Context& context);

}  // namespace qualm
