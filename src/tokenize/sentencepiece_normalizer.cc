// Applies the character map at the front of the text, chunk by chunk, and makes white space
// visible on the way.
#include "tokenize/sentencepiece_normalizer.h"

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/pattern.h"
#include "tokenize/utf8.h"

namespace qualm {

SentencePieceNormalizer::SentencePieceNormalizer(const SentencePieceModel& model,
                                                 const ByteTrie& protected_texts,
                                                 std::string_view place)
    : protected_texts_(protected_texts),
      charsmap_(model.charsmap, StrCat(place, ": character map")),
      add_dummy_prefix_(model.add_dummy_prefix),
      remove_extra_whitespaces_(model.remove_extra_whitespaces),
      space_(model.escape_whitespaces ? kMetaSpace : std::string_view(" ")) {}

SentencePieceNormalizer::Chunk SentencePieceNormalizer::Front(std::string_view text) const {
  if (size_t length = protected_texts_.Longest(text).length) {
    return {text.substr(0, length), length};
  }
  if (Charsmap::Match match = charsmap_.Longest(text); match.length > 0) {
    return {match.replacement, match.length};
  }
  size_t length = ValidCharacterLength(text);
  if (length == 0) return {kReplacementCharacter, 1};
  return {text.substr(0, length), length};
}

void SentencePieceNormalizer::AppendEscaped(std::string_view text, std::string& out) const {
  for (char c : text) {
    if (c == ' ') {
      out += space_;
    } else {
      out += c;
    }
  }
}

std::string SentencePieceNormalizer::Apply(std::string_view text, bool with_prefix) const {
  if (remove_extra_whitespaces_) {
    while (!text.empty()) {
      Chunk front = Front(text);
      if (front.text != " ") break;
      text.remove_prefix(front.consumed);
    }
  }
  std::string out;
  if (text.empty()) return out;
  const size_t most = GrowthLimit(text.size());
  out.reserve(text.size() + text.size() / 2);
  if (add_dummy_prefix_ && with_prefix) out += space_;
  bool after_space = remove_extra_whitespaces_;
  while (!text.empty()) {
    Chunk front = Front(text);
    text.remove_prefix(front.consumed);
    while (after_space && front.text.starts_with(' ')) front.text.remove_prefix(1);
    if (front.text.empty()) continue;
    AppendEscaped(front.text, out);
    if (out.size() > most) {
      ThrowBadInput("tokenizer", StrCat("a character map that leaves at most ", most, " bytes"),
                    "more", "no real model makes so much of a text");
    }
    after_space = remove_extra_whitespaces_ && front.text.ends_with(' ');
  }
  if (remove_extra_whitespaces_) {
    while (out.ends_with(space_)) out.resize(out.size() - space_.size());
  }
  return out;
}

}  // namespace qualm
