// A whole model that runs: token ids come in, hidden states or logits come out. Several sequences
// with their own caches go through in one pass, so that each weight is read once for all of them.
#include "model/decoder.h"

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

size_t TokensOf(std::span<const SequenceSlice> slices) {
  size_t tokens = 0;
  for (const SequenceSlice& slice : slices) tokens += slice.ids.size();
  return tokens;
}

}  // namespace

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

  // Rows stay in the checkpoint's type and are converted as they are read: the table is as large as
  // many blocks.
  const auto* bytes = static_cast<const std::byte*>(weight.data);
  const size_t row_bytes = weight.cols * SizeOf(weight.type);
  for (size_t t = 0; t < ids.size(); ++t) {
    ConvertToFloat(weight.type, bytes + static_cast<size_t>(ids[t]) * row_bytes, out.row(t).data(),
                   weight.cols);
    if (scale != 1) {
      for (float& v : out.row(t)) v *= scale;
    }
  }
}

Matrix Decoder::Forward(std::span<const SequenceSlice> slices, const Context& context) const {
  // The embeddings of all sequences, one after the other.
  Matrix hidden = Matrix::Uninitialized(TokensOf(slices), plan.hidden_size);
  size_t first = 0;
  for (const SequenceSlice& slice : slices) {
    if (slice.cache->length() + slice.ids.size() > slice.cache->capacity()) {
      ThrowBadInput("forward", StrCat("at most ", slice.cache->capacity(), " positions"),
                    StrCat(slice.cache->length() + slice.ids.size()));
    }
    embedding.Lookup(slice.ids, hidden.view().Rows(first, slice.ids.size()));
    first += slice.ids.size();
  }

  // Blocks store keys and values at the positions from length() on; the caches count the new
  // positions only when all blocks have done so.
  RotaryTables rotary(slices);
  for (size_t b = 0; b < blocks.size(); ++b) {
    blocks[b]->Forward({slices, &rotary, /*cache_block=*/b}, hidden, context);
  }

  for (const SequenceSlice& slice : slices) slice.cache->Grow(slice.ids.size());
  final_norm.Apply(hidden, hidden, context);
  return hidden;
}

void Decoder::Logits(Span2D<const float> hidden, Span2D<float> logits,
                     const Context& context) const {
  head.Apply(hidden, logits, context);
  if (plan.logit_soft_cap > 0) SoftCap(logits, plan.logit_soft_cap, context);
}

uint64_t Decoder::weight_bytes() const {
  uint64_t total = head.weight->weight_bytes();
  for (const auto& block : blocks) total += block->weight_bytes();
  return total;
}

}  // namespace qualm
