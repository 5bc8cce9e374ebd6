// BPE as the Hugging Face files describe it: tokenizer.json, or vocab.json + merges.txt.
// text -> added tokens -> normalizer -> added tokens -> words -> BPE, and back through the decoder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/json.h"
#include "tokenize/added_tokens.h"
#include "tokenize/bpe_model.h"
#include "tokenize/normalizer.h"
#include "tokenize/piece_decoder.h"
#include "tokenize/pre_tokenizer.h"
#include "tokenize/tokenizer.h"
#include "tokenize/tokenizer_config.h"
#include "tokenize/vocabulary.h"

namespace qualm {

// The "model" part of a tokenizer.json.
struct BpeSpec {
  Vocabulary vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  std::string unknown_piece;                                // empty: none
  bool fuse_unknown = false;
  bool byte_fallback = false;
  bool ignore_merges = false;  // a word that is a piece needs no merges
};

// All parts, ready to be put together.
struct HfSpec {
  std::string place;  // for messages
  std::string kind;
  BpeSpec model;
  std::vector<AddedToken> added_tokens;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  PieceDecoder decoder;
  SpecialTokens special;
};

class HfTokenizer final : public Tokenizer {
 public:
  // Throws bad input if the parts do not fit together: merges of unknown pieces, clashing ids.
  HfTokenizer(HfSpec spec, const TokenizerConfig& config);

  std::vector<TokenId> Encode(std::string_view text) const override;
  std::string Decode(std::span<const TokenId> ids, bool keep_special = false) const override;
  std::string Piece(TokenId id) const override { return std::string(vocabulary_.Piece(id)); }
  std::optional<TokenId> IdOfPiece(std::string_view piece) const override;
  size_t vocab_size() const override { return vocabulary_.size(); }
  std::string_view kind() const override { return kind_; }

 private:
  struct Call;  // what one Encode needs while it runs
  static BpeModel BuildModel(const HfSpec& spec);
  void EncodeSegment(std::string_view segment, bool starts_text, Call& call) const;

  std::string kind_;
  BpeModel model_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  PieceDecoder decoder_;
  Vocabulary vocabulary_;
  AddedTokenSplitter raw_tokens_, normalized_tokens_;
  enum : uint8_t { kIsAdded = 1, kIsSpecial = 2 };
  std::vector<uint8_t> flags_;  // by id
};

// tokenizer.json, its text given; `place` is used in messages. `config` is what stands beside it.
std::unique_ptr<Tokenizer> ParseTokenizerJson(std::string_view text, std::string_view place,
                                              const TokenizerConfig& config);

// vocab.json + merges.txt. The pre-tokenizer is that of `config`'s tokenizer class: GPT-2's if none
// is named, Qwen2's for Qwen2Tokenizer.
std::unique_ptr<Tokenizer> LoadVocabAndMerges(const std::filesystem::path& vocab_path,
                                              const std::filesystem::path& merges_path,
                                              const TokenizerConfig& config);

// {"piece": id, ...}.
Vocabulary ParseVocabulary(const Json& json, std::string_view place);

}  // namespace qualm
