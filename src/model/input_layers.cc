// Looks up the rows of tokens and positions, which stay in the checkpoint's type: a table is as
// large as many blocks.
#include "model/input_layers.h"

#include "base/error.h"
#include "base/strings.h"

namespace qualm {

// An id from another tokenizer would read past the table's end.
void EmbeddingTable::CheckIds(std::span<const TokenId> ids) const {
  for (TokenId id : ids) {
    if (id >= 0 && static_cast<size_t>(id) < weight.rows) continue;
    ThrowBadInput("embedding", StrCat("token ids in 0..", weight.rows - 1), StrCat(id),
                  "do the tokenizer and the model belong together?");
  }
}

void EmbeddingTable::Lookup(std::span<const TokenId> ids, Span2D<float> out) const {
  CheckIds(ids);

  const auto* bytes = static_cast<const std::byte*>(weight.data);
  const size_t row_bytes = weight.cols * SizeOf(weight.type);
  for (size_t t = 0; t < ids.size(); ++t) {
    const auto row = static_cast<size_t>(ids[t]);
    if (quantized != nullptr) {
      quantized->Decode(row, 0, out.row(t));
    } else {
      ConvertToFloat(weight.type, bytes + row * row_bytes, out.row(t).data(), weight.cols);
    }
    if (scale != 1) {
      for (float& v : out.row(t)) v *= scale;
    }
  }
}

namespace {

// Adds the rows of the positions from `first` on.
void AddPositions(const EmbeddingTable& table, size_t offset, size_t first, Span2D<float> hidden,
                  const Context& context) {
  const size_t most = table.weight.rows - offset;
  if (first + hidden.rows() > most) {
    ThrowBadInput("positions", StrCat("at most ", most), StrCat(first + hidden.rows()),
                  "the model has learned no more");
  }
  std::vector<TokenId> rows;
  for (size_t t = 0; t < hidden.rows(); ++t) {
    rows.push_back(static_cast<TokenId>(first + t + offset));
  }
  Matrix added = Matrix::Uninitialized(hidden.rows(), hidden.cols());
  table.Lookup(rows, added);
  AddRows(hidden, added.view(), context);
}

}  // namespace

void InputLayers::Embed(std::span<const TokenId> ids, size_t first_position, Span2D<float> out,
                        const Context& context) const {
  if (project) {
    Matrix rows = Matrix::Uninitialized(ids.size(), embedding.weight.cols);
    embedding.Lookup(ids, rows);
    project->Apply(rows, out, context);
  } else {
    embedding.Lookup(ids, out);
  }
  if (norm) norm->Apply(out, out, context);
  if (positions) AddPositions(*positions, position_offset, first_position, out, context);
}

}  // namespace qualm
