// What a reference model makes of windows, kept in a file: its final hidden states in float32. From
// them its head gives the very logits that the whole model would give, at a small part of their
// size (SmolLM2: 576 numbers for a position in place of 49,152), and no model but the one that is
// compared needs to be in memory.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "evaluate/scoring_model.h"

namespace qualm {

// Used by one process. What a killed run has written is found again; a torn or damaged end is cut.
class ReferenceStates {
 public:
  // `key` names the reference and everything that decides its states; a file with another one is
  // emptied. Throws kFailed if the file cannot be written.
  ReferenceStates(std::filesystem::path file, std::string_view key, size_t hidden_size);
  ~ReferenceStates();
  ReferenceStates(const ReferenceStates&) = delete;
  ReferenceStates& operator=(const ReferenceStates&) = delete;

  bool Has(std::span<const TokenId> window) const;
  // states [tokens, hidden]. Throws kFailed where the disk is full; what was put before stays.
  void Put(std::span<const TokenId> window, Span2D<const float> states);
  // Requires Has. Throws kFailed if the bytes are no longer those that were put.
  void Get(std::span<const TokenId> window, Span2D<float> states) const;

 private:
  void ReadWhatIsThere(std::string_view head);

  std::filesystem::path file_;
  size_t hidden_size_;
  int fd_ = -1;
  uint64_t end_ = 0;
  std::map<std::string, uint64_t, std::less<>> offsets_;  // of records, by the window's hash
};

// The reference itself, which keeps the states of every window that it is asked for.
class RecordingModel final : public ScoringModel {
 public:
  RecordingModel(const ScoringModel& model, ReferenceStates& states)
      : model_(model), states_(states) {}
  size_t vocab_size() const override { return model_.vocab_size(); }
  Matrix Hidden(std::span<const std::vector<TokenId>> windows,
                const Context& context) const override;
  void Logits(Span2D<const float> hidden, Span2D<float> logits,
              const Context& context) const override {
    model_.Logits(hidden, logits, context);
  }

 private:
  const ScoringModel& model_;
  ReferenceStates& states_;
};

// The reference without its blocks: states come from the file. Windows that are not there are a
// mistake of the caller.
class RecordedModel final : public ScoringModel {
 public:
  // `head` needs no blocks (LoadOptions::without_blocks).
  RecordedModel(const Decoder& head, const ReferenceStates& states)
      : head_(head), states_(states) {}
  size_t vocab_size() const override;
  Matrix Hidden(std::span<const std::vector<TokenId>> windows,
                const Context& context) const override;
  void Logits(Span2D<const float> hidden, Span2D<float> logits,
              const Context& context) const override;

 private:
  const Decoder& head_;
  const ReferenceStates& states_;
};

}  // namespace qualm
