// Collects statistics of the inputs of one block's linear layers, for one recipe or for several at
// once.
#pragma once

#include <string>
#include <vector>

#include "calibrate/hidden_states.h"
#include "calibrate/layer_stats.h"
#include "model/checkpoint.h"
#include "quantize/block_tensors.h"
#include "recipe/recipe.h"

namespace qualm {

struct Context;

// Rows of the inputs that a layer's output error is measured on, at most; the table gives the
// number.
inline constexpr size_t kErrorRows = 2048;

// The statistics of one input, which one or several linear layers read.
struct InputStats {
  LayerStats calibration, held_out;
};

// Used either with CollectAll, which sees the float block, or with CollectInput and AdvanceInput in
// turn, so that each input is that of the block as it is quantized so far.
class BlockStatistics {
 public:
  // Collects all that the recipes' rounders need. The hidden states are null without data. Layers
  // see their inputs after the online operations of `tensors` (null: there are none). All arguments
  // must outlive this object.
  BlockStatistics(const Checkpoint& checkpoint, size_t block, std::vector<const Recipe*> recipes,
                  HiddenStates* calibration, HiddenStates* held_out, const BlockTensors* tensors,
                  const Context& context);

  // Statistics of the next input of the hidden states, which must be `input`.
  InputStats CollectInput(const DecoderBlock& block, size_t input) const;
  // Statistics of all inputs from one pass over the block as it is.
  std::vector<InputStats> CollectAll(const DecoderBlock& block) const;
  // Advances the hidden states to the next input.
  void AdvanceInput(const DecoderBlock& block) const;

 private:
  CollectorOptions OptionsOf(const SiteInput& input) const;
  Collector MakeCollector(size_t input, const HiddenStates& states, bool only_sample) const;
  void AddTo(Collector& collector, size_t input, Span2D<const float> value) const;
  template <typename Body>
  void ForStates(const Body& body) const;

  const Checkpoint& checkpoint_;
  size_t block_;
  std::vector<SiteInput> inputs_;
  std::vector<const Recipe*> recipes_;
  HiddenStates *calibration_, *held_out_;
  const BlockTensors* tensors_;
  const Context& context_;
};

}  // namespace qualm
