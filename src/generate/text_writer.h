// Writes one text after another and shows each while it grows. All texts share a cache: a prompt
// that begins like the text before it, as the next turn of a conversation does, computes only what
// is new.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "generate/engine.h"
#include "generate/generate.h"
#include "generate/generation_request.h"
#include "tokenize/tokenizer.h"

namespace qualm {

struct Context;

struct WrittenText {
  std::vector<TokenId> ids;  // without the one that ended the text, with those of a stop string
  std::string text;          // valid UTF-8, without special tokens and the stop string
  FinishReason reason = FinishReason::kLength;
  uint64_t computed_tokens = 0;  // of the prompt; the others were in the cache
};

// Who watches while a text is written. Both may be empty.
struct TextWatch {
  // Gets the text in pieces, each as soon as nothing can take it back; returns false to end it.
  std::function<bool(std::string_view piece)> on_text;
  std::function<bool()> is_interrupted;  // asked after every forward pass; true ends the text
};

class TextWriter {
 public:
  // Prompts and texts have at most `capacity` tokens together, and at most the model's context. The
  // decoder, the tokenizer and the context must outlive the writer.
  TextWriter(const Decoder& decoder, const Tokenizer& tokenizer, size_t capacity,
             const Context& context);

  // Ends at an id of options.ends, before a stop string, after options.max_tokens, or where the
  // capacity ends. Throws bad input for a prompt that is empty or leaves no room, and for a model
  // whose logits are not finite; after that the writer can only be destroyed.
  WrittenText Write(std::span<const TokenId> prompt, const GenerateOptions& options,
                    std::span<const std::string> stop, const TextWatch& watch = {});

  // Tokens that a prompt and its text may have together.
  size_t capacity() const { return capacity_; }

 private:
  const Tokenizer& tokenizer_;
  const size_t capacity_;
  Engine engine_;
};

}  // namespace qualm
