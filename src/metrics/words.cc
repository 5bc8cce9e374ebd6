// Cuts texts into code points and words, and normalizes them as SQuAD and ROUGE define it.
#include "metrics/words.h"

#include <algorithm>

#include "base/strings.h"
#include "tokenize/utf8.h"

namespace qualm {
bool IsAsciiPunctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

std::u32string CodePointsOf(std::string_view text) {
  std::u32string points;
  while (!text.empty()) {
    const size_t length = ValidCharacterLength(text);
    points += length == 0 ? char32_t{0xFFFD} : char32_t{CodePoint(text.substr(0, length))};
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return points;
}

bool IsUnicodeBlank(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

std::vector<std::string> WordsOf(std::string_view text) {
  std::vector<std::string> words;
  bool in_word = false;
  for (char32_t c : CodePointsOf(text)) {
    if (IsUnicodeBlank(c)) {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    in_word = true;
    AppendUtf8(c, words.back());
  }
  return words;
}

std::string ReplaceAll(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string NormalizeSquad(std::string_view text) {
  std::string kept = ToLower(text);
  std::erase_if(kept, IsAsciiPunctuation);
  std::vector<std::string> words = WordsOf(kept);
  std::erase_if(
      words, [](const std::string& word) { return word == "a" || word == "an" || word == "the"; });
  return Join(words, " ");
}

std::vector<std::string> RougeWords(std::string_view text) {
  std::string kept = ToLower(text);
  for (char& c : kept) {
    if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9')) c = ' ';
  }
  return WordsOf(kept);
}

}  // namespace qualm
