// SentencePiece's normalizer: character map, white space made visible (U+2581), a dummy prefix.
#pragma once

#include <string>
#include <string_view>

#include "tokenize/byte_trie.h"
#include "tokenize/charsmap.h"
#include "tokenize/sentencepiece_model.h"

namespace qualm {

class SentencePieceNormalizer {
 public:
  // `protected_texts` (user-defined symbols) pass unchanged; it must outlive this.
  SentencePieceNormalizer(const SentencePieceModel& model, const ByteTrie& protected_texts,
                          std::string_view place);

  // `text` is arbitrary bytes; malformed ones become U+FFFD each. The dummy prefix is left out if
  // `with_prefix` is false, whatever the model says.
  std::string Apply(std::string_view text, bool with_prefix) const;

 private:
  struct Chunk {
    std::string_view text;  // what it becomes
    size_t consumed = 0;    // bytes of the input
  };
  Chunk Front(std::string_view text) const;
  void AppendEscaped(std::string_view text, std::string& out) const;

  const ByteTrie& protected_texts_;
  Charsmap charsmap_;
  bool add_dummy_prefix_, remove_extra_whitespaces_;
  std::string space_;  // what a space becomes
};

}  // namespace qualm
