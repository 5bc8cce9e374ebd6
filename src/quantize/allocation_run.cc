// Runs the calibration data once through the float model, measures every layer's choices of bits
// (bit_allocation.h) and turns the allocation into bits by layer name.
#include "quantize/allocation_run.h"

#include <cmath>

#include "artefact/stored_bytes.h"
#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "kernels/transformed_weight.h"
#include "quantize/block_tensors.h"
#include "recipe/bit_allocation.h"

namespace qualm {
namespace {

constexpr size_t kSampleRows = 512;  // rows of inputs that the errors are measured on

// The choices of all layers so far, with their names in the same order.
struct Measured {
  std::vector<std::string> names;
  std::vector<std::vector<LayerChoice>> choices;
  uint64_t weights = 0;
};

// Adds the choices of one block's layers, measured on the inputs that they have in the float model.
void MeasureBlock(const Checkpoint& checkpoint, const Recipe& recipe, const DecoderBlock& block,
                  BlockTensors& tensors, const HiddenStates& states, const Context& context,
                  Measured& to) {
  // One pass over the block collects a sample of each input, transformed as its layers see it.
  const std::vector<SiteInput>& inputs = block.inputs();
  std::vector<Collector> collectors;
  for (const SiteInput& input : inputs) {
    collectors.emplace_back(input.width, states.tokens(),
                            CollectorOptions{.sample_rows = kSampleRows});
  }
  states.Observe(block, context, [&](size_t i, Span2D<const float> value) {
    collectors[i].Add(TransformInputs(tensors.Online(i), value, context), context);
  });

  for (size_t i = 0; i < inputs.size(); ++i) {
    const LayerStats stats = collectors[i].Take();
    // Then each layer tries its choices on the sample of its input.
    for (const LinearSite& site : inputs[i].sites) {
      const std::string name = checkpoint.plan().NameIn(block.index(), site.name);
      const LayerPlan plan = recipe.PlanFor(name);
      if (plan.skip) continue;

      const Matrix& weight = tensors.Weight(site.name);
      to.names.push_back(name);
      if (plan.has_own_scheme) {  // its bytes count, its bits stay
        to.choices.push_back({{plan.scheme.bits,
                               EstimateStoredBytes(plan.scheme, weight.rows(), weight.cols()), 0}});
      } else {
        to.choices.push_back(
            MeasureChoices(weight, plan.scheme, stats.sample, *recipe.allocation, context));
      }
      to.weights += weight.rows() * weight.cols();
    }
  }
}

}  // namespace

std::map<std::string, int> AllocateModelBits(
    const Checkpoint& checkpoint, const Recipe& recipe, const ModelRotation* rotation,
    HiddenStates& calibration,
    const std::function<std::unique_ptr<DecoderBlock>(size_t)>& float_block,
    const Context& context) {
  const size_t blocks = checkpoint.plan().blocks.size();
  // The first block's inputs, which the run itself needs again.
  const StateBuffer start = calibration.Save();
  Measured measured;

  context.progress.Begin("allocate", blocks);
  for (size_t b = 0; b < blocks; ++b) {
    const std::unique_ptr<DecoderBlock> block = float_block(b);
    BlockTensors tensors(checkpoint, b, rotation);
    MeasureBlock(checkpoint, recipe, *block, tensors, calibration, context, measured);
    if (b + 1 < blocks) calibration.Advance(*block, context);
    checkpoint.ReleaseBlock(b);
    context.progress.Advance(b + 1, StrCat("block ", b));
  }
  context.progress.End();

  calibration.Restore(start);
  // The budget is in bytes over all measured layers.
  const auto budget = static_cast<uint64_t>(
      std::floor(recipe.allocation->target_bits * static_cast<double>(measured.weights) / 8));
  const std::vector<size_t> chosen = Allocate(measured.choices, budget);

  std::map<std::string, int> bits;
  for (size_t i = 0; i < chosen.size(); ++i) {
    bits[measured.names[i]] = measured.choices[i][chosen[i]].bits;
  }
  return bits;
}

}  // namespace qualm
