// Scores of texts as flat rows, one per metric; these rows are printed, written as JSON and stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "evaluate/perplexity.h"

namespace qualm {

// One number with its error and everything that one must know to compare it.
struct MetricRow {
  std::string corpus;
  std::string metric;  // see MetricRows
  Estimate estimate;   // NaN: not available
  size_t windows = 0;  // n
  size_t targets = 0;  // n_tokens: scored positions
  std::string protocol;
  int protocol_version = 1;
  size_t seqlen = 0;
};

// The share of the scored windows' 13-grams of tokens that also occur in the calibration text,
// given the hashes that the quantized model keeps (data/overlap.h): "calibration_overlap". It is an
// exact count over `targets` 13-grams, so it has no standard error; NaN if the windows are too
// short.
MetricRow OverlapRow(const PerplexityText& text, std::span<const uint64_t> calibration_hashes,
                     const PerplexityProtocol& protocol, size_t seqlen);

// "ppl"; with a reference also "reference_ppl", "delta_log_ppl", "kl_mean", "kl_median", "kl_p99",
// "kl_p999", "kl_max", "top1_agreement", "rms_delta_p"; with a noise floor the metrics from
// "delta_log_ppl" on again, with the prefix "noise_floor_".
std::vector<MetricRow> MetricRows(const TextScores& scores, const PerplexityProtocol& protocol,
                                  size_t seqlen);

inline constexpr const char* kNoiseFloorPrefix = "noise_floor_";

}  // namespace qualm
