// The distributions that llama.cpp's `llama-perplexity --kl-divergence-base FILE` writes, as a
// reference: token ids in chunks of n_ctx, and for the second half of each chunk the
// log-probabilities of the whole vocabulary in 16 bits. Source: llama.cpp,
// tools/perplexity/perplexity.cpp.
//
// Layout: "_logits_", uint32 n_ctx, int32 n_vocab, int32 n_chunk, int32 ids [n_chunk, n_ctx], then
// for each chunk n_ctx - 1 - n_ctx/2 rows: float32 step, float32 lowest, uint16 [n_vocab] (one more
// where n_vocab is odd). log p = lowest + step · code. Logits that are more than 16 below the row's
// largest one are raised to that before they are stored, with code 0: taken as they are, they would
// add up to more than half a percent of a vocabulary of 50,000 words. What is known of them is that
// the other words leave them 1 - Σ p, so that is shared out among them.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "evaluate/protocol.h"
#include "evaluate/scoring_model.h"
#include "io/mapped_file.h"

namespace qualm {

class LlamaLogits {
 public:
  static bool IsOne(const std::filesystem::path& path);  // by its first bytes

  // Throws bad input for a file that is not whole, and for numbers that are not finite.
  explicit LlamaLogits(const std::filesystem::path& path);
  // Bytes that outlive the object.
  LlamaLogits(std::span<const std::byte> bytes, std::string place);

  size_t context() const { return context_; }  // tokens of a chunk
  size_t vocab_size() const { return vocab_; }
  size_t chunks() const { return chunks_; }
  const std::vector<TokenId>& ids() const { return ids_; }
  // Rows of a chunk that are stored; row 0 is what its token at context()/2 predicts.
  size_t rows() const { return context_ - 1 - context_ / 2; }
  // The largest step between neighbouring log-probabilities: each is off by up to half of it.
  double largest_step() const { return largest_step_; }

  // The probability of the words with code 0, which are stored without a value: the mean over at
  // most kSampledRows rows, evenly spread. Distances from these distributions are off by about as
  // much.
  double MeanUnknown() const;
  static constexpr size_t kSampledRows = 256;

  // Log-probabilities [vocab]; those with code 0 share what the others leave, at least the
  // probability that is stored for one of them and at most that of all of them.
  void Read(size_t chunk, size_t row, std::span<float> log_probabilities) const;

 private:
  // As Read, and returns the probability of the words with code 0.
  double ReadRow(size_t chunk, size_t row, std::span<float> log_probabilities) const;
  void Parse();
  const std::byte* RowAt(size_t chunk, size_t row) const;

  std::optional<MappedFile> file_;
  std::span<const std::byte> bytes_;
  std::string place_;
  size_t context_ = 0, vocab_ = 0, chunks_ = 0, row_bytes_ = 0, first_row_ = 0;
  std::vector<TokenId> ids_;
  double largest_step_ = 0;
};

// As a model, for the windows of one text that is the file's (TextOf). A position's "hidden state"
// is where its row is stored: (chunk, row).
class LlamaLogitsModel final : public ScoringModel {
 public:
  // Both must outlive this.
  LlamaLogitsModel(const LlamaLogits& logits, const PerplexityText& text);
  size_t vocab_size() const override { return logits_.vocab_size(); }
  Matrix Hidden(std::span<const std::vector<TokenId>> windows,
                const Context& context) const override;
  void Logits(Span2D<const float> hidden, Span2D<float> logits,
              const Context& context) const override;

 private:
  const LlamaLogits& logits_;
  std::map<std::vector<TokenId>, size_t> chunks_;
};

// The file's text under the protocol "llama.cpp": one window for each chunk, of which `limit` keeps
// the first ones (0: all). `bos` takes the place of each window's first token where the vocabulary
// asks for it.
PerplexityText TextOf(const LlamaLogits& logits, const std::string& name, size_t limit,
                      std::optional<TokenId> bos);

}  // namespace qualm
