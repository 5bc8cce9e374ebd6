// Collects the inputs of a block's linear layers, all at once or one after the other.
#include "quantize/block_statistics.h"

#include "base/error.h"
#include "base/strings.h"
#include "kernels/transformed_weight.h"

namespace qualm {

BlockStatistics::BlockStatistics(const Checkpoint& checkpoint, size_t block,
                                 std::vector<const Recipe*> recipes, HiddenStates* calibration,
                                 HiddenStates* held_out, const BlockTensors* tensors,
                                 const Context& context)
    : checkpoint_(checkpoint),
      block_(block),
      inputs_(SiteInputs(checkpoint.plan().blocks[block])),
      recipes_(std::move(recipes)),
      calibration_(calibration),
      held_out_(held_out),
      tensors_(tensors),
      context_(context) {}

// The union of what the recipes' rounders and activations read; skipped layers read nothing.
CollectorOptions BlockStatistics::OptionsOf(const SiteInput& input) const {
  CollectorOptions options;
  for (const Recipe* recipe : recipes_) {
    for (const LinearSite& site : input.sites) {
      const LayerPlan plan = recipe->PlanFor(checkpoint_.plan().NameIn(block_, site.name));
      if (plan.skip) continue;

      // Every rounded layer is measured on a sample; the rest is on demand.
      options.sample_rows = kErrorRows;
      options.gram64 |= plan.rounder->needs_gram64();
      options.gram |= plan.rounder->needs_gram() && !plan.rounder->needs_gram64();
      options.channel_statistics |= plan.rounder->needs_input_range() ||
                                    (plan.activations && !plan.activations->scheme.dynamic);
    }
  }
  return options;
}

Collector BlockStatistics::MakeCollector(size_t input, const HiddenStates& states,
                                         bool only_sample) const {
  CollectorOptions options = OptionsOf(inputs_[input]);
  // Held-out data is for the output error only.
  if (only_sample) {
    const size_t rows = options.sample_rows;
    options = CollectorOptions{};
    options.sample_rows = rows;
  }
  options.place =
      StrCat("inputs of ", checkpoint_.plan().NameIn(block_, ""), inputs_[input].sites[0].name);
  return Collector(inputs_[input].width, states.tokens(), options);
}

// Calls body(states, only_sample, field of InputStats) for each set of hidden states that has
// tokens.
template <typename Body>
void BlockStatistics::ForStates(const Body& body) const {
  const auto one = [&](HiddenStates* states, bool only_sample, LayerStats InputStats::*field) {
    if (states != nullptr && states->tokens() > 0) body(*states, only_sample, field);
  };
  one(calibration_, /*only_sample=*/false, &InputStats::calibration);
  one(held_out_, /*only_sample=*/true, &InputStats::held_out);
}

InputStats BlockStatistics::CollectInput(const DecoderBlock& block, size_t input) const {
  InputStats stats;
  ForStates([&](HiddenStates& states, bool only_sample, LayerStats InputStats::*field) {
    QUALM_CHECK(states.next_input() == input);
    Collector collector = MakeCollector(input, states, only_sample);
    states.ForInput(block, context_,
                    [&](Span2D<const float> value) { AddTo(collector, input, value); });
    stats.*field = collector.Take();
  });
  return stats;
}

std::vector<InputStats> BlockStatistics::CollectAll(const DecoderBlock& block) const {
  std::vector<InputStats> stats(inputs_.size());
  // All inputs are collected at the same time, one collector for each.
  ForStates([&](HiddenStates& states, bool only_sample, LayerStats InputStats::*field) {
    std::vector<Collector> collectors;
    for (size_t i = 0; i < stats.size(); ++i) {
      collectors.push_back(MakeCollector(i, states, only_sample));
    }

    states.Observe(block, context_, [&](size_t input, Span2D<const float> value) {
      AddTo(collectors[input], input, value);
    });

    for (size_t i = 0; i < stats.size(); ++i) stats[i].*field = collectors[i].Take();
  });
  return stats;
}

void BlockStatistics::AdvanceInput(const DecoderBlock& block) const {
  ForStates([&](HiddenStates& states, bool, LayerStats InputStats::*) {
    states.AdvanceInput(block, context_);
  });
}

void BlockStatistics::AddTo(Collector& collector, size_t input, Span2D<const float> value) const {
  if (tensors_ == nullptr || tensors_->Online(input).empty()) {
    collector.Add(value, context_);
  } else {
    collector.Add(TransformInputs(tensors_->Online(input), value, context_), context_);
  }
}

}  // namespace qualm
