// Weights in either form, and parts of them.
#include "artefact/row_blocks.h"

#include <algorithm>

#include "base/error_place.h"
#include "base/strings.h"

namespace qualm {
namespace {

// Some rows of another decoder.
class SelectedRows final : public RowDecoder {
 public:
  SelectedRows(std::shared_ptr<const RowDecoder> all, const RowRuns& rows)
      : all_(std::move(all)), rows_(rows) {}
  void Decode(size_t row, size_t begin, std::span<float> to) const override {
    all_->Decode(rows_.Row(row), begin, to);
  }

 private:
  std::shared_ptr<const RowDecoder> all_;
  RowRuns rows_;
};

// The rows of a layer on a grid, whose codes stay one in a byte.
class GridRows final : public RowDecoder {
 public:
  explicit GridRows(QuantizedLinear layer) : layer_(std::move(layer)) {}
  void Decode(size_t row, size_t begin, std::span<float> to) const override {
    std::vector<float> whole(layer_.in_features);
    layer_.DequantizeRow(row, whole);
    std::copy_n(whole.begin() + static_cast<ptrdiff_t>(begin), to.size(), to.begin());
  }

 private:
  QuantizedLinear layer_;
};

// The chosen rows of [rows, width] values; a list without rows (one value for all) stays.
template <class Value>
std::vector<Value> ChosenRows(const std::vector<Value>& values, size_t stored_rows,
                              const RowRuns& rows, size_t count) {
  if (values.empty() || values.size() % stored_rows != 0) return values;
  const size_t width = values.size() / stored_rows;
  std::vector<Value> chosen;
  chosen.reserve(count * width);
  for (size_t r = 0; r < count; ++r) {
    const auto from = values.begin() + static_cast<ptrdiff_t>(rows.Row(r) * width);
    chosen.insert(chosen.end(), from, from + static_cast<ptrdiff_t>(width));
  }
  return chosen;
}

RowBlocks Select(RowBlocks all, const RowRuns& rows, size_t count) {
  RowBlocks part = all;
  part.stored_bytes = all.stored_bytes / all.out_features * count;
  part.decoder = std::make_shared<SelectedRows>(std::move(all.decoder), rows);
  part.out_features = count;
  return part;
}

QuantizedLinear Select(QuantizedLinear all, const RowRuns& rows, size_t count) {
  // What a file of another tool cannot have: the readers never make it.
  QUALM_CHECK(!all.second_level_scales && !all.second_level_zeros && !all.outliers &&
              !all.float_columns);
  for (const OnlineTransform& transform : all.transforms) {
    if (transform.side != OnlineTransform::Side::kOutput) continue;
    ThrowExpected("a separate layer for online transforms of outputs", "a part of a stored tensor");
  }

  const size_t stored = all.out_features;
  all.codes = ChosenRows(all.codes, stored, rows, count);
  if (all.scheme.granularity != Granularity::kTensor) {
    all.scales = ChosenRows(all.scales, stored, rows, count);
    all.zeros = ChosenRows(all.zeros, stored, rows, count);
  }
  all.out_features = count;
  return all;
}

}  // namespace

Matrix RowBlocks::Dequantize() const {
  Matrix weight = Matrix::Uninitialized(out_features, in_features);
  for (size_t row = 0; row < out_features; ++row) decoder->Decode(row, 0, weight.row(row));
  return weight;
}

std::pair<size_t, size_t> ShapeOf(const QuantizedWeight& weight) {
  return std::visit([](const auto& w) { return std::pair{w.out_features, w.in_features}; }, weight);
}

Matrix Dequantize(const QuantizedWeight& weight) {
  return std::visit([](const auto& w) { return w.Dequantize(); }, weight);
}

std::shared_ptr<const RowDecoder> RowsOf(QuantizedWeight weight) {
  if (auto* blocks = std::get_if<RowBlocks>(&weight)) return std::move(blocks->decoder);
  return std::make_shared<GridRows>(std::get<QuantizedLinear>(std::move(weight)));
}

QuantizedWeight SelectRows(QuantizedWeight weight, const RowRuns& rows, size_t count) {
  return std::visit(
      [&](auto& all) -> QuantizedWeight { return Select(std::move(all), rows, count); }, weight);
}

}  // namespace qualm
