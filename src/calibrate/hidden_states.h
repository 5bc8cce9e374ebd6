// Holds the hidden states of all calibration sequences on their way through the model: between two
// blocks, or between two inputs of linear layers inside a block, so that each input comes from the
// layers that were quantized before it and nothing is computed twice.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "calibrate/state_buffer.h"
#include "model/decoder.h"

namespace qualm {

struct Context;

// Order of calls: Embed once; then, for each block, either Advance, or ForInput and AdvanceInput
// for each of its inputs in turn. Observe, BranchOutput and Save need to be between blocks.
class HiddenStates {
 public:
  // Allocates for `sequences` (which must outlive this object, as `plan` must); Embed fills in the
  // values. With `spill_file` the values are kept in files of that name.
  HiddenStates(std::span<const std::vector<TokenId>> sequences, const ModelPlan& plan,
               const std::optional<std::filesystem::path>& spill_file = {});

  uint64_t tokens() const { return hidden_.view().rows(); }
  void Embed(const InputLayers& input, const Context& context);

  // Between blocks: runs `block` over all sequences, some at a time, and replaces the values by its
  // output.
  void Advance(const DecoderBlock& block, const Context& context);
  // The same without replacing the values: `observer` sees all inputs of linear layers.
  void Observe(const DecoderBlock& block, const Context& context,
               const InputObserver& observer) const;

  // Inside a block, input after input (SiteInputs): the value of input `next_input()` as `block`
  // computes it now, a piece at a time in the order of the tokens.
  void ForInput(const DecoderBlock& block, const Context& context,
                const std::function<void(Span2D<const float>)>& body) const;
  // Runs the linear layers that read it. After the last input the values are the block's output.
  void AdvanceInput(const DecoderBlock& block, const Context& context);
  size_t next_input() const { return next_input_; }

  // Between blocks: the sum that the branches of `block` which begin with `input` add to the hidden
  // states of the first sequences, up to about two thousand tokens. [tokens, hidden_size]
  Matrix BranchOutput(const DecoderBlock& block, size_t input, const Context& context) const;

  // A copy of the values between blocks, and the way back to them.
  StateBuffer Save() const;
  void Restore(const StateBuffer& saved);

 private:
  struct Chunk {
    size_t first_sequence, sequences, first_row, rows;
  };
  // Caches and rotary angles of one chunk.
  struct Attending;

  Span2D<float> HiddenOf(const Chunk& chunk) const;
  Matrix ResidualInput(const DecoderBlock& block, const Chunk& chunk, const Context& context) const;
  // Room for the inputs that the layers of the next input compute inside the block.
  void PrepareValues(const DecoderBlock& block);

  std::span<const std::vector<TokenId>> sequences_;
  const ModelPlan& plan_;
  std::optional<std::filesystem::path> spill_file_;
  std::vector<Chunk> chunks_;
  StateBuffer hidden_;
  // By input: values that were computed and not yet read. Inputs that come from the hidden states
  // are computed on demand.
  std::vector<StateBuffer> values_;
  size_t next_input_ = 0;
};

}  // namespace qualm
