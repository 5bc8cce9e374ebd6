// The attention part, a chain of two values: the normed hidden states go through the query, key and
// value layers and are attended; the heads' sums then go through the output layer.
#include "model/parts/attention.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "base/context.h"
#include "kernels/transformed_weight.h"
#include "tensor/attention.h"

namespace qualm {
namespace {

// Step 0 projects, rotates, fills the cache and attends; step 1 is the output layer. The block
// calls them in this order, and calibration may change layers between them.
class AttentionPart final : public BlockPart {
 public:
  explicit AttentionPart(const AttentionPlan& plan) : plan_(plan) {
    if (plan.norms) norms_ = {{plan.norms->query, {}, {}}, {plan.norms->key, {}, {}}};
  }

  std::span<LinearLayer> linears() override { return linears_; }
  std::span<NormLayer> norms() override { return norms_; }

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
    Matrix values = linears_[kValue].Apply(input, context);
    if (plan_.clip > 0) {
      for (Matrix* projected : {&queries, &keys, &values}) Clamp(*projected, plan_.clip, context);
    }

    // A change of basis that queries and keys share, after which scores are as they were, belongs
    // after all of this and before the cache rounds the keys.
    const bool norms_last = plan_.norms && plan_.norms->after_rotary;
    if (plan_.norms && !norms_last) NormalizeHeads(queries, keys, context);
    if (plan_.rotary) Rotate(pass.rotary->For(*plan_.rotary), queries, keys, context);
    if (norms_last) NormalizeHeads(queries, keys, context);
    if (plan_.query_growth) GrowQueries(pass, queries);
    AsConfigured(queries, keys, values, context);

    Matrix out = Matrix::Uninitialized(input.rows(), queries.cols());
    // All at once, except for caches that would replace what the first queries see.
    for (size_t round = 0; AttendRound(pass, round, queries, keys, values, out, context); ++round) {
    }
    return out;
  }

  // What a quantized file asks for between the rotation and the cache.
  void AsConfigured(Matrix& queries, Matrix& keys, Matrix& values, const Context& context) const {
    if (plan_.head_rotation_side > 0) {
      for (Matrix* rotated : {&queries, &keys}) {
        context.pool.ParallelFor(rotated->rows(), [&](size_t t) {
          MultiplyBlocks(rotated->row(t), plan_.head_rotation, plan_.head_rotation_side);
        });
      }
    }
    const auto round = [&](const std::optional<ActivationGrid>& grid, Matrix& rounded) {
      if (!grid) return;
      const ActivationQuantizer quantizer(*grid);
      context.pool.ParallelFor(rounded.rows(),
                               [&](size_t t) { quantizer.Round(rounded.row(t), rounded.row(t)); });
    };
    round(plan_.key_rounding, keys);
    round(plan_.value_rounding, values);
  }

  // Stores the keys and values of one piece of each sequence before any of its queries reads them,
  // and attends. The tokens of a piece are one job for the kernel, which knows the position of the
  // first. Returns whether there was anything left to do.
  bool AttendRound(const BlockPass& pass, size_t round, const Matrix& queries, const Matrix& keys,
                   const Matrix& values, Matrix& out, const Context& context) const {
    std::vector<AttentionJob> jobs;
    size_t first_row = 0;
    for (const SequenceSlice& slice : pass.slices) {
      const size_t most = slice.cache->PositionsAtOnce(pass.cache_block);
      const size_t begin = std::min(round * most, slice.ids.size());
      const size_t count = std::min(most, slice.ids.size() - begin);
      const size_t row = first_row + begin, start = slice.cache->length() + begin;
      first_row += slice.ids.size();
      if (count == 0) continue;

      for (size_t t = 0; t < count; ++t) {
        slice.cache->Store(pass.cache_block, start + t, keys.row(row + t), values.row(row + t));
      }
      jobs.push_back({&slice.cache->block(pass.cache_block), start, queries.view().Rows(row, count),
                      out.view().Rows(row, count)});
    }
    if (jobs.empty()) return false;

    AttentionParameters parameters;
    parameters.heads = plan_.heads;
    parameters.scale = plan_.scale;
    parameters.window = plan_.window;
    parameters.soft_cap = plan_.soft_cap;
    parameters.alibi_slopes = plan_.alibi_slopes;
    parameters.alibi_in_bfloat16 = plan_.alibi_in_bfloat16;
    Attention(jobs, parameters, context);
    return true;
  }

  void NormalizeHeads(Matrix& queries, Matrix& keys, const Context& context) const {
    norms_[0].Apply(queries, queries, context);
    norms_[1].Apply(keys, keys, context);
  }

  // Multiplies queries beyond the original context by a factor that grows with their position.
  void GrowQueries(const BlockPass& pass, Matrix& queries) const {
    size_t row = 0;
    for (const SequenceSlice& slice : pass.slices) {
      for (size_t t = 0; t < slice.ids.size(); ++t, ++row) {
        const double position = static_cast<double>(slice.cache->length() + t);
        const double steps = std::floor(position / plan_.query_growth->original_context);
        const auto factor = static_cast<float>(1 + plan_.query_growth->beta * std::log(1 + steps));
        if (factor == 1) continue;
        for (float& v : queries.row(row)) v *= factor;
      }
    }
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
  std::vector<NormLayer> norms_;  // of queries and of keys, or none
};

}  // namespace

std::vector<float> AlibiSlopes(size_t heads) {
  const size_t power = std::bit_floor(heads);
  const auto slope = [](size_t i, size_t n) {
    return static_cast<float>(
        std::exp2(-8.0 * static_cast<double>(i + 1) / static_cast<double>(n)));
  };

  std::vector<float> slopes;
  for (size_t i = 0; i < power; ++i) slopes.push_back(slope(i, power));
  for (size_t i = 0; slopes.size() < heads; i += 2) slopes.push_back(slope(i, 2 * power));
  return slopes;
}

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
  // input, unless a clamp lies in between.
  if (plan.clip == 0) attended.producer = plan.value.name;
  return {input, attended};
}

std::unique_ptr<BlockPart> MakePart(const AttentionPlan& plan) {
  return std::make_unique<AttentionPart>(plan);
}

}  // namespace qualm
