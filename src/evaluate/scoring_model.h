// The part of a model that perplexity needs: hidden states of windows, and logits of some of their
// rows.
#pragma once

#include <span>
#include <vector>

#include "tensor/matrix.h"
#include "tokenize/tokenizer.h"

namespace qualm {

struct Context;
class Decoder;

// An interface, so that tests can score with models whose logits are known.
class ScoringModel {
 public:
  virtual ~ScoringModel() = default;
  virtual size_t vocab_size() const = 0;
  // Final hidden states [tokens of all windows, hidden], window after window; each window starts at
  // position 0 and attends only to itself.
  virtual Matrix Hidden(std::span<const std::vector<TokenId>> windows,
                        const Context& context) const = 0;
  // hidden [rows, hidden] to logits [rows, vocab]. A row's logits do not depend on the other rows.
  virtual void Logits(Span2D<const float> hidden, Span2D<float> logits,
                      const Context& context) const = 0;
};

// A decoder, float or quantized.
class DecoderScoringModel final : public ScoringModel {
 public:
  explicit DecoderScoringModel(const Decoder& decoder) : decoder_(decoder) {}  // must outlive this
  size_t vocab_size() const override;
  Matrix Hidden(std::span<const std::vector<TokenId>> windows,
                const Context& context) const override;
  void Logits(Span2D<const float> hidden, Span2D<float> logits,
              const Context& context) const override;

 private:
  const Decoder& decoder_;
};

}  // namespace qualm
