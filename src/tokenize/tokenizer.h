// Text to token ids and back. One class over SentencePiece models, tokenizer.json BPE and
// vocab.json + merges.txt.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/input_set.h"

namespace qualm {

using TokenId = int32_t;

struct SpecialTokens {
  std::optional<TokenId> bos, eos, unk, pad;
  bool add_bos = false;  // what the tokenizer's own configuration asks for
  bool add_eos = false;
  // The tokens around a text where that is not just BOS and EOS, as the flags say.
  std::vector<TokenId> before, after;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // The ids of `text`, without BOS or EOS. Special tokens written out in the text ("<s>") become
  // their id where the tokenizer's file says so. `text` is arbitrary bytes. Thread-safe.
  virtual std::vector<TokenId> Encode(std::string_view text) const = 0;

  // The text of `ids`, well-formed UTF-8: bytes that are not give U+FFFD. Special tokens are left
  // out unless `keep_special`, and so are ids that the vocabulary does not have.
  virtual std::string Decode(std::span<const TokenId> ids, bool keep_special = false) const = 0;

  // The vocabulary entry as the file spells it ("▁the", "Ġthe", "<0x0A>").
  virtual std::string Piece(TokenId id) const = 0;
  virtual std::optional<TokenId> IdOfPiece(std::string_view piece) const = 0;
  virtual size_t vocab_size() const = 0;
  // Whether Decode knows the id.
  bool Has(TokenId id) const;
  virtual std::string_view kind() const = 0;  // "sentencepiece-bpe", "tokenizer.json-bpe", ...
  const SpecialTokens& special() const { return special_; }
  // What is odd about the files but does no harm, one sentence each.
  const std::vector<std::string>& warnings() const { return warnings_; }
  // The files that LoadTokenizer read.
  const InputSet& inputs() const { return inputs_; }

  // Encode with BOS in front once where the configuration asks for it (a text that already starts
  // with the BOS token is not given a second one), EOS likewise at the end.
  std::vector<TokenId> EncodeWithSpecial(std::string_view text) const;
  // The tokens around a text by the tokenizer's files.
  std::vector<TokenId> TokensBefore() const;
  std::vector<TokenId> TokensAfter() const;

 protected:
  SpecialTokens special_;
  std::vector<std::string> warnings_;

 private:
  friend std::unique_ptr<Tokenizer> LoadTokenizer(const std::filesystem::path& path);
  InputSet inputs_;
};

// "1:<s> 306:▁A ...": ids and pieces, so that a reader sees what the model was really given.
std::string IdsAndPieces(const Tokenizer& tokenizer, std::span<const TokenId> ids);

// The tokenizer of a model folder or of one tokenizer file. In a folder the first of these decides:
// tokenizer.json, a SentencePiece model or rank file (tokenizer.model, spiece.model,
// tiktoken.model), vocab.json + merges.txt, *.tiktoken, vocab.txt. A GGUF file has one in its
// metadata. In a tokenizer.json the
// post-processor says what is put around a text, elsewhere tokenizer_config.json; a SentencePiece
// model without it has BOS on (PROTOCOLS 4).
std::unique_ptr<Tokenizer> LoadTokenizer(const std::filesystem::path& path);
// Whether the folder holds files that LoadTokenizer can read.
bool HasTokenizer(const std::filesystem::path& folder);

// Decodes token by token; bytes of a character that is not complete yet are held back.
class StreamingDecoder {
 public:
  explicit StreamingDecoder(const Tokenizer& tokenizer);  // which must outlive this
  std::string Push(TokenId id);  // the text that became final with this token, valid UTF-8
  std::string Flush();           // what is left, incomplete bytes replaced by U+FFFD

 private:
  const Tokenizer& tokenizer_;
  std::vector<TokenId> ids_;
  size_t emitted_bytes_ = 0;
};

}  // namespace qualm
