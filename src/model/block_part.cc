// What all parts of a block share: the rotary tables of one forward pass, and the product of a
// linear layer with its bias.
#include "model/block_part.h"

namespace qualm {

// Positions continue after what each sequence has in its cache already.
RotaryTables::RotaryTables(std::span<const SequenceSlice> slices) {
  for (const SequenceSlice& slice : slices) {
    for (size_t t = 0; t < slice.ids.size(); ++t) {
      positions_.push_back(slice.cache->length() + t);
    }
  }
}

// Blocks mostly rotate alike, so a table is computed for the first block that asks for it and kept.
// A model has one or two kinds of rotation: a list is searched as fast as a map.
const RopeTable& RotaryTables::For(const RotaryPlan& plan) {
  for (const auto& [known, table] : tables_) {
    if (known == plan) return *table;
  }
  auto table = std::make_unique<RopeTable>(positions_, RopeInverseFrequencies(plan));
  return *tables_.emplace_back(plan, std::move(table)).second;
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
