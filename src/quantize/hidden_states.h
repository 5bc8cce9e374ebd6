// The hidden states of all calibration sequences on their way through the model: between two
// blocks, or between two groups of linear layers inside a block, so that each group's inputs come
// from what was quantized before it and nothing is computed twice.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "model/decoder.h"
#include "quantize/state_buffer.h"

namespace qualm {

class HiddenStates {
 public:
  // Room for `sequences` (which must outlive this); the values come with Embed. With `spill_file`
  // the values live in files of that name.
  HiddenStates(std::span<const std::vector<TokenId>> sequences, const ModelConfig& config,
               const std::optional<std::filesystem::path>& spill_file = {});

  uint64_t tokens() const { return hidden_.view().rows(); }
  void Embed(const EmbeddingTable& embedding);

  // Between blocks: runs `block` over all sequences, some at a time, and replaces the values by its
  // output.
  void Advance(const DecoderBlock& block, ThreadPool& pool);
  // The same without replacing the values: `observer` sees the inputs of all groups.
  void Observe(const DecoderBlock& block, ThreadPool& pool, const GroupObserver& observer) const;

  // Inside a block, group after group: the inputs of group `stage()` as `block` computes them now,
  // a piece at a time in the order of the tokens ...
  void ForGroupInput(const DecoderBlock& block, ThreadPool& pool,
                     const std::function<void(Span2D<const float>)>& body) const;
  // ... and on to the next group; behind the last one the values are the block's output.
  void AdvanceStage(const DecoderBlock& block, ThreadPool& pool);
  size_t stage() const { return stage_; }
  static constexpr size_t kStages = 4;  // the groups of a block, in Family::groups' order

  // Between blocks: what the attention of `block` adds to the hidden states of the first sequences,
  // up to about two thousand tokens. [tokens, hidden_size]
  Matrix AttentionOutput(const DecoderBlock& block, ThreadPool& pool) const;

  // A copy of the values between blocks, and back to it.
  StateBuffer Save() const;
  void Restore(const StateBuffer& saved);

 private:
  struct Chunk {
    size_t first_sequence, sequences, first_row, rows;
  };
  // Caches and rotary angles of one chunk.
  struct Attending;

  Span2D<float> HiddenOf(const Chunk& chunk) const;

  std::span<const std::vector<TokenId>> sequences_;
  const ModelConfig& config_;
  std::optional<std::filesystem::path> spill_file_;
  std::vector<Chunk> chunks_;
  StateBuffer hidden_;
  StateBuffer stage_input_;  // of groups 1 and 3, which cannot be had from `hidden_` alone
  size_t stage_ = 0;
};

}  // namespace qualm
