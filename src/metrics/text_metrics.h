// What generated texts are worth: each metric adds up counts of its own over texts and makes one
// number of the sums.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qualm {

class Tokenizer;
struct ExactMatchOptions;

struct MetricOptions {
  // How BLEU cuts texts: "13a", "zh", "none", or "spm" with `pieces`.
  std::string bleu_tokenizer = "13a";
  const Tokenizer* pieces = nullptr;
  // Of exact_match; null: texts must be equal. Must outlive the options.
  const ExactMatchOptions* exact_match = nullptr;
  bool run_code = false;  // whether programs may be run (in a sandbox); pass@k needs it
};

struct TextMetric {
  const char* name;
  const char* summary;
  // Whether the value is the mean of texts' values, sums of {value, 1}.
  bool is_mean;
  // pass@k: of how many samples one has to be right; of other metrics 0. The mean over samples is
  // taken to be the value of their row.
  size_t pass_of;
  // Whether values are shares, 0 to 1; else they are 0 to 100 as published.
  bool is_share;
  std::vector<double> (*count)(std::string_view text, std::span<const std::string> references,
                               const MetricOptions& options);
  double (*value)(std::span<const double> sums);  // NaN where there is none
};

// Consistent satisfaction level (FollowBench): how many levels of an instruction are followed in a
// row, from the first on. Its counts are {level, followed}; rows with one group belong together.
inline constexpr std::string_view kLevelMetric = "csl";

// Of `samples` texts for a row `right` ones are right: the chance that k drawn ones have a right
// one (Chen et al. 2021, arXiv 2107.03374, section 2.1). Requires: k <= samples.
double PassAtK(size_t samples, size_t right, size_t k);

std::span<const TextMetric> AllTextMetrics();
const TextMetric* FindTextMetric(std::string_view name);  // null: unknown
// How a value was computed, in sacreBLEU's form: "nrefs:1|case:mixed|..."; empty: nothing to say.
std::string SignatureOf(const TextMetric& metric, size_t references, const MetricOptions& options);

// F of precision and recall over words that both have (with multiplicity); SQuAD's words.
double WordF1(std::string_view text, std::string_view reference);
// F of common n-grams, and of the longest common subsequence (Lin 2004; rouge_score without
// stemmer).
double RougeN(std::string_view text, std::string_view reference, size_t n);
double RougeL(std::string_view text, std::string_view reference);

}  // namespace qualm
