// A tokenizer whose tokens are bytes and models whose logits are a formula, for tests that check
// what is scored rather than how well.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/context.h"
#include "evaluate/scoring_model.h"
#include "tokenize/tokenizer.h"

namespace qualm::testing {

inline constexpr size_t kFakeVocab = 130;
inline constexpr TokenId kFakeBos = 128;

// One token per byte (ASCII only), BOS 128.
class ByteTokenizer final : public Tokenizer {
 public:
  explicit ByteTokenizer(bool add_bos) {
    special_.bos = kFakeBos;
    special_.add_bos = add_bos;
  }
  std::vector<TokenId> Encode(std::string_view text) const override {
    return std::vector<TokenId>(text.begin(), text.end());
  }
  std::string Decode(std::span<const TokenId> ids, bool) const override {
    return std::string(ids.begin(), ids.end());
  }
  std::string Piece(TokenId id) const override { return std::string(1, static_cast<char>(id)); }
  std::optional<TokenId> IdOfPiece(std::string_view) const override { return std::nullopt; }
  size_t vocab_size() const override { return kFakeVocab; }
  std::string_view kind() const override { return "bytes"; }
};

// The logits of token v after the token `id` at `position` of its window: a wave that depends on
// all three, plus `noise` times another one.
class FormulaModel final : public ScoringModel {
 public:
  explicit FormulaModel(double noise = 0, size_t vocab = kFakeVocab)
      : noise_(noise), vocab_(vocab) {}

  float Logit(TokenId id, size_t position, size_t v) const {
    const double a = static_cast<double>(id), b = static_cast<double>(position);
    const double c = static_cast<double>(v);
    return static_cast<float>(4 * std::sin(0.37 * a + 1.3 * c + 0.011 * b * c) +
                              noise_ * std::cos(0.7 * a + 2.1 * c + b));
  }

  size_t vocab_size() const override { return vocab_; }
  Matrix Hidden(std::span<const std::vector<TokenId>> windows, const Context&) const override {
    size_t tokens = 0;
    for (const auto& window : windows) tokens += window.size();
    Matrix hidden(tokens, 2);
    size_t row = 0;
    for (const auto& window : windows) {
      for (size_t position = 0; position < window.size(); ++position, ++row) {
        hidden(row, 0) = static_cast<float>(window[position]);
        hidden(row, 1) = static_cast<float>(position);
      }
    }
    return hidden;
  }
  void Logits(Span2D<const float> hidden, Span2D<float> logits, const Context&) const override {
    for (size_t row = 0; row < hidden.rows(); ++row) {
      for (size_t v = 0; v < vocab_; ++v) {
        logits(row, v) =
            Logit(static_cast<TokenId>(hidden(row, 0)), static_cast<size_t>(hidden(row, 1)), v);
      }
    }
  }

 private:
  double noise_;
  size_t vocab_;
};

}  // namespace qualm::testing
