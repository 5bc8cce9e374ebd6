// The hidden states of all calibration sequences on their way through the model: between two
// blocks, or between two inputs of linear layers inside a block, so that each input comes from what
// was quantized before it and nothing is computed twice.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/decoder.h"
#include "quantize/state_buffer.h"

namespace qualm {

class HiddenStates {
 public:
  // Room for `sequences` (which must outlive this, as `plan` must); the values come with Embed.
  // With `spill_file` the values live in files of that name.
  HiddenStates(std::span<const std::vector<TokenId>> sequences, const ModelPlan& plan,
               const std::optional<std::filesystem::path>& spill_file = {});

  uint64_t tokens() const { return hidden_.view().rows(); }
  void Embed(const EmbeddingTable& embedding);

  // Between blocks: runs `block` over all sequences, some at a time, and replaces the values by its
  // output.
  void Advance(const DecoderBlock& block, ThreadPool& pool);
  // The same without replacing the values: `observer` sees all inputs of linear layers.
  void Observe(const DecoderBlock& block, ThreadPool& pool, const InputObserver& observer) const;

  // Inside a block, input after input (SiteInputs): the value of input `next_input()` as `block`
  // computes it now, a piece at a time in the order of the tokens.
  void ForInput(const DecoderBlock& block, ThreadPool& pool,
                const std::function<void(Span2D<const float>)>& body) const;
  // Runs the linear layers that read it. After the last input the values are the block's output.
  void AdvanceInput(const DecoderBlock& block, ThreadPool& pool);
  size_t next_input() const { return next_input_; }

  // Between blocks: what the branches of `block` that begin with `input` add to the hidden states
  // of the first sequences, up to about two thousand tokens. [tokens, hidden_size]
  Matrix BranchOutput(const DecoderBlock& block, size_t input, ThreadPool& pool) const;

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
  Matrix ResidualInput(const DecoderBlock& block, const Chunk& chunk, ThreadPool& pool) const;
  // Room for what the layers of the next input make inside the block.
  void PrepareValues(const DecoderBlock& block);

  std::span<const std::vector<TokenId>> sequences_;
  const ModelPlan& plan_;
  std::optional<std::filesystem::path> spill_file_;
  std::vector<Chunk> chunks_;
  StateBuffer hidden_;
  // By input: values that were computed and not yet read. Those that are read from the hidden
  // states are computed when they are asked for.
  std::vector<StateBuffer> values_;
  size_t next_input_ = 0;
};

}  // namespace qualm
