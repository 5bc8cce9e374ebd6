// Flattens scores into rows, in the order in which they are printed.
#include "evaluate/metric_rows.h"

#include <limits>

#include "base/strings.h"
#include "data/overlap.h"

namespace qualm {

std::vector<MetricRow> MetricRows(const TextScores& scores, const PerplexityProtocol& protocol,
                                  size_t seqlen) {
  std::vector<MetricRow> rows;
  // Every row repeats which text and protocol it belongs to.
  const auto add = [&](std::string metric, const Estimate& estimate) {
    rows.push_back({.corpus = scores.name,
                    .metric = std::move(metric),
                    .estimate = estimate,
                    .windows = scores.windows,
                    .targets = scores.targets,
                    .protocol = protocol.name,
                    .protocol_version = protocol.version,
                    .seqlen = seqlen});
  };

  // The same metrics for the model and, with a prefix, for the noise floor.
  const auto add_comparison = [&](std::string_view prefix, const Comparison& comparison) {
    add(StrCat(prefix, "delta_log_ppl"), comparison.delta_log_ppl);
    add(StrCat(prefix, "kl_mean"), comparison.kl_mean);
    add(StrCat(prefix, "kl_median"), comparison.kl_median);
    add(StrCat(prefix, "kl_p99"), comparison.kl_p99);
    add(StrCat(prefix, "kl_p999"), comparison.kl_p999);
    add(StrCat(prefix, "kl_max"), comparison.kl_max);
    add(StrCat(prefix, "top1_agreement"), comparison.top1_agreement);
    add(StrCat(prefix, "rms_delta_p"), comparison.rms_delta_p);
  };

  add("ppl", scores.ppl);
  if (scores.reference_ppl) add("reference_ppl", *scores.reference_ppl);
  if (scores.comparison) add_comparison("", *scores.comparison);
  if (scores.noise_floor) add_comparison(kNoiseFloorPrefix, *scores.noise_floor);
  return rows;
}

MetricRow OverlapRow(const PerplexityText& text, std::span<const uint64_t> calibration_hashes,
                     const PerplexityProtocol& protocol, size_t seqlen) {
  // Counts over all scored windows.
  Overlap overlap;
  for (const Window& window : text.windows) {
    const Overlap here = MeasureOverlap(calibration_hashes, text.WindowIds(window));
    overlap.grams += here.grams;
    overlap.found += here.found;
  }

  // Windows shorter than 13 tokens have no 13-grams.
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  const double share =
      overlap.grams == 0 ? kNone
                         : static_cast<double>(overlap.found) / static_cast<double>(overlap.grams);
  return {.corpus = text.name,
          .metric = "calibration_overlap",
          .estimate = {share, kNone},
          .windows = text.windows.size(),
          .targets = overlap.grams,
          .protocol = protocol.name,
          .protocol_version = protocol.version,
          .seqlen = seqlen};
}

}  // namespace qualm
