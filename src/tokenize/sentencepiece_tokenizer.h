// A SentencePiece model (BPE or unigram) as a Tokenizer: the ids are those of Google's library, for
// texts of any length in one piece and without going over them quadratically.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tokenize/tokenizer.h"
#include "tokenize/tokenizer_config.h"

namespace qualm {

// `bytes` is the file. BOS is on unless `config` says otherwise. Throws bad input at `place` for a
// broken model and for one of a kind that is not supported (WORD, CHAR, white space as suffix).
std::unique_ptr<Tokenizer> ParseSentencePiece(std::string_view bytes, std::string_view place,
                                              const TokenizerConfig& config);

}  // namespace qualm
