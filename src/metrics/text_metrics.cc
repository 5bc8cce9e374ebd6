// One function for each metric gives the counts of one text; a second one makes a number of the
// sums. How texts are cut and compared is in the files of the single metrics.
#include "metrics/text_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "metrics/answers.h"
#include "metrics/bleu.h"
#include "metrics/exact_match.h"
#include "metrics/follow_rules.h"
#include "metrics/math_in_dollars.h"
#include "metrics/python_sandbox.h"
#include "metrics/words.h"
#include "tokenize/tokenizer.h"

namespace qualm {
namespace {

using References = std::span<const std::string>;
using Counts = std::vector<double>;

double FOf(double common, double ours, double theirs) {
  return common == 0 ? 0 : 2 * common / (ours + theirs);
}

template <typename Score>
Counts Best(References references, const Score& score) {
  double best = 0;
  for (const std::string& reference : references) best = std::max(best, score(reference));
  return {best, 1};
}

double Ratio(std::span<const double> sums) {
  return sums[1] == 0 ? std::numeric_limits<double>::quiet_NaN() : sums[0] / sums[1];
}

Counts ExactMatch(std::string_view text, References references, const MetricOptions& options) {
  if (options.exact_match != nullptr) {
    const std::string compared = ComparedText(text, *options.exact_match);
    return Best(references, [&](const std::string& one) {
      return compared == ComparedText(one, *options.exact_match) ? 1.0 : 0.0;
    });
  }
  return Best(references, [&](const std::string& one) { return text == one ? 1.0 : 0.0; });
}

Counts SquadMatch(std::string_view text, References references, const MetricOptions&) {
  const std::string normal = NormalizeSquad(text);
  return Best(references,
              [&](const std::string& one) { return normal == NormalizeSquad(one) ? 1.0 : 0.0; });
}

Counts SquadF1(std::string_view text, References references, const MetricOptions&) {
  return Best(references, [&](const std::string& one) { return WordF1(text, one); });
}

Counts Rouge1(std::string_view text, References references, const MetricOptions&) {
  return Best(references, [&](const std::string& one) { return RougeN(text, one, 1); });
}

Counts Rouge2(std::string_view text, References references, const MetricOptions&) {
  return Best(references, [&](const std::string& one) { return RougeN(text, one, 2); });
}

Counts RougeLongest(std::string_view text, References references, const MetricOptions&) {
  return Best(references, [&](const std::string& one) { return RougeL(text, one); });
}

std::vector<std::string> PiecesOf(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<std::string> pieces;
  for (TokenId id : tokenizer.Encode(text)) pieces.push_back(tokenizer.Piece(id));
  return pieces;
}

Counts Bleu(std::string_view text, References references, const MetricOptions& options) {
  if (options.bleu_tokenizer == "spm") {
    return CountBleu(text, references,
                     [&](std::string_view one) { return PiecesOf(*options.pieces, one); });
  }
  return CountBleu(text, references,
                   options.bleu_tokenizer == "zh"     ? TokenizeZh
                   : options.bleu_tokenizer == "none" ? TokenizeBlanks
                                                      : Tokenize13a);
}

Counts Chrf(std::string_view text, References references, const MetricOptions&) {
  return CountChrf(text, references);
}

double ChrfValue(std::span<const double> sums) { return ChrfOf(sums); }

// "Person: Ann, Bo || Location: None": (label, words) in any order, small letters.
std::set<std::pair<std::string, std::string>> EntitiesOf(std::string_view text) {
  std::set<std::pair<std::string, std::string>> entities;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t end = std::min(rest.find("||"), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 2, rest.size()));
    const size_t colon = part.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string label = ToLower(Trim(part.substr(0, colon)));
    for (const std::string& entity : Split(part.substr(colon + 1), ',')) {
      std::string name = Join(WordsOf(ToLower(entity)), " ");
      if (name.ends_with('.')) name.pop_back();
      if (!name.empty() && name != "none") entities.emplace(label, name);
    }
  }
  return entities;
}

