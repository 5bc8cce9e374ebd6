// The text of new tokens as it grows, and the stop string that ends it. Stop strings may begin and
// end inside tokens, and may span several of them. They are matched on the text with special tokens
// spelled out ("<|im_end|>"); the text itself has no special tokens.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenize/tokenizer.h"

namespace qualm {

class StopScanner {
 public:
  // The tokenizer and the stop strings must outlive the scanner; no stop string may be empty. The
  // prompt's last tokens decide whether the text begins with a blank.
  StopScanner(const Tokenizer& tokenizer, std::span<const TokenId> prompt,
              std::span<const std::string> stop);

  // Push takes the next token, Flush what is left when there are no more. True if a stop string has
  // appeared: the text then ends before it.
  bool Push(TokenId id);
  bool Flush() { return Append(decoder_.Flush()); }

  // Valid UTF-8.
  const std::string& text() const { return text_; }
  // The beginning of the text that no later token can take back: its end may be the beginning of a
  // stop string. For texts that are shown while they grow.
  std::string_view SettledText() const;

 private:
  // A special token in the searched text.
  struct Special {
    size_t begin = 0, size = 0;  // bytes of `searched_`
  };

  bool Append(const std::string& piece);
  bool Search(size_t from);
  size_t TextPosition(size_t searched) const;

  const Tokenizer& tokenizer_;
  StreamingDecoder decoder_;
  std::span<const std::string> stop_;
  size_t longest_ = 0;  // bytes of the longest stop string
  std::string text_;
  std::string searched_;           // the text with special tokens
  std::vector<Special> specials_;  // in it, in their order
};

}  // namespace qualm
