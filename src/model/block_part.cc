// What all parts of a block share: rotary tables of a pass, and a linear layer's product.
#include "model/block_part.h"

namespace qualm {

RotaryTables::RotaryTables(std::span<const SequenceSlice> slices) {
  for (const SequenceSlice& slice : slices) {
    for (size_t t = 0; t < slice.ids.size(); ++t) {
      positions_.push_back(slice.cache->length() + t);
    }
  }
}

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
