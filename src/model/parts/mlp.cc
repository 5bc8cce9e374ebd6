// The feed-forward part, a chain of two values: the normed hidden states go through the gate (if
// there is one) and up layers and the activation; the inner values then go through the down layer.
#include "model/parts/mlp.h"

namespace qualm {
namespace {

// Step 0 makes the inner values [tokens, intermediate], step 1 multiplies them by the down layer.
class MlpPart final : public BlockPart {
 public:
  explicit MlpPart(const MlpPlan& plan) : plan_(plan), linears_(plan.gate ? 3 : 2) {}

  std::span<LinearLayer> linears() override { return linears_; }

  Matrix Step(size_t step, const BlockPass&, Span2D<const float> value,
              const Context& context) const override {
    if (step == 1) return linears_.back().Apply(value, context);

    Matrix inner = linears_[0].Apply(value, context);
    if (plan_.gate) {
      GatedActivation(plan_.activation, inner, linears_[1].Apply(value, context).view(), context);
    } else {
      Activate(plan_.activation, inner, context);
    }
    return inner;
  }

 private:
  const MlpPlan& plan_;
  std::vector<LinearLayer> linears_;  // gate, if there is one, up, down
};

}  // namespace

std::vector<PartInput> InputsOf(const MlpPlan& plan) {
  PartInput input;
  input.name = "mlp_input";
  input.width = plan.up.in;
  if (plan.gate) input.sites.push_back(*plan.gate);
  input.sites.push_back(plan.up);

  PartInput inner;
  inner.name = "mlp_output";
  inner.width = plan.down.in;
  inner.sites = {plan.down};
  if (plan.gate) {
    // A gated unit multiplies the up layer's outputs channel by channel, so scales pass through.
    // Without a gate the activation lies in between, and a scale cannot pass.
    inner.producer = plan.up.name;
  }
  return {input, inner};
}

std::unique_ptr<BlockPart> MakePart(const MlpPlan& plan) { return std::make_unique<MlpPart>(plan); }

}  // namespace qualm
