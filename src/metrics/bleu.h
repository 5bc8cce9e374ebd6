// BLEU and chrF as sacreBLEU computes them (Post 2018, arXiv 1804.08771; Papineni et al. 2002;
// Popović 2015). Both are ratios of counts that add up over the texts of a corpus.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qualm {

// Splits a text into the words whose n-grams are counted.
using BleuTokenizer = std::function<std::vector<std::string>(std::string_view)>;

std::vector<std::string> Tokenize13a(std::string_view text);  // mteval-v13a
// Every Chinese character and sign by itself, the rest like 13a.
std::vector<std::string> TokenizeZh(std::string_view text);
std::vector<std::string> TokenizeBlanks(std::string_view text);  // "none": at blanks only

inline constexpr size_t kBleuOrder = 4;
// Matches of n = 1..4, n-grams of n = 1..4, words, words of the closest reference (of two equally
// close ones the shorter).
using BleuCounts = std::vector<double>;
BleuCounts CountBleu(std::string_view text, std::span<const std::string> references,
                     const BleuTokenizer& tokenizer);
// 0 to 100; exponential smoothing of orders without a match, no effective order.
double BleuOf(std::span<const double> counts);

inline constexpr size_t kChrfOrder = 6;
// For each order: n-grams of the text, of the reference, common ones; blanks are left out. Of
// several references the one with the best score counts.
std::vector<double> CountChrf(std::string_view text, std::span<const std::string> references);
// 0 to 100; means of precision and recall over the orders that both sides have.
double ChrfOf(std::span<const double> counts, double beta = 2);

}  // namespace qualm
