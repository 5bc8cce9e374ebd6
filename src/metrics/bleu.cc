// Counts n-grams of words (BLEU) or characters (chrF) for each text, and makes the score of the
// sums of those counts. The tokenizers 13a and zh are part of the definition of BLEU.
#include "metrics/bleu.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/strings.h"
#include "metrics/words.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// The signs that mteval-v13a sets apart everywhere.
bool IsLoneSign(char c) {
  return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') ||
         (c >= '(' && c <= '+') || (c >= ':' && c <= '@') || c == '/';
}

// A blank around signs, around a point or comma unless digits are on that side, and around a dash
// behind a digit: one pass for each rule, pairs of characters without overlap, as the regular
// expressions of the definition do it.
std::string SetSignsApart(const std::string& text) {
  std::string a;
  for (char c : text) {
    if (IsLoneSign(c)) {
      a += {' ', c, ' '};
    } else {
      a += c;
    }
  }
  const auto pass = [](const std::string& from, auto matches, auto replace) {
    std::string to;
    for (size_t i = 0; i < from.size(); ++i) {
      if (i + 1 < from.size() && matches(from[i], from[i + 1])) {
        replace(to, from[i], from[i + 1]);
        ++i;
      } else {
        to += from[i];
      }
    }
    return to;
  };
  const auto is_point = [](char c) { return c == '.' || c == ','; };
  const std::string b = pass(
      a, [&](char x, char y) { return !IsDigit(x) && is_point(y); },
      [](std::string& to, char x, char y) {
        to += {x, ' ', y, ' '};
      });
  const std::string c = pass(
      b, [&](char x, char y) { return is_point(x) && !IsDigit(y); },
      [](std::string& to, char x, char y) {
        to += {' ', x, ' ', y};
      });
  return pass(
      c, [](char x, char y) { return IsDigit(x) && y == '-'; },
      [](std::string& to, char x, char y) {
        to += {x, ' ', y, ' '};
      });
}

// What sacreBLEU's table takes for Chinese. Its entries with five digits are read as four and a
// digit, which makes them U+2001 to U+2A6D (typographic quotes among them) and nothing above
// U+FFFF.
bool IsChinese(char32_t c) {
  static constexpr char32_t kRanges[][2] = {
      {0x2001, 0x2A6D}, {0x2E80, 0x2EFF}, {0x2F00, 0x2FDF}, {0x2FF0, 0x303F},
      {0x3100, 0x312F}, {0x31A0, 0x31BF}, {0x31C0, 0x31EF}, {0x3200, 0x33FF},
      {0x3400, 0x4DB5}, {0x4E00, 0x9FBB}, {0xF900, 0xFA2D}, {0xFA30, 0xFA6A},
      {0xFA70, 0xFAD9}, {0xFE10, 0xFE1F}, {0xFE30, 0xFE4F}, {0xFF00, 0xFFEF}};
  return std::ranges::any_of(kRanges,
                             [&](const auto& range) { return c >= range[0] && c <= range[1]; });
}

std::map<std::vector<std::string>, double> NGrams(const std::vector<std::string>& words,
                                                  size_t order) {
  std::map<std::vector<std::string>, double> counts;
  for (size_t i = 0; i + order <= words.size(); ++i) {
    const auto begin = words.begin() + static_cast<std::ptrdiff_t>(i);
    ++counts[std::vector<std::string>(begin, begin + static_cast<std::ptrdiff_t>(order))];
  }
  return counts;
}

std::map<std::u32string, double> CharacterGrams(const std::u32string& text, size_t order) {
  std::map<std::u32string, double> counts;
  for (size_t i = 0; i + order <= text.size(); ++i) ++counts[text.substr(i, order)];
  return counts;
}

std::u32string WithoutBlanks(std::string_view text) {
  std::u32string kept;
  for (char32_t c : CodePointsOf(text)) {
    if (!IsUnicodeBlank(c)) kept += c;
  }
  return kept;
}

}  // namespace

std::vector<std::string> TokenizeBlanks(std::string_view text) { return WordsOf(text); }

std::vector<std::string> Tokenize13a(std::string_view text) {
  std::string line(text);
  const std::pair<const char*, const char*> replaced[] = {
      {"<skipped>", ""}, {"-\n", ""},   {"\n", " "},  {"&quot;", "\""},
      {"&amp;", "&"},    {"&lt;", "<"}, {"&gt;", ">"}};
  for (const auto& [from, to] : replaced) line = ReplaceAll(std::move(line), from, to);
  return WordsOf(SetSignsApart(StrCat(" ", line, " ")));
}