// Entities found and right, found, to be found.
Counts Entities(std::string_view text, References references, const MetricOptions&) {
  const auto found = EntitiesOf(text), gold = EntitiesOf(references[0]);
  const auto right =
      std::ranges::count_if(found, [&](const auto& one) { return gold.contains(one); });
  return {static_cast<double>(right), static_cast<double>(found.size()),
          static_cast<double>(gold.size())};
}

double MicroF1(std::span<const double> sums) {
  return sums[1] + sums[2] == 0 ? std::numeric_limits<double>::quiet_NaN()
                                : FOf(sums[0], sums[1], sums[2]);
}

// Hendrycks et al. 2021: answers as the MATH harness compares them.
Counts MathMatch(std::string_view text, References references, const MetricOptions&) {
  const std::string normal = NormalizeMath(text);
  return Best(references,
              [&](const std::string& one) { return normal == NormalizeMath(one) ? 1.0 : 0.0; });
}

Counts MathInDollars(std::string_view text, References references, const MetricOptions&) {
  return Best(references,
              [&](const std::string& one) { return IsEqualMathInDollars(text, one) ? 1.0 : 0.0; });
}

// Both sides as numbers where they are; else as texts.
Counts NumberMatch(std::string_view text, References references, const MetricOptions&) {
  const std::string normal = NormalizeNumber(text);
  return Best(references,
              [&](const std::string& one) { return normal == NormalizeNumber(one) ? 1.0 : 0.0; });
}

Counts HardSatisfaction(std::string_view text, References references, const MetricOptions&) {
  const std::vector<bool> met = FollowedRules(text, references);
  return {std::ranges::all_of(met, std::identity()) ? 1.0 : 0.0, 1};
}

Counts SoftSatisfaction(std::string_view text, References references, const MetricOptions&) {
  const std::vector<bool> met = FollowedRules(text, references);
  return {static_cast<double>(std::ranges::count(met, true)) / static_cast<double>(met.size()), 1};
}

Counts LevelFollowed(std::string_view text, References references, const MetricOptions&) {
  const std::vector<bool> met = FollowedRules(text, references);
  return {static_cast<double>(references[3][0] - '0'),
          std::ranges::all_of(met, std::identity()) ? 1.0 : 0.0};
}

Counts Passes(std::string_view program, References, const MetricOptions& options) {
  if (!options.run_code) {
    ThrowBadInput("pass@k", "the permission to run what the model writes", "none",
                  "--run-code gives it; programs run in a sandbox");
  }
  return {RunsToItsEnd(program) ? 1.0 : 0.0, 1};
}

// ADD A METRIC: a function, and a line here.
constexpr TextMetric kMetrics[] = {
    {"exact_match", "share of texts that equal a reference", true, 0, true, ExactMatch, Ratio},
    {"squad_em", "the same after SQuAD's normaliser", true, 0, true, SquadMatch, Ratio},
    {"squad_f1", "mean F1 of words with the best reference, SQuAD's normaliser", true, 0, true,
     SquadF1, Ratio},
    {"number_match", "share of texts that are the reference's number", true, 0, true, NumberMatch,
     Ratio},
    {"math_match", "share of texts equal to a reference in MATH's normal form", true, 0, true,
     MathMatch, Ratio},
    {"math_in_dollars", "share of texts equal to a reference as in the harness's hendrycks_math",
     true, 0, true, MathInDollars, Ratio},
    {"rouge1", "mean F1 of common words (ROUGE-1, no stemmer)", true, 0, true, Rouge1, Ratio},
    {"rouge2", "mean F1 of common pairs of words (ROUGE-2, no stemmer)", true, 0, true, Rouge2,
     Ratio},
    {"rougeL", "mean F1 of the longest common subsequence (ROUGE-L, no stemmer)", true, 0, true,
     RougeLongest, Ratio},
    {"bleu", "BLEU over all texts, 0 to 100, as sacreBLEU has it", false, 0, false, Bleu, BleuOf},
    {"chrf", "chrF2 over all texts, 0 to 100, as sacreBLEU has it", false, 0, false, Chrf,
     ChrfValue},
    {"entity_f1", "micro F1 of named entities", false, 0, true, Entities, MicroF1},
    {"hsr", "hard satisfaction rate: share of texts that follow all rules", true, 0, true,
     HardSatisfaction, Ratio},
    {"csl", "consistent satisfaction level: levels followed from the first on", false, 0, false,
     LevelFollowed, Ratio},
    {"pass@1", "chance that a program passes its tests", true, 1, true, Passes, Ratio},
    {"pass@10", "chance that one of ten programs does", true, 10, true, Passes, Ratio},
    {"pass@100", "chance that one of a hundred programs does", true, 100, true, Passes, Ratio},
    {"ssr", "soft satisfaction rate: mean share of rules that a text follows", true, 0, true,
     SoftSatisfaction, Ratio},
};

}  // namespace

