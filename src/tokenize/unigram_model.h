// SentencePiece's unigram model (Kudo 2018): the segmentation of highest total score, by Viterbi.
// Immutable once built.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "tokenize/bpe.h"
#include "tokenize/byte_trie.h"
#include "tokenize/sentencepiece_model.h"
#include "tokenize/tokenizer.h"

namespace qualm {

class UnigramModel {
 public:
  // `unknown` is the id of the unknown piece.
  UnigramModel(const SentencePieceModel& model, TokenId unknown);

  // Appends the ids of normalized text (well-formed UTF-8). A character that no piece covers gives
  // its byte pieces, else the unknown id, one for a run of them.
  void Encode(std::string_view text, std::vector<TokenId>& out) const;

 private:
  struct Node {
    float score = 0;     // of the best path that ends here
    int64_t start = -1;  // where that path's last piece begins; -1: nothing ends here
    TokenId id = -1;
  };
  // The best segmentation of a part of the text, as (length in bytes, id).
  struct Step {
    size_t length = 0;
    TokenId id = -1;
  };
  size_t PartLength(std::string_view text) const;
  std::vector<Step> BestPath(std::string_view part, std::vector<Node>& nodes) const;
  void Relax(std::string_view part, size_t start, std::vector<Node>& nodes) const;

  ByteTrie trie_;
  MergeReach reach_;           // which neighbouring characters some piece holds
  std::vector<float> scores_;  // by id
  std::vector<bool> is_user_defined_;
  std::vector<TokenId> byte_ids_;  // empty without byte fallback
  // Of the ordinary pieces. The library begins its maximum at the smallest positive float, so that
  // with scores below 0, as they all are, a user-defined piece counts -0.1.
  float lowest_ = std::numeric_limits<float>::max(), highest_ = std::numeric_limits<float>::min();
  TokenId unknown_;
};

}  // namespace qualm
