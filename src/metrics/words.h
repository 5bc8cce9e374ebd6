// Texts as words and characters, in the ways that metrics cut them.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace qualm {

bool IsAsciiPunctuation(char c);

// What two bags have in common, by the smaller count.
template <typename Key>
double CommonCount(const std::map<Key, double>& a, const std::map<Key, double>& b) {
  double common = 0;
  for (const auto& [key, count] : a) {
    const auto found = b.find(key);
    if (found != b.end()) common += std::min(count, found->second);
  }
  return common;
}

// Malformed bytes are U+FFFD.
std::u32string CodePointsOf(std::string_view text);
// What Python's str.split() and \s cut at.
bool IsUnicodeBlank(char32_t c);
// Cut at blanks of any kind; no empty words.
std::vector<std::string> WordsOf(std::string_view text);
std::string ReplaceAll(std::string text, std::string_view from, std::string_view to);

// SQuAD's normaliser (Rajpurkar et al. 2016): small ASCII letters, no ASCII punctuation, without
// the words a, an, the; words joined by single blanks.
std::string NormalizeSquad(std::string_view text);
// rouge_score's words: small letters, runs of a-z and 0-9; no stemmer.
std::vector<std::string> RougeWords(std::string_view text);

}  // namespace qualm
