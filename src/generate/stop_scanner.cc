// Searches each new piece of text, together with the end of what was there before it.
#include "generate/stop_scanner.h"

#include <algorithm>

namespace qualm {
namespace {

// Tokens of the prompt that the decoder sees: enough for whether a blank belongs before a word.
constexpr size_t kSeenTokens = 8;

// The spelling of a special token; empty for a token that is part of the text.
std::string SpecialText(const Tokenizer& tokenizer, TokenId id) {
  if (!tokenizer.Decode({&id, 1}).empty()) return {};
  return tokenizer.Decode({&id, 1}, /*keep_special=*/true);
}

}  // namespace

StopScanner::StopScanner(const Tokenizer& tokenizer, std::span<const TokenId> prompt,
                         std::span<const std::string> stop)
    : tokenizer_(tokenizer), decoder_(tokenizer), stop_(stop) {
  // The blank in front of the first word belongs to the text, so the decoder sees tokens before it.
  for (TokenId id : prompt.last(std::min(prompt.size(), kSeenTokens))) decoder_.Push(id);
  for (const std::string& text : stop_) longest_ = std::max(longest_, text.size());
}

bool StopScanner::Push(TokenId id) {
  const std::string special = SpecialText(tokenizer_, id);
  if (special.empty()) return Append(decoder_.Push(id));

  const size_t before = searched_.size();
  specials_.push_back({before, special.size()});
  searched_ += special;
  return Search(before);
}

bool StopScanner::Append(const std::string& piece) {
  const size_t before = searched_.size();
  text_ += piece;
  searched_ += piece;
  return Search(before);
}

// Looks for the first stop string that ends after the position `before`; it may begin before it.
bool StopScanner::Search(size_t before) {
  const size_t from = before >= longest_ ? before - longest_ : 0;
  size_t first = std::string::npos;
  for (const std::string& text : stop_) first = std::min(first, searched_.find(text, from));
  if (first == std::string::npos) return false;
  text_.resize(TextPosition(first));
  return true;
}

// Where a position of the searched text lies in the text: special tokens take no room there.
size_t StopScanner::TextPosition(size_t searched) const {
  size_t position = searched;
  for (const Special& special : specials_) {
    if (special.begin >= searched) break;
    position -= std::min(special.size, searched - special.begin);
  }
  return position;
}

std::string_view StopScanner::SettledText() const {
  // The earliest position from which the rest is the beginning of a stop string.
  const size_t end = searched_.size();
  for (size_t at = end - std::min(end, longest_); at < end; ++at) {
    const std::string_view rest = std::string_view(searched_).substr(at);
    const auto begins = [&](const std::string& text) { return text.starts_with(rest); };
    if (std::ranges::any_of(stop_, begins)) {
      return std::string_view(text_).substr(0, TextPosition(at));
    }
  }
  return text_;
}

}  // namespace qualm
