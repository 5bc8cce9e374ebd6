// The one executor of block plans: takes the value of each input, runs the steps that read it, and
// adds what a branch makes to the hidden states. Everything else that knows a block (calibration,
// folding, costs) walks over the same list of inputs.
#include "model/decoder_block.h"

#include <algorithm>

#include "base/error.h"

namespace qualm {
namespace {

void CopyRows(Span2D<const float> from, Span2D<float> to) {
  for (size_t r = 0; r < from.rows(); ++r) std::ranges::copy(from.row(r), to.row(r).begin());
}

}  // namespace

DecoderBlock::DecoderBlock(const BlockPlan& plan, size_t index)
    : plan_(plan), index_(index), inputs_(SiteInputs(plan)) {
  // Norms first: branches keep pointers into this list, which no longer grows.
  for (const NormPlan& norm : NormsOf(plan)) norms_.push_back({norm, {}, {}});

  for (const Branch& branch : plan.branches) {
    RunningBranch running;
    running.part = std::visit([](const auto& part) { return MakePart(part); }, branch.part);
    if (branch.norm_after) running.norm_after = &Norm(branch.norm_after->name);
    if (branch.norm_of_sum) running.norm_of_sum = &Norm(branch.norm_of_sum->name);
    branches_.push_back(std::move(running));
  }
  for (size_t i = 0; i < inputs_.size(); ++i) {
    // Inputs are listed in the order of execution, so each branch gets its own in the order of its
    // steps.
    for (const PartStep& reader : inputs_[i].readers) {
      branches_[reader.branch].inputs.push_back(i);
    }
  }
}

LinearLayer& DecoderBlock::Linear(std::string_view site) {
  for (size_t b = 0; b < branches_.size(); ++b) {
    const std::vector<PartInput> inputs =
        std::visit([](const auto& part) { return InputsOf(part); }, plan_.branches[b].part);

    // The part lists its layers in the order of its inputs' sites; counting the sites finds the
    // layer.
    size_t at = 0;
    for (const PartInput& input : inputs) {
      for (const LinearSite& known : input.sites) {
        if (known.name == site) return branches_[b].part->linears()[at];
        ++at;
      }
    }
  }
  internal::CheckFailed("the block's plan has this linear layer", __FILE__, __LINE__);
}

NormLayer& DecoderBlock::Norm(std::string_view name) {
  for (NormLayer& norm : norms_) {
    if (norm.plan.name == name) return norm;
  }
  for (const RunningBranch& branch : branches_) {
    for (NormLayer& norm : branch.part->norms()) {
      if (norm.plan.name == name) return norm;
    }
  }
  internal::CheckFailed("the block's plan has this norm", __FILE__, __LINE__);
}

// Without a norm the part reads a copy, because the block changes the hidden states while it runs.
Matrix DecoderBlock::ResidualInput(size_t input, Span2D<const float> hidden,
                                   const Context& context) const {
  QUALM_CHECK(inputs_[input].reads_residual);
  const std::optional<NormPlan>& plan = inputs_[input].norm;
  if (!plan) return Matrix::CopyOf(hidden);
  // A name is compared where it is: this runs for every norm of every token.
  const auto has_name = [&](const NormLayer& layer) { return layer.plan.name == plan->name; };
  const auto norm = std::ranges::find_if(norms_, has_name);

  Matrix normed = Matrix::Uninitialized(hidden.rows(), hidden.cols());
  norm->Apply(hidden, normed, context);
  return normed;
}

void DecoderBlock::Step(size_t input, const BlockPass& pass, Span2D<const float> value,
                        Span2D<float> hidden, const Context& context, const ValueSink& keep) const {
  for (const PartStep& reader : inputs_[input].readers) {
    const RunningBranch& branch = branches_[reader.branch];
    const Branch& plan = plan_.branches[reader.branch];
    // The branch adds to what it reads.
    if (reader.step == 0 && plan.adds_to_norm) CopyRows(value, hidden);
    Matrix result = branch.part->Step(reader.step, pass, value, context);

    // Between two steps the result is the value of a later input.
    if (reader.step + 1 < branch.inputs.size()) {
      keep(branch.inputs[reader.step + 1], std::move(result));
      continue;
    }

    // The last step made what the branch adds to the hidden states.
    if (branch.norm_after != nullptr) branch.norm_after->Apply(result, result, context);
    if (plan.output_scale == 1) {
      AddRows(hidden, result.view(), context);
    } else {
      AddScaled(hidden, result.view(), plan.output_scale, context);
    }
    if (branch.norm_of_sum != nullptr) branch.norm_of_sum->Apply(hidden, hidden, context);
  }
}

void DecoderBlock::Forward(const BlockPass& pass, Span2D<float> hidden, const Context& context,
                           const InputObserver& observer) const {
  // Values that a step has made and a later input reads; each is freed when it has been read.
  std::vector<Matrix> values(inputs_.size());
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Matrix value =
        inputs_[i].reads_residual ? ResidualInput(i, hidden, context) : std::move(values[i]);
    if (observer) observer(i, value.view());
    Step(i, pass, value, hidden, context,
         [&](size_t later, Matrix result) { values[later] = std::move(result); });
  }
}

// The inputs whose values the steps of `input` make; calibration frees and fills buffers by this.
std::vector<size_t> DecoderBlock::MadeBy(size_t input) const {
  std::vector<size_t> made;
  for (const PartStep& reader : inputs_[input].readers) {
    const std::vector<size_t>& chain = branches_[reader.branch].inputs;
    if (reader.step + 1 < chain.size()) made.push_back(chain[reader.step + 1]);
  }
  return made;
}

// Runs the branches that read `input` to their ends, adding to zeros instead of the hidden states:
// the change that these layers cause in the block's output.
Matrix DecoderBlock::BranchOutput(size_t input, const BlockPass& pass, Span2D<const float> value,
                                  const Context& context) const {
  Matrix output(value.rows(), value.cols());
  std::vector<std::pair<size_t, Matrix>> waiting;
  const ValueSink keep = [&](size_t later, Matrix result) {
    waiting.emplace_back(later, std::move(result));
  };
  Step(input, pass, value, output, context, keep);

  // Each step may append values for later inputs: the loop ends when all of them have been read.
  for (size_t i = 0; i < waiting.size(); ++i) {
    const Matrix inner = std::move(waiting[i].second);
    Step(waiting[i].first, pass, inner, output, context, keep);
  }
  return output;
}

uint64_t DecoderBlock::weight_bytes() const {
  uint64_t total = 0;
  for (const RunningBranch& branch : branches_) {
    for (const LinearLayer& layer : branch.part->linears()) total += layer.weight->weight_bytes();
  }
  return total;
}

}  // namespace qualm