std::span<const TextMetric> AllTextMetrics() { return kMetrics; }

const TextMetric* FindTextMetric(std::string_view name) {
  const auto* found = std::ranges::find(kMetrics, name, &TextMetric::name);
  return found == std::end(kMetrics) ? nullptr : found;
}

std::string SignatureOf(const TextMetric& metric, size_t references, const MetricOptions& options) {
  const std::string_view name = metric.name;
  if (name == "bleu") {
    return StrCat("nrefs:", references, "|case:mixed|eff:no|tok:", options.bleu_tokenizer,
                  "|smooth:exp|by:qualm");
  }
  if (name == "chrf") {
    return StrCat("nrefs:", references, "|case:mixed|eff:yes|nc:6|nw:0|space:no|by:qualm");
  }
  return "";
}

double PassAtK(size_t samples, size_t right, size_t k) {
  QUALM_CHECK(k <= samples && right <= samples);
  if (samples - right < k) return 1;
  double none = 1;  // C(n-c, k) / C(n, k)
  for (size_t i = samples - right + 1; i <= samples; ++i) {
    none *= 1 - static_cast<double>(k) / static_cast<double>(i);
  }
  return 1 - none;
}

double WordF1(std::string_view text, std::string_view reference) {
  const std::vector<std::string> ours = WordsOf(NormalizeSquad(text)),
                                 theirs = WordsOf(NormalizeSquad(reference));
  if (ours.empty() || theirs.empty()) return ours.empty() == theirs.empty() ? 1 : 0;
  std::map<std::string, double> a, b;
  for (const std::string& word : ours) ++a[word];
  for (const std::string& word : theirs) ++b[word];
  return FOf(CommonCount(a, b), static_cast<double>(ours.size()),
             static_cast<double>(theirs.size()));
}

double RougeN(std::string_view text, std::string_view reference, size_t n) {
  const auto grams = [&](std::string_view of) {
    const std::vector<std::string> words = RougeWords(of);
    std::map<std::vector<std::string>, double> counts;
    for (size_t i = 0; i + n <= words.size(); ++i) {
      const auto begin = words.begin() + static_cast<std::ptrdiff_t>(i);
      ++counts[{begin, begin + static_cast<std::ptrdiff_t>(n)}];
    }
    return counts;
  };
  const auto total = [](const auto& counts) {
    double sum = 0;
    for (const auto& [gram, count] : counts) sum += count;
    return sum;
  };
  const auto a = grams(text), b = grams(reference);
  return FOf(CommonCount(a, b), total(a), total(b));
}

double RougeL(std::string_view text, std::string_view reference) {
  const std::vector<std::string> a = RougeWords(text), b = RougeWords(reference);
  std::vector<size_t> row(b.size() + 1, 0);  // longest of a's first words and b's first j
  for (const std::string& word : a) {
    size_t diagonal = 0;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t above = row[j + 1];
      row[j + 1] = word == b[j] ? diagonal + 1 : std::max(above, row[j]);
      diagonal = above;
    }
  }
  return FOf(static_cast<double>(row.back()), static_cast<double>(a.size()),
             static_cast<double>(b.size()));
}

}  // namespace qualm
