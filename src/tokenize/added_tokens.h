// Tokens that are looked for in the text as they are written, before the model sees it: special
// tokens ("<s>") and others added to a vocabulary.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"
#include "tokenize/byte_trie.h"
#include "tokenize/tokenizer.h"

namespace qualm {

struct AddedToken {
  TokenId id = -1;
  std::string content;
  bool is_special = false;    // left out by Decode unless asked for
  bool is_normalized = true;  // looked for in the normalized text, in its own normalized spelling
  bool single_word = false;   // only where no word character touches it
  bool strip_left = false;    // swallows white space before it
  bool strip_right = false;   // and behind it
};

// One entry of "added_tokens" or, with `id` given beside it, of "added_tokens_decoder".
AddedToken ParseAddedToken(const Json& json, int64_t id, std::string_view place);

// Splits texts at the added tokens of one spelling (raw or normalized).
class AddedTokenSplitter {
 public:
  // `spelling` is what to look for. Throws bad input at `place` if it is empty.
  void Add(const AddedToken& token, std::string_view spelling, std::string_view place);
  bool empty() const { return tokens_.empty(); }

  struct Part {
    std::string_view text;
    TokenId id = -1;  // -1: ordinary text
  };
  // Takes the leftmost, then the longest spelling. `text` is well-formed UTF-8.
  std::vector<Part> Split(std::string_view text) const;

 private:
  std::vector<AddedToken> tokens_;
  ByteTrie trie_;  // spelling -> index in tokens_
};

}  // namespace qualm
