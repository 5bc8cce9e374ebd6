// What all parts of a block share: the rotary tables of one forward pass, and the product of a
// linear layer with its bias.
#include "model/block_part.h"

namespace qualm {

// A norm without weights multiplies by ones.
void NormLayer::Apply(Span2D<const float> x, Span2D<float> out, const Context& context) const {
  const size_t width = plan.width;
  if (x.cols() == width) {
    Norm(x, plan.parameters, weight, bias, out, context);
    return;
  }

  // Group by group: the columns of one group over all rows are a matrix with gaps.
  const auto of_group = [&](std::span<const float> values, size_t group) {
    const size_t first = plan.groups == 1 ? 0 : group * width;
    return values.empty() ? values : values.subspan(first, width);
  };
  for (size_t group = 0; group < x.cols() / width; ++group) {
    Norm(x.Cols(group * width, width), plan.parameters, of_group(weight, group),
         of_group(bias, group), out.Cols(group * width, width), context);
  }
}

// Blocks mostly rotate alike, so a table is computed for the first block that asks for it and kept.
// A model has one or two kinds of rotation: a list is searched as fast as a map.
const RopeTable& RotaryTables::For(const RotaryPlan& plan) {
  for (const auto& [known, table] : tables_) {
    if (known == plan) return *table;
  }
  auto table = std::make_unique<RopeTable>(Make(plan));
  return *tables_.emplace_back(plan, std::move(table)).second;
}

// Positions continue after what each sequence has in its cache already. Sequences turn alike unless
// their lengths decide how fast.
RopeTable RotaryTables::Make(const RotaryPlan& plan) const {
  size_t tokens = 0;
  for (const SequenceSlice& slice : slices_) tokens += slice.ids.size();
  RopeTable table(tokens, plan.pairs());

  std::vector<double> frequencies;
  size_t row = 0;
  for (const SequenceSlice& slice : slices_) {
    if (frequencies.empty() || plan.depends_on_length()) {
      frequencies = RopeInverseFrequencies(plan, slice.cache->sequence_length());
    }
    for (size_t t = 0; t < slice.ids.size(); ++t) {
      table.Set(row++, slice.cache->length() + t, frequencies, plan.scaling.attention_factor);
    }
  }
  return table;
}

void LinearLayer::Apply(Span2D<const float> x, Span2D<float> y, const Context& context) const {
  weight->Multiply(x, y, context);
  AddBias(y, bias);
}

Matrix LinearLayer::Apply(Span2D<const float> x, const Context& context) const {
  Matrix y = Matrix::Uninitialized(x.rows(), weight->out_features());
  Apply(x, y, context);
  return y;
}

}  // namespace qualm
