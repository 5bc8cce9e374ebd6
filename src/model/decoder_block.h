// A decoder block that runs: the plan's branches with their weights. Any mix of sequences and
// lengths in one call; a sequence's numbers do not depend on what else is in the batch or on the
// number of threads.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "model/block_part.h"
#include "model/block_plan.h"

namespace qualm {

struct Context;

// Sees the value [tokens, width] of an input (its index in SiteInputs) before its linear layers do.
using InputObserver = std::function<void(size_t input, Span2D<const float> value)>;
// Takes the value of an input that a step has computed.
using ValueSink = std::function<void(size_t input, Matrix value)>;

class DecoderBlock {
 public:
  // `plan` must outlive the block; `index` is its place in the model. The weights come later.
  DecoderBlock(const BlockPlan& plan, size_t index);

  const BlockPlan& plan() const { return plan_; }
  size_t index() const { return index_; }
  const std::vector<SiteInput>& inputs() const { return inputs_; }
  LinearLayer& Linear(std::string_view site);  // by its name inside the block
  NormLayer& Norm(std::string_view name);      // also one inside a part

  // hidden [tokens, hidden_size] is replaced by the block's output. Tokens of all slices follow one
  // another. The caller moves the caches' lengths afterwards.
  void Forward(const BlockPass& pass, Span2D<float> hidden, const Context& context,
               const InputObserver& observer = {}) const;

  // Forward input by input, for callers that change weights in between.
  //
  // The value of an input that is read from the hidden states.
  Matrix ResidualInput(size_t input, Span2D<const float> hidden, const Context& context) const;
  // Runs the linear layers that read `input`, given its value. What they make goes to `keep` if it
  // is a later input's value, and is added to `hidden` if a branch ends there.
  void Step(size_t input, const BlockPass& pass, Span2D<const float> value, Span2D<float> hidden,
            const Context& context, const ValueSink& keep) const;
  // The inputs whose values the layers that read `input` make.
  std::vector<size_t> MadeBy(size_t input) const;
  // What the branches that begin with `input` add to the hidden states. [tokens, hidden_size]
  Matrix BranchOutput(size_t input, const BlockPass& pass, Span2D<const float> value,
                      const Context& context) const;

  uint64_t weight_bytes() const;

 private:
  struct RunningBranch {
    std::unique_ptr<BlockPart> part;
    std::vector<size_t> inputs;  // of the block, by step of the part
    const NormLayer *norm_after = nullptr, *norm_of_sum = nullptr;
  };

  const BlockPlan& plan_;
  size_t index_;
  std::vector<SiteInput> inputs_;
  std::vector<NormLayer> norms_;
  std::vector<RunningBranch> branches_;
};

}  // namespace qualm
