// The text of new tokens as it grows, and the stop string that ends it. Stop strings may begin and
// end inside tokens, and may span several of them.
#pragma once

#include <string>
#include <vector>

#include "generate/generation_request.h"
#include "tokenize/tokenizer.h"

namespace qualm {

class StopScanner {
 public:
  // Both must outlive the scanner.
  StopScanner(const Tokenizer& tokenizer, const GenerationRequest& request);

  // Push takes the next token, Flush what is left when there are no more. True if a stop string has
  // appeared: the text then ends before it.
  bool Push(TokenId id) { return Append(decoder_.Push(id)); }
  bool Flush() { return Append(decoder_.Flush()); }

  const std::string& text() const { return text_; }

 private:
  bool Append(const std::string& piece);

  StreamingDecoder decoder_;
  const std::vector<std::string>& stop_;
  size_t longest_ = 0;  // bytes of the longest stop string
  std::string text_;
};

}  // namespace qualm
