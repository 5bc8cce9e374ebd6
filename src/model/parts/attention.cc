// The attention part, a chain of two values: the normed hidden states go through the query, key and
// value layers and are attended; the heads' sums then go through the output layer.
#include "model/parts/attention.h"

#include <array>

#include "base/context.h"
#include "tensor/attention.h"

namespace qualm {
namespace {

// Step 0 projects, rotates, fills the cache and attends; step 1 is the output layer. The block
// calls them in this order, and calibration may change layers between them.
class AttentionPart final : public BlockPart {
 public:
  explicit AttentionPart(const AttentionPlan& plan) : plan_(plan) {}

  std::span<LinearLayer> linears() override { return linears_; }

  Matrix Step(size_t step, const BlockPass& pass, Span2D<const float> value,
              const Context& context) const override {
    return step == 0 ? Attended(pass, value, context) : linears_[kOutput].Apply(value, context);
  }

 private:
  enum : size_t { kQuery, kKey, kValue, kOutput, kCount };

  // The heads' weighted sums of values, which the output layer reads. [tokens, heads·head_dim]
  Matrix Attended(const BlockPass& pass, Span2D<const float> input, const Context& context) const {
    Matrix queries = linears_[kQuery].Apply(input, context);
    Matrix keys = linears_[kKey].Apply(input, context);
    const Matrix values = linears_[kValue].Apply(input, context);
    if (plan_.rotary) Rotate(pass.rotary->For(*plan_.rotary), queries, keys, context);

    // Keys and values of all new tokens are stored before any query reads them. The tokens of a
    // sequence are then one job for the kernel, which knows the position of the first.
    Matrix out = Matrix::Uninitialized(input.rows(), queries.cols());
    std::vector<AttentionJob> jobs;
    size_t first = 0;
    for (const SequenceSlice& slice : pass.slices) {
      const size_t start = slice.cache->length(), count = slice.ids.size();
      for (size_t t = 0; t < count; ++t) {
        slice.cache->Store(pass.cache_block, start + t, keys.row(first + t), values.row(first + t));
      }
      jobs.push_back({&slice.cache->block(pass.cache_block), start,
                      queries.view().Rows(first, count), out.view().Rows(first, count)});
      first += count;
    }

    AttentionParameters parameters;
    parameters.heads = plan_.heads;
    parameters.scale = plan_.scale;
    parameters.window = plan_.window;
    parameters.soft_cap = plan_.soft_cap;
    Attention(jobs, parameters, context);
    return out;
  }

  // Turns each pair of values of a query or key by an angle that grows with the token's position.
  void Rotate(const RopeTable& table, Matrix& queries, Matrix& keys, const Context& context) const {
    const RotaryLayout layout = plan_.rotary->layout;
    context.pool.ParallelFor(queries.rows(), [&](size_t t) {
      const auto cosine = table.cosine.row(t), sine = table.sine.row(t);
      ApplyRope(queries.row(t), plan_.head_dim, cosine, sine, layout);
      ApplyRope(keys.row(t), plan_.head_dim, cosine, sine, layout);
    });
  }

  const AttentionPlan& plan_;
  std::array<LinearLayer, kCount> linears_;
};

}  // namespace

// Must agree with Step: input i lists the layers that step i runs, in the order of the enum above.
std::vector<PartInput> InputsOf(const AttentionPlan& plan) {
  PartInput input;
  input.name = "attention_input";
  input.width = plan.query.in;
  input.sites = {plan.query, plan.key, plan.value};
  // Tokens see one another in this step, so it cannot run on a shuffled selection of rows.
  input.needs_sequences = true;

  PartInput attended;
  attended.name = "attention_output";
  attended.width = plan.output.in;
  attended.sites = {plan.output};
  // Attention mixes tokens but not channels: a scale on the value layer's outputs reaches this
  // input.
  attended.producer = plan.value.name;
  return {input, attended};
}

std::unique_ptr<BlockPart> MakePart(const AttentionPlan& plan) {
  return std::make_unique<AttentionPart>(plan);
}

}  // namespace qualm
