// A tokenizer as the Hugging Face library puts it together, whatever files it comes from:
// text -> added tokens -> normalizer -> added tokens -> words -> model, and back through the
// decoder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/json.h"
#include "tokenize/added_tokens.h"
#include "tokenize/normalizer.h"
#include "tokenize/piece_decoder.h"
#include "tokenize/pre_tokenizer.h"
#include "tokenize/sentencepiece_model.h"
#include "tokenize/tokenizer.h"
#include "tokenize/tokenizer_config.h"
#include "tokenize/vocabulary.h"
#include "tokenize/word_model.h"

namespace qualm {

// All parts, ready to be put together.
struct HfSpec {
  std::string place;  // for messages
  std::string kind;
  Vocabulary vocabulary;
  WordModelSpec model;
  std::vector<AddedToken> added_tokens;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  PieceDecoder decoder;
  bool cleans_up_spaces = false;  // the decoded text is passed through CleanUpSpaces
  SpecialTokens special;
  std::vector<std::string> warnings;
};

class HfTokenizer final : public Tokenizer {
 public:
  // Throws bad input if the parts do not fit together: merges of unknown pieces, clashing ids.
  HfTokenizer(HfSpec spec, const TokenizerConfig& config, bool flags_count);

  std::vector<TokenId> Encode(std::string_view text) const override;
  std::string Decode(std::span<const TokenId> ids, bool keep_special = false) const override;
  std::string Piece(TokenId id) const override { return std::string(vocabulary_.Piece(id)); }
  std::optional<TokenId> IdOfPiece(std::string_view piece) const override;
  size_t vocab_size() const override { return vocabulary_.size(); }
  std::string_view kind() const override { return kind_; }

 private:
  struct Call;  // what one Encode needs while it runs
  void AddTokens(const HfSpec& spec);
  void EncodeSegment(std::string_view segment, bool starts_text, Call& call) const;

  std::string kind_;
  std::unique_ptr<const WordModel> model_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  PieceDecoder decoder_;
  bool cleans_up_spaces_;
  Vocabulary vocabulary_;
  AddedTokenSplitter raw_tokens_, normalized_tokens_;
  enum : uint8_t { kIsSpecial = 1 };
  std::vector<uint8_t> flags_;  // by id
  // Of added tokens that are looked for in normalized text: what the library decodes them to.
  std::unordered_map<TokenId, std::string> spellings_;
};

// tokenizer.json, its text given; `place` is used in messages. `config` is what stands beside it.
std::unique_ptr<Tokenizer> ParseTokenizerJson(std::string_view text, std::string_view place,
                                              const TokenizerConfig& config);

// vocab.json + merges.txt. What else belongs to the tokenizer is that of `config`'s class: GPT-2's
// if none is named.
std::unique_ptr<Tokenizer> LoadVocabAndMerges(const std::filesystem::path& vocab_path,
                                              const std::filesystem::path& merges_path,
                                              const TokenizerConfig& config);

// vocab.txt, one piece a line: BERT's tokenizer.
std::unique_ptr<Tokenizer> LoadVocabText(const std::filesystem::path& path,
                                         const TokenizerConfig& config);

// A rank file of tiktoken, "IQ== 0" on every line: Llama 3's tokenizer.model, qwen.tiktoken.
bool IsRankFile(std::string_view bytes);
std::unique_ptr<Tokenizer> ParseRankFile(std::string_view bytes, std::string_view place,
                                         const TokenizerConfig& config);

// A SentencePiece model under a class of transformers that does not run it by Google's library but
// builds its own tokenizer from it: LlamaTokenizer, GemmaTokenizer, T5Tokenizer. Null for any
// other class.
std::unique_ptr<Tokenizer> BuildFromSentencePiece(const SentencePieceModel& model,
                                                  std::string_view place,
                                                  const TokenizerConfig& config);

// The last steps for any of these: tokens and flags of `config`, then the tokenizer. `flags_count`:
// add_bos_token and add_eos_token of the configuration decide, not what the file said.
std::unique_ptr<Tokenizer> FinishTokenizer(HfSpec spec, const TokenizerConfig& config,
                                           bool flags_count);

// What LlamaTokenizer makes of a vocabulary with its merges, whatever the tokenizer.json that has
// them says of normalizer, words and decoder.
void ApplyLlamaClass(const TokenizerConfig& config, HfSpec& spec);

// {"piece": id, ...}.
Vocabulary ParseVocabulary(const Json& json, std::string_view place);

}  // namespace qualm