std::vector<std::string> TokenizeZh(std::string_view text) {
  std::string apart;
  for (char32_t c : CodePointsOf(Trim(text))) {
    if (IsChinese(c)) apart += ' ';
    AppendUtf8(c, apart);
    if (IsChinese(c)) apart += ' ';
  }
  return WordsOf(SetSignsApart(apart));
}

BleuCounts CountBleu(std::string_view text, std::span<const std::string> references,
                     const BleuTokenizer& tokenizer) {
  BleuCounts counts(2 * kBleuOrder + 2, 0);
  const std::vector<std::string> words = tokenizer(text);
  std::vector<std::vector<std::string>> others;
  for (const std::string& reference : references) others.push_back(tokenizer(reference));
  const auto length = static_cast<double>(words.size());
  double closest = -1;
  for (const auto& other : others) {
    const auto candidate = static_cast<double>(other.size());
    const double difference = std::abs(candidate - length), best = std::abs(closest - length);
    if (closest < 0 || difference < best || (difference == best && candidate < closest)) {
      closest = candidate;
    }
  }
  for (size_t order = 1; order <= kBleuOrder; ++order) {
    std::map<std::vector<std::string>, double> most;  // of any one reference
    for (const auto& other : others) {
      for (const auto& [gram, count] : NGrams(other, order)) {
        most[gram] = std::max(most[gram], count);
      }
    }
    counts[order - 1] = CommonCount(NGrams(words, order), most);
    counts[kBleuOrder + order - 1] =
        words.size() < order ? 0 : static_cast<double>(words.size() - order + 1);
  }
  counts[2 * kBleuOrder] = length;
  counts[2 * kBleuOrder + 1] = std::max(closest, 0.0);
  return counts;
}

double BleuOf(std::span<const double> counts) {
  const auto matches = counts.first(kBleuOrder), totals = counts.subspan(kBleuOrder, kBleuOrder);
  const double length = counts[2 * kBleuOrder], reference = counts[2 * kBleuOrder + 1];
  double smooth = 1, sum = 0;
  for (size_t n = 0; n < kBleuOrder; ++n) {
    if (totals[n] == 0 || matches[0] == 0) return 0;
    double share = matches[n] / totals[n];
    if (matches[n] == 0) {
      smooth *= 2;
      share = 1 / (smooth * totals[n]);
    }
    sum += std::log(share);
  }
  const double brevity = length < reference ? std::exp(1 - reference / length) : 1;
  return 100 * brevity * std::exp(sum / kBleuOrder);
}

std::vector<double> CountChrf(std::string_view text, std::span<const std::string> references) {
  const std::u32string characters = WithoutBlanks(text);
  std::vector<double> best(3 * kChrfOrder, 0);
  double best_score = -1;
  for (const std::string& reference : references) {
    const std::u32string other = WithoutBlanks(reference);
    std::vector<double> counts;
    for (size_t order = 1; order <= kChrfOrder; ++order) {
      const auto number = [&](const std::u32string& of) {
        return of.size() < order ? 0 : static_cast<double>(of.size() - order + 1);
      };
      counts.push_back(number(characters));
      counts.push_back(number(other));
      counts.push_back(
          CommonCount(CharacterGrams(characters, order), CharacterGrams(other, order)));
    }
    if (const double score = ChrfOf(counts); score > best_score) {
      best_score = score;
      best = std::move(counts);
    }
  }
  return best;
}

double ChrfOf(std::span<const double> counts, double beta) {
  double precision = 0, recall = 0, orders = 0;
  for (size_t n = 0; n < kChrfOrder; ++n) {
    const double ours = counts[3 * n], theirs = counts[3 * n + 1], common = counts[3 * n + 2];
    if (ours == 0 || theirs == 0) continue;
    precision += common / ours;
    recall += common / theirs;
    ++orders;
  }
  if (orders == 0 || precision + recall == 0) return 0;
  precision /= orders;
  recall /= orders;
  const double square = beta * beta;
  return 100 * (1 + square) * precision * recall / (square * precision + recall);
}

}  // namespace qualm
