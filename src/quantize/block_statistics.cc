#include "quantize/block_statistics.h"

#include "base/error.h"
#include "base/strings.h"
#include "kernels/transformed_weight.h"

namespace qualm {

BlockStatistics::BlockStatistics(const Checkpoint& checkpoint, size_t block,
                                 std::vector<const Recipe*> recipes, HiddenStates* calibration,
                                 HiddenStates* held_out, const BlockTensors* tensors,
                                 ThreadPool& pool)
    : checkpoint_(checkpoint),
      block_(block),
      recipes_(std::move(recipes)),
      calibration_(calibration),
      held_out_(held_out),
      tensors_(tensors),
      pool_(pool) {}

CollectorOptions BlockStatistics::OptionsOf(size_t group) const {
  CollectorOptions options;
  const Family& family = checkpoint_.family();
  for (const Recipe* recipe : recipes_) {
    for (const LinearSpec& linear : family.groups[group].linears) {
      const LayerPlan plan = recipe->PlanFor(LinearName(family, block_, linear.name));
      if (plan.skip) continue;
      options.sample_rows = kErrorRows;
      options.gram64 |= plan.rounder->needs_gram64();
      options.gram |= plan.rounder->needs_gram() && !plan.rounder->needs_gram64();
      options.channel_statistics |= plan.rounder->needs_input_range() ||
                                    (plan.activations && !plan.activations->scheme.dynamic);
    }
  }
  return options;
}

Collector BlockStatistics::MakeCollector(size_t group, const HiddenStates& states,
                                         bool only_sample) const {
  const Family& family = checkpoint_.family();
  CollectorOptions options = OptionsOf(group);
  if (only_sample) {
    const size_t rows = options.sample_rows;
    options = CollectorOptions{};
    options.sample_rows = rows;
  }
  options.place =
      StrCat("inputs of ", LinearName(family, block_, ""), family.groups[group].linears[0].name);
  return Collector(SizeOf(family.groups[group].in, checkpoint_.config()), states.tokens(), options);
}

// Calls body(states, only_sample, field of GroupStats) for the sets of hidden states there are.
template <typename Body>
void BlockStatistics::ForStates(const Body& body) const {
  const auto one = [&](HiddenStates* states, bool only_sample, LayerStats GroupStats::*field) {
    if (states != nullptr && states->tokens() > 0) body(*states, only_sample, field);
  };
  one(calibration_, /*only_sample=*/false, &GroupStats::calibration);
  one(held_out_, /*only_sample=*/true, &GroupStats::held_out);
}

GroupStats BlockStatistics::CollectGroup(const DecoderBlock& block, size_t group) const {
  GroupStats stats;
  ForStates([&](HiddenStates& states, bool only_sample, LayerStats GroupStats::*field) {
    QUALM_CHECK(states.stage() == group);
    Collector collector = MakeCollector(group, states, only_sample);
    states.ForGroupInput(block, pool_,
                         [&](Span2D<const float> input) { AddTo(collector, group, input); });
    stats.*field = collector.Take();
  });
  return stats;
}

std::vector<GroupStats> BlockStatistics::CollectAll(const DecoderBlock& block) const {
  std::vector<GroupStats> stats(checkpoint_.family().groups.size());
  ForStates([&](HiddenStates& states, bool only_sample, LayerStats GroupStats::*field) {
    std::vector<Collector> collectors;
    for (size_t g = 0; g < stats.size(); ++g) {
      collectors.push_back(MakeCollector(g, states, only_sample));
    }
    states.Observe(block, pool_, [&](size_t group, Span2D<const float> input) {
      AddTo(collectors[group], group, input);
    });
    for (size_t g = 0; g < stats.size(); ++g) stats[g].*field = collectors[g].Take();
  });
  return stats;
}

void BlockStatistics::AdvanceStage(const DecoderBlock& block) const {
  ForStates([&](HiddenStates& states, bool, LayerStats GroupStats::*) {
    states.AdvanceStage(block, pool_);
  });
}

void BlockStatistics::AddTo(Collector& collector, size_t group, Span2D<const float> input) const {
  if (tensors_ == nullptr || tensors_->Online(group).empty()) {
    collector.Add(input, pool_);
  } else {
    collector.Add(TransformInputs(tensors_->Online(group), input, pool_), pool_);
  }
}

}  // namespace qualm
