// What a model does before its first block: token ids become hidden states.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "artefact/row_blocks.h"
#include "model/block_part.h"

namespace qualm {

struct Context;

// Rows of a table, kept as stored. The memory behind `weight` must outlive the table.
struct EmbeddingTable {
  WeightView weight;  // [vocab, width]; without data where the rows are quantized
  float scale = 1;    // of the rows that are read
  std::shared_ptr<const RowDecoder> quantized = {};
  // Both throw bad input if an id is outside the vocabulary.
  void CheckIds(std::span<const TokenId> ids) const;
  void Lookup(std::span<const TokenId> ids, Span2D<float> out) const;
};

// Rows of the table, taken to the hidden size, normed, and with the rows of their positions added:
// in this order, each step only where the model has it.
struct InputLayers {
  EmbeddingTable embedding;
  std::optional<LinearLayer> project;
  std::optional<NormLayer> norm;
  std::optional<EmbeddingTable> positions;
  size_t position_offset = 0;  // position p is row p + offset of that table

  // The hidden states [ids, hidden_size] of tokens at the positions from `first_position` on.
  // Throws bad input if an id or a position is outside its table.
  void Embed(std::span<const TokenId> ids, size_t first_position, Span2D<float> out,
             const Context& context) const;
};

}  // namespace qualm
