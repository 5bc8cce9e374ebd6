// The merges of a SentencePiece BPE model. Its file has none, only pieces with scores: two adjacent
// symbols merge if together they spell a piece, the piece of highest score first.
#pragma once

#include <string_view>

#include "tokenize/bpe_model.h"
#include "tokenize/sentencepiece_model.h"

namespace qualm {

// `unknown` is the id of the unknown piece. Throws bad input at `place` for pieces of more than
// 1000 bytes.
BpeModel BuildSentencePieceBpe(const SentencePieceModel& model, TokenId unknown,
                               std::string_view place);

}  // namespace qualm
